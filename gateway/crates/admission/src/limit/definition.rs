//! A rate limit as configured, checked once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::Quota;
use portcullis_model::{Guard, LimitId, Origin, Problem, Problems};

use crate::plan::{KeyPart, LimitPlan};

/// A bucket that needs longer than this to refill is a quota for accounting, not protection, and its arithmetic in
/// nanoseconds would come near the end of 64 bits.
const MAX_REFILL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A compiled rate limit; holds no counters.
#[derive(Debug)]
pub struct Limit {
    origin: Origin,
    guard: Guard,
    quota: Quota,
    identity: Arc<LimitIdentity>,
}

/// What makes two limits share their buckets over a reload: anything that changes who pays or how much is a new limit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct LimitIdentity {
    pub(super) id: LimitId,
    pub(super) key: Vec<KeyPart>,
    pub(super) count: NonZeroU32,
    pub(super) per: Duration,
    pub(super) burst: NonZeroU32,
}

impl Limit {
    /// Checks a limit's plan.
    ///
    /// # Errors
    /// Refuses a limit without a key, without a period, or whose bucket would take years to refill.
    pub fn compile(plan: &LimitPlan) -> Result<(Self, Problems), Problems> {
        let mut problems = Problems::new();
        if plan.key.is_empty() {
            problems.push(Problem::error(
                "limit-key",
                &plan.origin,
                format!("rate limit \"{}\" has no key", plan.id),
            ));
        }
        let quota = Self::quota(plan);
        if quota.is_none() {
            problems.push(
                Problem::error(
                    "limit-refill",
                    &plan.origin,
                    format!(
                        "rate limit \"{}\" has no period or takes over ten years to refill",
                        plan.id
                    ),
                )
                .with_hint("lower `burst` or raise `limit`"),
            );
        }
        let Some(quota) = quota else {
            return Err(problems);
        };
        problems.into_result(Self {
            origin: plan.origin.clone(),
            guard: plan.guard,
            quota,
            identity: Arc::new(LimitIdentity {
                id: plan.id.clone(),
                key: plan.key.clone(),
                count: plan.count,
                per: plan.per,
                burst: plan.burst,
            }),
        })
    }

    /// One request per `per / count`, rounded up to whole nanoseconds: the rate is never above what is written.
    fn quota(plan: &LimitPlan) -> Option<Quota> {
        let interval = plan.per.as_nanos().div_ceil(u128::from(plan.count.get()));
        let refill = interval.checked_mul(u128::from(plan.burst.get()))?;
        if refill > MAX_REFILL.as_nanos() {
            return None;
        }
        let interval = Duration::from_nanos(u64::try_from(interval).ok()?);
        Quota::with_period(interval).map(|quota| quota.allow_burst(plan.burst))
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &LimitId {
        &self.identity.id
    }

    /// Where it is defined.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its own mode; a reference may narrow it.
    #[must_use]
    pub const fn guard(&self) -> Guard {
        self.guard
    }

    /// The parts of its key.
    #[must_use]
    pub fn key(&self) -> &[KeyPart] {
        &self.identity.key
    }

    /// True when a part of its key is only known after `authenticate`.
    #[must_use]
    pub fn needs_principal(&self) -> bool {
        self.identity.key.iter().any(KeyPart::needs_principal)
    }

    /// True when all of its key is known in `shed`, before a route is matched.
    #[must_use]
    pub fn is_known_before_the_route(&self) -> bool {
        self.identity.key.iter().all(KeyPart::is_known_before_the_route)
    }

    pub(super) const fn quota_of(&self) -> Quota {
        self.quota
    }

    pub(super) const fn identity(&self) -> &Arc<LimitIdentity> {
        &self.identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(count: u32, per: Duration, burst: u32) -> LimitPlan {
        LimitPlan {
            id: LimitId::from("l"),
            origin: Origin::of("rate_limits.l"),
            key: vec![KeyPart::ClientAddress],
            count: NonZeroU32::new(count).unwrap(),
            per,
            burst: NonZeroU32::new(burst).unwrap(),
            guard: Guard::ENFORCE,
        }
    }

    #[test]
    fn the_interval_is_rounded_up_so_that_the_rate_is_never_above_what_is_written() {
        let (limit, _) = Limit::compile(&plan(3, Duration::from_secs(1), 1)).unwrap();

        assert_eq!(
            limit.quota_of().replenish_interval(),
            Duration::from_nanos(333_333_334)
        );
    }

    #[test]
    fn a_limit_that_refills_within_years_is_accepted_and_one_that_does_not_is_a_problem() {
        let day = Duration::from_secs(86_400);

        assert!(Limit::compile(&plan(1, day, 365)).is_ok());
        let problems = Limit::compile(&plan(1, day, u32::MAX)).unwrap_err();
        assert_eq!(problems.iter().next().unwrap().code, "limit-refill");
    }

    #[test]
    fn a_limit_without_a_key_or_a_period_is_a_problem() {
        let keyless = LimitPlan {
            key: Vec::new(),
            ..plan(1, Duration::from_secs(1), 1)
        };

        assert_eq!(
            Limit::compile(&keyless).unwrap_err().iter().next().unwrap().code,
            "limit-key"
        );
        assert!(Limit::compile(&plan(1, Duration::ZERO, 1)).is_err());
    }

    #[test]
    fn the_key_says_at_which_point_the_limit_can_run() {
        let (by_address, _) = Limit::compile(&plan(1, Duration::from_secs(1), 1)).unwrap();
        let tenant = LimitPlan {
            key: vec![KeyPart::Route, KeyPart::Tenant],
            ..plan(1, Duration::from_secs(1), 1)
        };
        let (by_tenant, _) = Limit::compile(&tenant).unwrap();

        assert!(by_address.is_known_before_the_route() && !by_address.needs_principal());
        assert!(!by_tenant.is_known_before_the_route() && by_tenant.needs_principal());
    }
}
