//! The limiter's clock: time is handed in by callers, never read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::Clock;
use governor::nanos::Nanos;

/// A clock that callers move forward. A caller may see the later of two callers' times, never one before its own.
#[derive(Clone, Debug, Default)]
pub(super) struct SteppedClock(Arc<AtomicU64>);

impl SteppedClock {
    pub(super) fn advance_to(&self, nanos: u64) {
        self.0.fetch_max(nanos, Ordering::AcqRel);
    }

    pub(super) fn nanos(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Clock for SteppedClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.nanos())
    }
}
