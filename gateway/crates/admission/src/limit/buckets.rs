//! One limit's limiter: `governor`'s state machine over our store and clock.

use std::time::{Duration, Instant};

use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};

use super::clock::SteppedClock;
use super::store::{BucketStore, Left, MAX_KEYS, Visit};

/// The buckets of one limit.
#[derive(Debug)]
pub(super) struct Buckets {
    limiter: RateLimiter<Visit, BucketStore, SteppedClock, StateInformationMiddleware>,
    store: BucketStore,
    clock: SteppedClock,
    /// What the limiter's clock counts from.
    epoch: Instant,
}

/// A bucket admitted a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted {
    /// Requests that would fit right now.
    pub(super) remaining: u32,
    /// Until the bucket is full again.
    pub(super) full_in: Duration,
    left: Left,
}

impl Buckets {
    pub(super) fn new(quota: Quota, epoch: Instant) -> Self {
        Self::with_max_keys(quota, epoch, MAX_KEYS)
    }

    pub(super) fn with_max_keys(quota: Quota, epoch: Instant, max_keys: usize) -> Self {
        let clock = SteppedClock::default();
        let interval = nanos(quota.replenish_interval());
        let tolerance = interval.saturating_mul(u64::from(quota.burst_size().get() - 1));
        let store = BucketStore::new(clock.clone(), interval, tolerance, max_keys);
        // The clock stands at zero here, so the limiter's times are the store's.
        let limiter = RateLimiter::new(quota, store.clone(), clock.clone());
        Self {
            limiter,
            store,
            clock,
            epoch,
        }
    }

    /// Takes one request out of a key's bucket, or says how long until one fits.
    pub(super) fn take(&self, key: u128, now: Instant) -> Result<Admitted, Duration> {
        let now = nanos(now.saturating_duration_since(self.epoch));
        self.clock.advance_to(now);
        let visit = Visit::new(key);
        match self.limiter.check_key(&visit) {
            Ok(snapshot) => {
                let left = visit.left.get();
                Ok(Admitted {
                    remaining: snapshot.remaining_burst_capacity(),
                    full_in: Duration::from_nanos(left.full_at.saturating_sub(now)),
                    left,
                })
            }
            Err(refused) => Err(refused.wait_time_from(now.into())),
        }
    }

    /// Gives back what [`Buckets::take`] took.
    pub(super) fn refund(&self, key: u128, admitted: &Admitted) {
        self.store.refund(key, admitted.left);
    }

    /// Keys that have a bucket.
    pub(super) fn len(&self) -> usize {
        self.store.len()
    }
}

/// Limits that do not fit were refused when they were compiled, and a process does not run for 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
