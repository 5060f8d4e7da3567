//! `RateLimit-Policy`, `RateLimit` and `Retry-After`, as the IETF draft (-10/-11) writes them.
//!
//! Both are Structured Field lists of strings with parameters: `"burst";q=100;w=60` and `"burst";r=50;t=30`.

use std::fmt::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

use super::definition::Limit;

/// The field that says what the limits are.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The field that says what is left of them.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Waits longer than this are spread, so that refused clients do not all come back in the same second.
const JITTER_ABOVE: u64 = 5;

/// A limit with less than this part of its burst left is worth telling.
const NEARLY_USED_UP: u32 = 5;

/// What the response tells about the limits that were checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimitFields {
    /// `RateLimit-Policy`.
    pub policy: HeaderValue,
    /// `RateLimit`.
    pub limit: HeaderValue,
}

impl RateLimitFields {
    /// Both fields with their names, for the answer's head.
    #[must_use]
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        [
            (RATE_LIMIT_POLICY, self.policy.clone()),
            (RATE_LIMIT, self.limit.clone()),
        ]
    }

    /// The fields of two limit points: one list each.
    #[must_use]
    pub fn merge(earlier: Option<Self>, later: Option<Self>) -> Option<Self> {
        let (earlier, later) = match (earlier, later) {
            (Some(earlier), Some(later)) => (earlier, later),
            (one, other) => return one.or(other),
        };
        Some(Self {
            policy: joined(&earlier.policy, &later.policy)?,
            limit: joined(&earlier.limit, &later.limit)?,
        })
    }

    /// The binding limit first, then those with less than a fifth left; `None` when nothing was enforced.
    pub(super) fn of(standings: &[Standing<'_>], roll: u64) -> Option<Self> {
        let binding = standings
            .iter()
            .min_by(|a, b| a.share_left().total_cmp(&b.share_left()))?;
        let told = std::iter::once(binding).chain(
            standings
                .iter()
                .filter(|standing| !std::ptr::eq(*standing, binding) && standing.is_nearly_used_up()),
        );
        let (mut policy, mut limit) = (String::new(), String::new());
        for standing in told {
            if !policy.is_empty() {
                policy.push_str(", ");
                limit.push_str(", ");
            }
            standing.write(&mut policy, &mut limit, roll);
        }
        Some(Self {
            policy: HeaderValue::try_from(policy).ok()?,
            limit: HeaderValue::try_from(limit).ok()?,
        })
    }
}

/// Where one key stands with one limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) limit: &'a Limit,
    pub(super) key: u128,
    /// Requests that fit now.
    pub(super) remaining: u32,
    /// Until the bucket is full, or, after a refusal, until one request fits.
    pub(super) wait: Duration,
}

impl Standing<'_> {
    fn share_left(&self) -> f64 {
        f64::from(self.remaining) / f64::from(self.limit.identity().burst.get())
    }

    fn is_nearly_used_up(&self) -> bool {
        self.remaining < self.limit.identity().burst.get().div_ceil(NEARLY_USED_UP)
    }

    fn write(&self, policy: &mut String, limit: &mut String, roll: u64) {
        let identity = self.limit.identity();
        let (name, count) = (quoted(identity.id.as_str()), identity.count.get());
        let window = identity.per.as_secs().max(1);
        // The partition key is a keyed hash of who pays, cut to 8 bytes; it tells clients with one identity apart
        // from those with another and nothing else.
        let partition = STANDARD.encode(((self.key >> 64) as u64).to_be_bytes());
        let (remaining, wait) = (self.remaining.min(count), whole_seconds(self.wait, roll));
        // Writing to a string cannot fail.
        let _ = write!(policy, "{name};q={count};w={window};pk=:{partition}:");
        let _ = write!(limit, "{name};r={remaining};t={wait};pk=:{partition}:");
    }
}

fn joined(one: &HeaderValue, other: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&[one.as_bytes(), b", ", other.as_bytes()].concat()).ok()
}

/// Seconds to tell a client: rounded up, at least one, and spread by up to a tenth when it is a long wait.
pub(super) fn whole_seconds(wait: Duration, roll: u64) -> u64 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    if seconds <= JITTER_ABOVE {
        return seconds.max(1);
    }
    // The lower digits of the roll decide a guard's share; the spread must not follow them.
    let spread = (roll >> 32) % (seconds / 10 + 1);
    seconds + spread
}

/// A Structured Field string (RFC 9651): printable ASCII, quotes and backslashes escaped.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for character in name.chars() {
        match character {
            '"' | '\\' => {
                text.push('\\');
                text.push(character);
            }
            ' '..='~' => text.push(character),
            _ => text.push('?'),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_and_at_least_a_second() {
        assert_eq!(whole_seconds(Duration::ZERO, 0), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1), u64::MAX), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_001), u64::MAX), 2);
        assert_eq!(whole_seconds(Duration::from_secs(5), u64::MAX), 5);
    }

    #[test]
    fn long_waits_are_spread_by_at_most_a_tenth_and_never_shortened() {
        for roll in 0..1_000_u64 {
            let told = whole_seconds(Duration::from_secs(100), roll << 32);

            assert!((100..=110).contains(&told), "{told}");
        }
        assert_ne!(
            whole_seconds(Duration::from_secs(100), 1 << 32),
            whole_seconds(Duration::from_secs(100), 2 << 32)
        );
    }

    #[test]
    fn names_are_structured_field_strings() {
        assert_eq!(quoted("per_tenant"), "\"per_tenant\"");
        assert_eq!(quoted("a\"b\\c\u{e9}\n"), "\"a\\\"b\\\\c??\"");
    }
}
