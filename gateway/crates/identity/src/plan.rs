//! What `identity` is told: issuers, trust anchors, our own identity, and the TLS side of every listener.
//!
//! Plans carry bytes, never paths to read: the operator's door has already read the files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{IssuerId, ListenerId, Origin, PoolId, Redacted, SpiffeId, TrustDomain, TrustId};
use rustls_pki_types::CertificateDer;

mod shown;

pub use shown::ShownPlan;

/// Everything the room is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IdentityPlan {
    /// Token issuers.
    pub issuers: Vec<IssuerPlan>,
    /// Trust anchors for client certificates.
    pub trust: Vec<TrustPlan>,
    /// Our own identity from files; with `workload_api` it stays `None` and arrives on the workload board.
    pub svid: Option<CertifiedKeyPlan>,
    /// True when identities and bundles arrive from a SPIFFE Workload API.
    pub workload_api: bool,
    /// TLS listeners.
    pub listeners: Vec<ListenerTlsPlan>,
    /// Pools whose endpoints are reached over TLS.
    pub upstreams: Vec<UpstreamTlsPlan>,
    /// The system's trust anchors, read once by the operator's door; used by upstreams that name no CA.
    pub system_roots: Arc<Vec<CertificateDer<'static>>>,
}

/// A token issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerPlan {
    /// Its name.
    pub id: IssuerId,
    /// Where it is written.
    pub origin: Origin,
    /// The exact `iss` claim.
    pub issuer: Arc<str>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// A token must name at least one of these in `aud`; never empty.
    pub audiences: Vec<Arc<str>>,
    /// The only algorithms accepted; never inferred from the token.
    pub algorithms: Vec<Algorithm>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub clock_skew: Duration,
    /// Where principal fields are read from.
    pub claims: ClaimPaths,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// A JWKS that was read from a file.
    Document(Arc<str>),
    /// A JWKS to fetch.
    Url(Arc<str>),
    /// `<issuer>/.well-known/openid-configuration`, then its `jwks_uri`.
    Discovery,
}

/// A signature algorithm that an issuer may be allowed to use (RFC 7518, RFC 8037); no symmetric one exists here.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// What an issuer accepts when the operator names none.
    pub const DEFAULT: &'static [Self] = &[Self::RS256, Self::PS256, Self::ES256, Self::ES384, Self::EdDSA];
    /// Every algorithm there is.
    pub const ALL: &'static [Self] = &[
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// A path of object keys into the claims, as in `realm_access.roles`.
pub type ClaimPath = Vec<Arc<str>>;

/// Where principal fields are read from; `None` leaves the field empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClaimPaths {
    /// The tenant; a string.
    pub tenant: Option<ClaimPath>,
    /// The roles; a string or an array of strings.
    pub roles: Option<ClaimPath>,
    /// The region or jurisdiction; a string.
    pub region: Option<ClaimPath>,
    /// The scopes; a space-separated string or an array. `None`: `scope`, then `scp`.
    pub scopes: Option<ClaimPath>,
}

/// A named set of trust anchors for client certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustPlan {
    /// Its name.
    pub id: TrustId,
    /// Where it is written.
    pub origin: Origin,
    /// The anchors.
    pub anchors: TrustAnchors,
}

/// Where trust anchors come from.
#[derive(Clone, Debug, PartialEq)]
pub enum TrustAnchors {
    /// A plain CA: any SPIFFE ID it signs is accepted, whatever its trust domain.
    Pem(Vec<CertificateDer<'static>>),
    /// One trust domain: only its SPIFFE IDs, only by its bundle. `None`: the bundle comes from the Workload API.
    TrustDomain(TrustDomain, Option<Vec<CertificateDer<'static>>>),
}

/// A certificate chain (leaf first) and its private key, PKCS#8, PKCS#1 or SEC1 in DER.
#[derive(Clone, Debug, PartialEq)]
pub struct CertifiedKeyPlan {
    /// Where it is written.
    pub origin: Origin,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key in PEM, as read.
    pub key_pem: Redacted<Arc<str>>,
}

/// Whether a client is asked for a certificate.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum ClientCertificates {
    /// Not asked.
    #[default]
    Off,
    /// Asked; a connection without one goes on, one that does not verify is refused.
    Request,
    /// Without a verified certificate there is no connection.
    Require,
}

/// What one name (or the listener by default) asks of a client.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientCertificatesPlan {
    /// Whether.
    pub mode: ClientCertificates,
    /// By whose anchors; not empty unless the mode is off.
    pub trust: Vec<TrustId>,
}

/// The TLS side of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTlsPlan {
    /// The listener.
    pub listener: ListenerId,
    /// Where its `tls` is written.
    pub origin: Origin,
    /// Chosen by SNI among their DNS names (exact before wildcard); the first one serves a client without SNI.
    pub certificates: Vec<ShownPlan>,
    /// What every name asks of a client.
    pub client: ClientCertificatesPlan,
    /// What single names ask instead (lower case).
    pub hosts: BTreeMap<String, ClientCertificatesPlan>,
    /// ALPN protocols in order of preference, as in `h2`, `http/1.1`.
    pub alpn: Vec<&'static str>,
}

impl ListenerTlsPlan {
    /// Every trust that some name of the listener asks for.
    pub(crate) fn trusts(&self) -> impl Iterator<Item = &TrustId> {
        self.client
            .trust
            .iter()
            .chain(self.hosts.values().flat_map(|host| &host.trust))
    }
}

/// The TLS side of a pool's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTlsPlan {
    /// The pool.
    pub pool: PoolId,
    /// Where its `tls` is written.
    pub origin: Origin,
    /// Whom we expect there.
    pub peer: UpstreamPeer,
}

/// Whom we expect at an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum UpstreamPeer {
    /// mTLS: our SVID, exactly this SPIFFE ID, by its trust domain's bundle.
    Spiffe {
        /// The identity the endpoint must prove.
        expected: SpiffeId,
        /// The anchors: those of a `trust` entry with this trust domain, or the Workload API's when `None`.
        anchors: Option<Vec<CertificateDer<'static>>>,
    },
    /// Ordinary HTTPS: chain and name.
    Https {
        /// The name; `None`: each endpoint's own DNS name.
        server_name: Option<String>,
        /// A given CA; `None`: the system's.
        ca: Option<Vec<CertificateDer<'static>>>,
    },
}

/// Equality of meaning: where a thing is written does not count, so that moving a line rebuilds nothing.
macro_rules! means_the_same {
    ($($plan:ty),+ $(,)?) => {$(
        impl $plan {
            /// True when both say the same, wherever they are written.
            pub(crate) fn means_the_same(&self, other: &Self) -> bool {
                self == &Self { origin: self.origin.clone(), ..other.clone() }
            }
        }
    )+};
}

means_the_same!(IssuerPlan, TrustPlan, CertifiedKeyPlan, UpstreamTlsPlan);

impl ListenerTlsPlan {
    /// True when both say the same, wherever they are written.
    pub(crate) fn means_the_same(&self, other: &Self) -> bool {
        let unplaced = |plan: &Self| {
            let mut plan = Self {
                origin: Origin::default(),
                ..plan.clone()
            };
            plan.certificates = plan.certificates.into_iter().map(ShownPlan::unplaced).collect();
            plan
        };
        unplaced(self) == unplaced(other)
    }
}
