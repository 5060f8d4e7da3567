//! What `identity` is told: issuers, trust anchors, our own identity, and the TLS side of every listener.
//!
//! Plans carry bytes, never paths to read: the operator's door has already read the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{ListenerId, Origin, PoolId, Redacted, SpiffeId, TrustDomain, TrustId};
use rustls_pki_types::CertificateDer;

mod assertion;
mod issuers;
mod revocation;
mod shown;

pub use assertion::{AssertionKeyPlan, AssertionKeys, AssertionPlan, ForwardPlan};
pub use issuers::{
    Algorithm, ClaimPath, ClaimPaths, IssuerKind, IssuerPlan, KeySource, KeyTimes, RequiredClaim, TokenTypes,
    Wanted,
};
pub use revocation::{CrlDepth, CrlPlan, CrlSource, OnStaleCrl, RevocationPlan};
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
    /// How principals are asserted toward endpoints; `None`: they are not.
    pub assertion: Option<AssertionPlan>,
    /// What endpoints are told, for pools that say so.
    pub forwards: Vec<ForwardPlan>,
    /// The system's trust anchors, read once by the operator's door; used by upstreams that name no CA.
    pub system_roots: Arc<Vec<CertificateDer<'static>>>,
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
    /// How revocation is checked; `None`: it is not.
    pub revocation: Option<RevocationPlan>,
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
    /// How revocation of its certificates is checked; `None`: it is not.
    pub revocation: Option<RevocationPlan>,
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

means_the_same!(IssuerPlan, CertifiedKeyPlan);

/// The same for plans with lists, whose places do not count either.
macro_rules! means_the_same_but_for_places_of_lists {
    ($($plan:ty),+ $(,)?) => {$(
        impl $plan {
            /// True when both say the same, wherever they are written.
            pub(crate) fn means_the_same(&self, other: &Self) -> bool {
                let unplaced = |plan: &Self| Self {
                    origin: Origin::default(),
                    revocation: revocation::unplaced(plan.revocation.as_ref()),
                    ..plan.clone()
                };
                unplaced(self) == unplaced(other)
            }
        }
    )+};
}

means_the_same_but_for_places_of_lists!(TrustPlan, UpstreamTlsPlan);

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
