//! How much may be asked: GCRA rate limits in bounded tables.
//!
//! A [`Limit`] is configuration and immutable; what counts is in the [`LimitTable`], which outlives reloads and keeps
//! at most [`MAX_KEYS`] buckets per limit. Start with [`check`]: all limits of one point, all or nothing.

mod buckets;
mod check;
mod clock;
mod definition;
mod fields;
mod key;
mod store;
mod table;
#[cfg(test)]
mod tests;

pub use check::{Charge, LimitDecision, LimitOutcome, LimitRef, check};
pub use definition::Limit;
pub use fields::{RATE_LIMIT, RATE_LIMIT_POLICY, RateLimitFields};
pub use key::LimitFacts;
pub use store::MAX_KEYS;
pub use table::LimitTable;
