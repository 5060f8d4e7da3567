//! What endpoints are told of a principal.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Origin, PoolId, Redacted};

/// How assertions are signed.
#[derive(Clone, Debug, PartialEq)]
pub struct AssertionPlan {
    /// Where it is written.
    pub origin: Origin,
    /// The `iss` claim.
    pub issuer: Arc<str>,
    /// By which keys.
    pub keys: AssertionKeys,
    /// How long one holds, at most.
    pub lifetime: Duration,
}

/// The keys of assertions.
#[derive(Clone, Debug, PartialEq)]
pub enum AssertionKeys {
    /// The first signs, all are published; never empty.
    Given(Vec<AssertionKeyPlan>),
    /// Made in memory, each signing for this long.
    Made(Duration),
}

/// A private key.
#[derive(Clone, Debug, PartialEq)]
pub struct AssertionKeyPlan {
    /// Where it is written.
    pub origin: Origin,
    /// The key in PEM, as read.
    pub pem: Redacted<Arc<str>>,
}

/// What the endpoints of one pool are told.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardPlan {
    /// The pool.
    pub pool: PoolId,
    /// Where it is written.
    pub origin: Origin,
    /// The `aud` of the assertion; `None`: no assertion is sent.
    pub audience: Option<Arc<str>>,
    /// Whether the client's certificate is told.
    pub client_certificate: bool,
}

impl AssertionPlan {
    /// True when both say the same, wherever they are written.
    pub(crate) fn means_the_same(&self, other: &Self) -> bool {
        let keys = match (&self.keys, &other.keys) {
            (AssertionKeys::Given(ours), AssertionKeys::Given(theirs)) => ours
                .iter()
                .map(|key| &key.pem)
                .eq(theirs.iter().map(|key| &key.pem)),
            (AssertionKeys::Made(ours), AssertionKeys::Made(theirs)) => ours == theirs,
            (AssertionKeys::Given(_), AssertionKeys::Made(_))
            | (AssertionKeys::Made(_), AssertionKeys::Given(_)) => false,
        };
        keys && self.issuer == other.issuer && self.lifetime == other.lifetime
    }
}
