//! Plan to runtime, reusing what did not change.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{IssuerId, ListenerId, PoolId, Problems};

use crate::authenticator::{Authenticator, Scheme};
use crate::boards::Boards;
use crate::plan::IdentityPlan;
use crate::tls::{ListenerTls, UpstreamTls};

/// How an issuer's keys are doing.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerStatus {
    /// Its name.
    pub id: IssuerId,
    /// The `iss` claim.
    pub issuer: Arc<str>,
    /// Usable keys; 0 when there are none.
    pub keys: usize,
    /// Keys of its document that we do not use.
    pub skipped: usize,
    /// The key set's generation.
    pub generation: u64,
    /// Time since the last good fetch; `None` for keys from a file or never fetched ones.
    pub age: Option<Duration>,
    /// True when tokens can be verified now.
    pub usable: bool,
    /// Why the last fetch failed.
    pub last_fault: Option<String>,
}

/// Everything compiled; a clone shares it.
#[derive(Clone, Debug)]
pub struct IdentityRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {}

/// Compiles a plan; parts that equal those of `previous` keep their generation.
///
/// # Errors
/// Every problem found, when one of them is an error.
pub fn compile(
    _plan: &IdentityPlan,
    _previous: Option<&IdentityRuntime>,
    _boards: &Boards,
) -> Result<(IdentityRuntime, Problems), Problems> {
    Ok((
        IdentityRuntime {
            inner: Arc::new(Inner {}),
        },
        Problems::new(),
    ))
}

impl IdentityRuntime {
    /// The authenticator of a route.
    ///
    /// # Errors
    /// When a scheme names what the plan does not have.
    pub fn authenticator(&self, _schemes: &[Scheme]) -> Result<Authenticator, Problems> {
        Ok(Authenticator {})
    }

    /// A listener's TLS material.
    #[must_use]
    pub fn listener_tls(&self, _id: &ListenerId) -> Option<Arc<ListenerTls>> {
        None
    }

    /// A pool's TLS material.
    #[must_use]
    pub fn upstream_tls(&self, _pool: &PoolId) -> Option<Arc<UpstreamTls>> {
        None
    }

    /// The trust generation: changes when certificates, bundles or trust change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        0
    }

    /// How the issuers' keys are doing.
    #[must_use]
    pub fn issuers_status(&self) -> Vec<IssuerStatus> {
        Vec::new()
    }
}
