//! What the log says of clients whose certificates were refused: one line a second for the whole process, so that
//! whoever knocks often fills no disk.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_model::ListenerId;
use tracing::info;

use super::tls::HandshakeFault;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// The process's own.
static SELDOM: Seldom = Seldom::new();

/// Lets one in a second pass and counts the others.
struct Seldom {
    last: Mutex<Option<Instant>>,
    unsaid: AtomicU64,
}

impl Seldom {
    const fn new() -> Self {
        Self {
            last: Mutex::new(None),
            unsaid: AtomicU64::new(0),
        }
    }

    /// How many were left out before this one; `None` for one that is left out.
    fn pass(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(now);
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

/// Says it, unless something was said within the last second.
pub(super) fn say(listener: &ListenerId, peer: SocketAddr, fault: &HandshakeFault) {
    if let Some(left_out) = SELDOM.pass(Instant::now()) {
        info!(%listener, %peer, cause = fault.cause(), left_out, "a client's certificate was refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_in_a_second_and_says_how_many_did_not() {
        let (seldom, now) = (Seldom::new(), Instant::now());

        assert_eq!(seldom.pass(now), Some(0));
        assert_eq!(seldom.pass(now + PAUSE / 2), None);
        assert_eq!(seldom.pass(now + PAUSE / 2), None);
        assert_eq!(seldom.pass(now + PAUSE), Some(2));
        assert_eq!(seldom.pass(now + 2 * PAUSE), Some(0));
    }
}
