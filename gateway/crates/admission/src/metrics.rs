//! What the room counts. Labels come from configuration and closed enums, never from a request.

use std::sync::Arc;

use portcullis_model::{ContractId, LimitId, Mode, PolicyId, Reason};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::policy::Recall;

/// Verdicts of contracts, by contract, mode and result (`allowed` or a reason's code).
pub const CONTRACT_VERDICTS: &str = "portcullis_contract_verdicts_total";
/// Decisions of rate limits, by limit, mode and result (`allowed` or `limited`).
pub const LIMIT_DECISIONS: &str = "portcullis_limit_decisions_total";
/// Keys that a rate limit keeps a bucket for.
pub const LIMIT_ENTRIES: &str = "portcullis_limit_entries";
/// Time that policies take to decide, by policy, mode and result (`allowed` or a reason's code).
pub const POLICY_SECONDS: &str = "portcullis_policy_decision_seconds";
/// Decisions of policies that are remembered, by policy and result (`hit` or `miss`).
pub const POLICY_RECALLS: &str = "portcullis_policy_recalls_total";
/// Remembered decisions that were forgotten to make room, by policy.
pub const POLICY_EVICTIONS: &str = "portcullis_policy_recall_evictions_total";
/// Decisions that a policy remembers now.
pub const POLICY_ENTRIES: &str = "portcullis_policy_recall_entries";

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
    policy_recalls: IntCounterVec,
    policy_evictions: IntCounterVec,
    policy_entries: IntGaugeVec,
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
            policy_recalls: IntCounterVec::new(
                Opts::new(POLICY_RECALLS, "Decisions of policies that are remembered"),
                &["policy", "result"],
            )?,
            policy_evictions: IntCounterVec::new(
                Opts::new(POLICY_EVICTIONS, "Remembered decisions forgotten to make room"),
                &["policy"],
            )?,
            policy_entries: IntGaugeVec::new(
                Opts::new(POLICY_ENTRIES, "Decisions that a policy remembers"),
                &["policy"],
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
        registry.register(Box::new(metrics.policy_recalls.clone()))?;
        registry.register(Box::new(metrics.policy_evictions.clone()))?;
        registry.register(Box::new(metrics.policy_entries.clone()))?;
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

    /// Counts where a policy's decision came from; one that is evaluated every time has nothing to count.
    pub fn count_recall(&self, policy: &str, recall: Recall) {
        let (result, evicted) = match recall {
            Recall::Never | Recall::Fresh => return,
            Recall::Hit => ("hit", 0),
            Recall::Miss { evicted } => ("miss", evicted),
        };
        self.policy_recalls.with_label_values(&[policy, result]).inc();
        if evicted > 0 {
            self.policy_evictions.with_label_values(&[policy]).inc_by(evicted);
        }
    }

    /// Says how many decisions each policy remembers now; a policy that is gone loses its gauge.
    pub fn set_policy_entries<'a>(&self, entries: impl IntoIterator<Item = (&'a PolicyId, usize)>) {
        self.policy_entries.reset();
        for (policy, entries) in entries {
            self.policy_entries
                .with_label_values(&[policy.as_str()])
                .set(i64::try_from(entries).unwrap_or(i64::MAX));
        }
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

    #[test]
    fn recalls_are_counted_and_the_gauge_of_a_policy_that_is_gone_goes() {
        let metrics = Metrics::detached().unwrap();
        let (kept, gone) = (PolicyId::from("kept"), PolicyId::from("gone"));

        for recall in [
            Recall::Hit,
            Recall::Miss { evicted: 3 },
            Recall::Never,
            Recall::Fresh,
        ] {
            metrics.count_recall("kept", recall);
        }
        metrics.set_policy_entries([(&kept, 7), (&gone, 1)]);
        metrics.set_policy_entries([(&kept, 8)]);

        let recalls = |result| metrics.policy_recalls.with_label_values(&["kept", result]).get();
        assert_eq!((recalls("hit"), recalls("miss")), (1, 1));
        assert_eq!(metrics.policy_evictions.with_label_values(&["kept"]).get(), 3);
        assert_eq!(metrics.policy_entries.with_label_values(&["kept"]).get(), 8);
        assert!(metrics.policy_entries.remove_label_values(&["gone"]).is_err());
    }
}
