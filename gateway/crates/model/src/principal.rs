//! Who is asking, how that was proven, and until when the proof holds.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use serde_json::Value;
use spiffe::SpiffeId;

use crate::ids::IssuerId;

/// A subject of an issuer: `sub` means nothing without the issuer that said it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Subject {
    /// The issuer's name in the configuration.
    pub issuer: IssuerId,
    /// The `iss` claim.
    pub issuer_url: Arc<str>,
    /// The `sub` claim.
    pub subject: Arc<str>,
}

/// The proven identity itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Identity {
    /// Nobody was asked to prove anything: a `public: true` route.
    Anonymous,
    /// A workload, by its SPIFFE ID.
    Workload(SpiffeId),
    /// A user or client of a token issuer.
    User(Subject),
}

/// How an identity was proven.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Proof {
    /// Nothing was proven.
    None,
    /// A client certificate on this connection.
    Mtls,
    /// A signed bearer token.
    Jwt,
}

impl Proof {
    /// The word used in policy input, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mtls => "mtls",
            Self::Jwt => "jwt",
        }
    }
}

/// What the proof says about its holder, read by the configured claim paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    /// The tenant.
    pub tenant: Option<Arc<str>>,
    /// The roles.
    pub roles: Vec<Arc<str>>,
    /// The OAuth scopes.
    pub scopes: Vec<Arc<str>>,
    /// The region or jurisdiction that the issuer asserts.
    pub region: Option<Arc<str>>,
    /// All claims, or `Null` where there are none.
    pub claims: Value,
}

/// What nothing was proven of: one for all anonymous principals.
static NO_ATTRIBUTES: LazyLock<Arc<Attributes>> = LazyLock::new(Arc::default);

/// A proven principal.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// Who.
    pub identity: Identity,
    /// How that was proven.
    pub proof: Proof,
    /// What the proof says about them. Shared: a cached token hands out the same one.
    pub attributes: Arc<Attributes>,
    /// When the proof ends; `None` for the anonymous principal.
    pub expires_at: Option<SystemTime>,
}

impl Principal {
    /// The principal of a public route.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            identity: Identity::Anonymous,
            proof: Proof::None,
            attributes: Arc::clone(&NO_ATTRIBUTES),
            expires_at: None,
        }
    }

    /// True when anything was proven.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proof != Proof::None
    }

    /// `anonymous`, `workload` or `user`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.identity {
            Identity::Anonymous => "anonymous",
            Identity::Workload(_) => "workload",
            Identity::User(_) => "user",
        }
    }

    /// The SPIFFE ID of a workload.
    #[must_use]
    pub const fn spiffe_id(&self) -> Option<&SpiffeId> {
        match &self.identity {
            Identity::Workload(id) => Some(id),
            Identity::Anonymous | Identity::User(_) => None,
        }
    }

    /// The subject of a user.
    #[must_use]
    pub const fn subject(&self) -> Option<&Subject> {
        match &self.identity {
            Identity::User(subject) => Some(subject),
            Identity::Anonymous | Identity::Workload(_) => None,
        }
    }
}

/// One line that names the principal: `anonymous`, the SPIFFE ID, or `issuer:subject`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Workload(id) => write!(f, "{id}"),
            Self::User(user) => write!(f, "{}:{}", user.issuer, user.subject),
        }
    }
}

/// As its identity.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}
