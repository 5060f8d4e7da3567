//! One client connection: its facts, its bounds, its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis_pipeline::ConnectionFacts;
use portcullis_pipeline::plan::ConnectionLimits;
use tokio::sync::watch;
use tokio::time::Instant;

/// One client connection.
pub(crate) struct Connection {
    /// What is known of it.
    pub(crate) facts: Arc<ConnectionFacts>,
    /// Its bounds.
    pub(crate) limits: ConnectionLimits,
    drain: watch::Receiver<bool>,
    opened: Instant,
    requests: AtomicU32,
}

impl Connection {
    /// A connection whose handshake is over.
    pub(crate) fn new(
        facts: Arc<ConnectionFacts>,
        limits: ConnectionLimits,
        drain: watch::Receiver<bool>,
    ) -> Self {
        Self {
            facts,
            limits,
            drain,
            opened: Instant::now(),
            requests: AtomicU32::new(0),
        }
    }

    /// Counts one more request.
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// True when no further request should come: draining, too old, or its share of requests is used.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_draining()
            || self.requests() >= self.limits.requests_per_connection
            || self.opened.elapsed() >= self.limits.connection_age
    }

    /// True when the gateway is going.
    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// When it is too old.
    pub(crate) fn end_of_age(&self) -> Instant {
        self.opened + self.limits.connection_age
    }

    /// Waits until the gateway is going.
    pub(crate) async fn drained(&self) {
        let mut drain = self.drain.clone();
        if drain.wait_for(|is_draining| *is_draining).await.is_err() {
            // The sender is gone with the whole proxy; there is nothing left to wait for.
            std::future::pending::<()>().await;
        }
    }
}
