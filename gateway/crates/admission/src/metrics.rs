//! What the room counts. Labels come from configuration and closed enums, never from a request.

use std::sync::Arc;

use portcullis_model::{ContractId, LimitId, Mode, Reason};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Verdicts of contracts, by contract, mode and result (`allowed` or a reason's code).
pub const CONTRACT_VERDICTS: &str = "portcullis_contract_verdicts_total";
/// Decisions of rate limits, by limit, mode and result (`allowed` or `limited`).
pub const LIMIT_DECISIONS: &str = "portcullis_limit_decisions_total";
/// Keys that a rate limit keeps a bucket for.
pub const LIMIT_ENTRIES: &str = "portcullis_limit_entries";
/// Time that policies take to decide, by policy, mode and result (`allowed` or a reason's code).
pub const POLICY_SECONDS: &str = "portcullis_policy_decision_seconds";

/// The label value of a verdict that allows.
pub const ALLOWED: &str = "allowed";
/// The label value of a limit that would refuse, or did.
pub const LIMITED: &str = "limited";

/// In-process evaluation takes microseconds; the budget is milliseconds.
const POLICY_BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1,
];

/// The room's counters; made once by the app and handed to whoever counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    contract_verdicts: IntCounterVec,
    limit_decisions: IntCounterVec,
    limit_entries: IntGaugeVec,
    policy_seconds: HistogramVec,
}

impl Metrics {
    /// Counters that no registry exports: for tests and for `explain`, which must not count.
    ///
    /// # Errors
    /// Fails only when a name or label here is not a valid Prometheus name.
    pub fn detached() -> Result<Arc<Self>, prometheus::Error> {
        Ok(Arc::new(Self {
            contract_verdicts: IntCounterVec::new(
                Opts::new(CONTRACT_VERDICTS, "Verdicts of contracts on heads and bodies"),
                &["contract", "mode", "result"],
            )?,
            limit_decisions: IntCounterVec::new(
                Opts::new(LIMIT_DECISIONS, "Decisions of rate limits"),
                &["limit", "mode", "result"],
            )?,
            limit_entries: IntGaugeVec::new(
                Opts::new(LIMIT_ENTRIES, "Keys that a rate limit keeps a bucket for"),
                &["limit"],
            )?,
            policy_seconds: HistogramVec::new(
                HistogramOpts::new(POLICY_SECONDS, "Time that a policy took to decide")
                    .buckets(POLICY_BUCKETS.to_vec()),
                &["policy", "mode", "result"],
            )?,
        }))
    }

    /// The counters, exported by a registry.
    ///
    /// # Errors
    /// Fails when the registry already has a metric of the same name.
    pub fn register(registry: &Registry) -> Result<Arc<Self>, prometheus::Error> {
        let metrics = Self::detached()?;
        registry.register(Box::new(metrics.contract_verdicts.clone()))?;
        registry.register(Box::new(metrics.limit_decisions.clone()))?;
        registry.register(Box::new(metrics.limit_entries.clone()))?;
        registry.register(Box::new(metrics.policy_seconds.clone()))?;
        Ok(metrics)
    }

    /// Counts a contract's verdict on a head or a body.
    pub fn count_contract(&self, contract: &ContractId, mode: Mode, verdict: Result<(), Reason>) {
        self.contract_verdicts
            .with_label_values(&[contract.as_str(), mode.as_str(), result_label(verdict)])
            .inc();
    }

    /// Counts a limit's decision.
    pub fn count_limit(&self, limit: &LimitId, mode: Mode, is_allowed: bool) {
        let result = if is_allowed { ALLOWED } else { LIMITED };
        self.limit_decisions
            .with_label_values(&[limit.as_str(), mode.as_str(), result])
            .inc();
    }

    /// Says how many keys a limit keeps now.
    pub fn set_limit_entries(&self, limit: &LimitId, entries: usize) {
        self.limit_entries
            .with_label_values(&[limit.as_str()])
            .set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// Forgets the gauge of a limit that is gone.
    pub fn forget_limit(&self, limit: &LimitId) {
        // A limit that never decided has no gauge; that is no error.
        let _ = self.limit_entries.remove_label_values(&[limit.as_str()]);
    }

    /// Counts a policy's decision and how long it took.
    pub fn count_policy(&self, policy: &str, mode: Mode, verdict: Result<(), Reason>, seconds: f64) {
        self.policy_seconds
            .with_label_values(&[policy, mode.as_str(), result_label(verdict)])
            .observe(seconds);
    }
}

const fn result_label(verdict: Result<(), Reason>) -> &'static str {
    match verdict {
        Ok(()) => ALLOWED,
        Err(reason) => reason.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_counters_are_exported_and_a_second_registration_is_refused() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();

        metrics.count_limit(&LimitId::from("per_address"), Mode::Observe, false);
        metrics.count_contract(
            &ContractId::from("orders"),
            Mode::Enforce,
            Err(Reason::BodyInvalid),
        );

        let names: Vec<_> = registry
            .gather()
            .iter()
            .map(|family| family.name().to_owned())
            .collect();
        assert!(names.contains(&LIMIT_DECISIONS.to_owned()));
        assert!(names.contains(&CONTRACT_VERDICTS.to_owned()));
        assert!(Metrics::register(&registry).is_err());
    }
}
