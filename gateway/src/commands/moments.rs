//! Moments in words: how long until something ends, and since when it has ended.

use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `in 12 d`, or `12 d ago`.
pub(super) fn from_now(moment: SystemTime, now: SystemTime) -> String {
    match moment.duration_since(now) {
        Ok(left) => format!("in {}", length(left)),
        Err(_) => format!("{} ago", length(now.duration_since(moment).unwrap_or_default())),
    }
}

/// A length in its largest unit of which there are at least two.
pub(super) fn length(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds >= 2 * DAY => format!("{} d", seconds / DAY),
        seconds if seconds >= 2 * HOUR => format!("{} h", seconds / HOUR),
        seconds if seconds >= 2 * MINUTE => format!("{} min", seconds / MINUTE),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_the_largest_unit_that_says_enough() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (seconds, words) in [
            (12 * DAY + HOUR, "in 12 d"),
            (47 * HOUR, "in 47 h"),
            (90 * MINUTE, "in 90 min"),
            (119, "in 119 s"),
            (0, "in 0 s"),
        ] {
            assert_eq!(from_now(now + Duration::from_secs(seconds), now), words);
        }
        assert_eq!(from_now(now - Duration::from_secs(3 * DAY), now), "3 d ago");
    }
}
