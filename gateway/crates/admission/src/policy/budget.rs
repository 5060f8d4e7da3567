//! The running clock of one decision.
//!
//! A budget has to be measured while the policy runs, so this is the one place of the room that reads a clock;
//! what time it is for a policy is not decided here.

use std::time::{Duration, Instant};

/// A stopwatch with a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    started: Instant,
    limit: Duration,
}

impl Budget {
    /// Starts now.
    pub(super) fn start(limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            limit,
        }
    }

    /// True once the limit is reached.
    pub(super) fn is_spent(&self) -> bool {
        self.started.elapsed() >= self.limit
    }

    /// Whole microseconds since the start.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
