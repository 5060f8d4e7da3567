//! Key sets of issuers, fetched through a port and kept across reloads.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;

use crate::boards::Clock;
use crate::metrics::Metrics;

/// Why a document could not be fetched.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FetchFault {
    /// The egress rules do not allow the address.
    #[error("the egress rules do not allow it: {0}")]
    Refused(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// An answer with another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// A document over the bound.
    #[error("the document is too large")]
    TooLarge,
    /// Anything on the way there.
    #[error("cannot reach it: {0}")]
    Transport(String),
}

/// The port through which key sets arrive; bounds on size, time and egress are the adapter's.
#[async_trait]
pub trait KeyFetch: Send + Sync {
    /// The body of a successful GET.
    async fn fetch(&self, url: &str) -> Result<Bytes, FetchFault>;
}

/// Key sets by issuer and source.
pub struct KeyBoard {
    fetch: Arc<dyn KeyFetch>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl KeyBoard {
    /// A board without keys.
    #[must_use]
    pub fn new(fetch: Arc<dyn KeyFetch>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            fetch,
            clock,
            metrics,
        }
    }

    /// Fetches what is due; the app calls it every second.
    pub async fn refresh_due(&self, _now: Instant) {}

    /// True when every issuer in use has keys.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        true
    }
}

impl fmt::Debug for KeyBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBoard").finish_non_exhaustive()
    }
}
