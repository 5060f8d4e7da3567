//! What second attempts may cost a pool: a share of its requests and a few per second.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use portcullis_model::PoolId;

use crate::plan::RetryBudgetPlan;

/// How many second attempts may be saved up at least: enough for the first moment of a fault at a busy pool, too few
/// to double anybody's load.
const SAVED: f64 = 10.0;

/// The budgets of all pools; outlives reloads.
#[derive(Debug, Default)]
pub struct RetryBudgets {
    pools: RwLock<HashMap<PoolId, Arc<Budget>>>,
}

impl RetryBudgets {
    /// No budgets yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The pool's budget, made on first use.
    pub fn of(&self, pool: &PoolId) -> Arc<Budget> {
        if let Some(budget) = self
            .pools
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(pool)
        {
            return Arc::clone(budget);
        }
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(pool.clone()).or_default())
    }

    /// Forgets the pools that are neither live nor still held by a snapshot.
    pub fn sweep(&self, live: &BTreeSet<PoolId>) {
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool, budget| live.contains(pool) || Arc::strong_count(budget) > 1);
    }
}

/// One pool's budget: a token bucket that requests and time fill.
#[derive(Debug, Default)]
pub struct Budget {
    requests: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    tokens: f64,
    counted: u64,
    filled_at: Option<Instant>,
}

impl Budget {
    /// Counts a first attempt.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one second attempt out of the budget; false when there is none left.
    pub fn withdraw(&self, plan: &RetryBudgetPlan, now: Instant) -> bool {
        let mut bucket = self.filled(plan, now);
        let is_granted = bucket.tokens >= 1.0;
        if is_granted {
            bucket.tokens -= 1.0;
        }
        is_granted
    }

    /// How many second attempts are left now.
    pub fn remaining(&self, plan: &RetryBudgetPlan, now: Instant) -> f64 {
        self.filled(plan, now).tokens
    }

    fn filled(&self, plan: &RetryBudgetPlan, now: Instant) -> MutexGuard<'_, Bucket> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let per_second = f64::from(plan.min_per_second);
        let requests = self.requests.load(Ordering::Relaxed);
        let from_requests =
            to_f64(requests.saturating_sub(bucket.counted)) * f64::from(plan.share) / 10_000.0;
        // A new pool may spend one second's worth at once.
        let seconds = bucket
            .filled_at
            .map_or(1.0, |then| now.saturating_duration_since(then).as_secs_f64());
        let most = match (plan.share, plan.min_per_second) {
            (0, 0) => 0.0,
            (0, _) => per_second,
            (_, _) => per_second.max(SAVED),
        };

        bucket.tokens = (bucket.tokens + from_requests + seconds * per_second).min(most);
        bucket.counted = requests;
        bucket.filled_at = Some(bucket.filled_at.map_or(now, |then| then.max(now)));
        bucket
    }
}

/// Counts below 2^53 are exact, and no pool gets there between two looks.
#[expect(
    clippy::cast_precision_loss,
    reason = "a difference of counts, far below 2^53"
)]
const fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const PLAN: RetryBudgetPlan = RetryBudgetPlan {
        share: 1_000,
        min_per_second: 2,
    };

    fn drain(budget: &Budget, plan: &RetryBudgetPlan, now: Instant) -> usize {
        (0..1_000).take_while(|_| budget.withdraw(plan, now)).count()
    }

    #[test]
    fn a_quiet_pool_has_its_attempts_per_second() {
        let budget = Budget::default();
        let start = Instant::now();

        assert_eq!(drain(&budget, &PLAN, start), 2);
        assert_eq!(drain(&budget, &PLAN, start + Duration::from_millis(400)), 0);
        assert_eq!(drain(&budget, &PLAN, start + Duration::from_secs(1)), 2);
    }

    #[test]
    fn a_busy_pool_has_a_tenth_of_its_requests_beside() {
        let budget = Budget::default();
        let start = Instant::now();
        drain(&budget, &PLAN, start);

        (0..50).for_each(|_| budget.count_request());

        assert_eq!(drain(&budget, &PLAN, start), 5);
    }

    #[test]
    fn a_long_silence_saves_up_no_more_than_a_handful() {
        let budget = Budget::default();
        let start = Instant::now();
        (0..100_000).for_each(|_| budget.count_request());

        assert_eq!(drain(&budget, &PLAN, start + Duration::from_secs(3_600)), 10);
    }

    #[test]
    fn a_budget_of_nothing_gives_nothing() {
        let budget = Budget::default();
        let none = RetryBudgetPlan {
            share: 0,
            min_per_second: 0,
        };
        (0..100).for_each(|_| budget.count_request());

        assert_eq!(drain(&budget, &none, Instant::now()), 0);
    }

    #[test]
    fn a_pool_that_is_gone_is_forgotten_and_a_live_one_kept() {
        let budgets = RetryBudgets::new();
        let held = budgets.of(&PoolId::from("held"));
        budgets.of(&PoolId::from("live")).count_request();
        budgets.of(&PoolId::from("gone"));

        budgets.sweep(&BTreeSet::from([PoolId::from("live")]));

        assert_eq!(budgets.pools.read().unwrap().len(), 2);
        assert!(Arc::ptr_eq(&held, &budgets.of(&PoolId::from("held"))));
    }

    proptest! {
        #[test]
        fn second_attempts_stay_within_share_and_rate(steps in prop::collection::vec((0_u64..300, 0_usize..40, 0_usize..20), 1..60)) {
            let budget = Budget::default();
            let start = Instant::now();
            let (mut elapsed, mut requests, mut granted) = (0, 0, 0);
            for (millis, asked, wanted) in steps {
                elapsed += millis;
                requests += asked;
                (0..asked).for_each(|_| budget.count_request());
                let now = start + Duration::from_millis(elapsed);
                granted += (0..wanted).filter(|_| budget.withdraw(&PLAN, now)).count();
            }

            let most = 0.1 * to_f64(requests as u64) + 2.0 * (1.0 + to_f64(elapsed) / 1_000.0);
            prop_assert!(to_f64(granted as u64) <= most + 1e-6);
        }
    }
}
