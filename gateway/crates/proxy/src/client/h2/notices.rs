//! A log line at most once a second for the whole process, however many connections there is something to say about.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Between two lines.
const PAUSE_MILLIS: u64 = 1000;

/// Says whether a line may be written now.
#[derive(Debug)]
pub(crate) struct Notices {
    since: Instant,
    /// When the next line may be written, in milliseconds.
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            next: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }
}

impl Notices {
    /// `Some` when a line may be written: how many were not, since the last one.
    pub(crate) fn take(&self) -> Option<u64> {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.take_at(now)
    }

    fn take_at(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let is_ours = now >= next
            && self
                .next
                .compare_exchange(next, now + PAUSE_MILLIS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_ours {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_line_waits_a_second_and_tells_how_many_were_left_out() {
        let notices = Notices::default();

        assert_eq!(notices.take_at(0), Some(0));
        assert_eq!(notices.take_at(1), None);
        assert_eq!(notices.take_at(999), None);
        assert_eq!(notices.take_at(1000), Some(2));
        assert_eq!(notices.take_at(1999), None);
    }
}
