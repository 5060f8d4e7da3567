//! What the room counts. Labels are names from the configuration or closed words, never request text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use portcullis_model::{PoolId, RegionId};
use prometheus::{Error, GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::pool::Pool;

const ENDPOINTS: &str = "portcullis_endpoints";
const ENDPOINTS_EJECTED: &str = "portcullis_endpoint_ejections_total";
const SELECTIONS: &str = "portcullis_endpoint_selections_total";
const SELECTIONS_REFUSED: &str = "portcullis_endpoint_selections_refused_total";
const IN_FLIGHT: &str = "portcullis_pool_in_flight";
const SECOND_ATTEMPTS: &str = "portcullis_retry_total";
const BUDGET: &str = "portcullis_retry_budget_remaining";
const RESIDENCY_REFUSED: &str = "portcullis_residency_refused_total";
const RESIDENCY_VIOLATION: &str = "portcullis_residency_violation_total";

/// Every state an endpoint can be in, so that a gauge falls to 0 instead of vanishing.
const STATES: [&str; 5] = ["warming", "up", "down", "ejected", "trial"];

/// The room's counters and gauges.
#[derive(Clone, Debug)]
pub struct Metrics {
    endpoints: IntGaugeVec,
    ejections: IntCounterVec,
    selections: IntCounterVec,
    refused: IntCounterVec,
    in_flight: IntGaugeVec,
    second_attempts: IntCounterVec,
    budget: GaugeVec,
    residency_refused: IntCounterVec,
    residency_violation: IntCounter,
}

impl Metrics {
    /// The metrics, registered.
    ///
    /// # Errors
    /// When the registry already has one of the names.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help);
        let metrics = Self {
            endpoints: IntGaugeVec::new(
                opts(ENDPOINTS, "Endpoints of a pool in a region, by state."),
                &["pool", "region", "state"],
            )?,
            ejections: IntCounterVec::new(
                opts(ENDPOINTS_EJECTED, "Passive ejections of a pool's endpoints."),
                &["pool", "region"],
            )?,
            selections: IntCounterVec::new(
                opts(SELECTIONS, "Attempts sent to a pool's endpoints, by region."),
                &["pool", "region"],
            )?,
            refused: IntCounterVec::new(
                opts(
                    SELECTIONS_REFUSED,
                    "Requests for which no endpoint was found, by reason.",
                ),
                &["pool", "reason"],
            )?,
            in_flight: IntGaugeVec::new(opts(IN_FLIGHT, "Requests in flight to a pool."), &["pool"])?,
            second_attempts: IntCounterVec::new(
                opts(
                    SECOND_ATTEMPTS,
                    "Second attempts asked for, by what failed and whether they were granted.",
                ),
                &["pool", "kind", "result"],
            )?,
            budget: GaugeVec::new(
                opts(BUDGET, "Second attempts that a pool's budget holds now."),
                &["pool"],
            )?,
            residency_refused: IntCounterVec::new(
                opts(
                    RESIDENCY_REFUSED,
                    "Requests refused because only a region outside their residency could serve them.",
                ),
                &["pool"],
            )?,
            residency_violation: IntCounter::new(
                RESIDENCY_VIOLATION,
                "Selections outside a request's residency; refused, and always 0 unless there is a defect.",
            )?,
        };
        metrics.register_all(registry)?;
        Ok(metrics)
    }

    /// Brings the gauges up to date; called before each export.
    pub fn refresh<'a>(&self, pools: impl Iterator<Item = &'a Arc<Pool>>, now: Instant) {
        self.endpoints.reset();
        self.in_flight.reset();
        self.budget.reset();
        for pool in pools {
            let mut counts: BTreeMap<(RegionId, &'static str), i64> = BTreeMap::new();
            // Every site, also one whose names gave no address yet: an alert sees a 0, never an absence.
            for site in &pool.plan().sites {
                for state in STATES {
                    counts.entry((site.region.clone(), state)).or_default();
                }
            }
            for report in pool.reports(now) {
                *counts
                    .entry((report.endpoint.region.clone(), report.state.as_str()))
                    .or_default() += 1;
            }
            let id = pool.id().as_str();
            for ((region, state), count) in counts {
                self.endpoints
                    .with_label_values(&[id, region.as_str(), state])
                    .set(count);
            }
            self.in_flight
                .with_label_values(&[id])
                .set(i64::from(pool.in_flight()));
            self.budget
                .with_label_values(&[id])
                .set(pool.budget_remaining(now));
        }
    }

    pub(crate) fn selections(&self, pool: &PoolId, region: &RegionId) -> IntCounter {
        self.selections
            .with_label_values(&[pool.as_str(), region.as_str()])
    }

    pub(crate) fn ejections(&self, pool: &PoolId, region: &RegionId) -> IntCounter {
        self.ejections
            .with_label_values(&[pool.as_str(), region.as_str()])
    }

    pub(crate) fn refused(&self, pool: &PoolId, reason: portcullis_model::Reason) {
        self.refused
            .with_label_values(&[pool.as_str(), reason.code()])
            .inc();
        if reason == portcullis_model::Reason::ResidencyUnavailable {
            self.residency_refused.with_label_values(&[pool.as_str()]).inc();
        }
    }

    pub(crate) fn residency_violation(&self) {
        self.residency_violation.inc();
    }

    pub(crate) fn second_attempt(&self, pool: &PoolId, kind: &str, is_granted: bool) {
        let result = if is_granted { "granted" } else { "refused" };
        self.second_attempts
            .with_label_values(&[pool.as_str(), kind, result])
            .inc();
    }

    fn register_all(&self, registry: &Registry) -> Result<(), Error> {
        registry.register(Box::new(self.endpoints.clone()))?;
        registry.register(Box::new(self.ejections.clone()))?;
        registry.register(Box::new(self.selections.clone()))?;
        registry.register(Box::new(self.refused.clone()))?;
        registry.register(Box::new(self.in_flight.clone()))?;
        registry.register(Box::new(self.second_attempts.clone()))?;
        registry.register(Box::new(self.budget.clone()))?;
        registry.register(Box::new(self.residency_refused.clone()))?;
        registry.register(Box::new(self.residency_violation.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Boards, compile};
    use crate::fixture::{plan, pool_plan, site};
    use crate::health::EndpointState;

    #[test]
    fn every_state_has_a_gauge() {
        assert!(STATES.contains(&EndpointState::Up.as_str()));
        assert!(STATES.contains(&EndpointState::Trial.as_str()));
        assert!(
            STATES.contains(
                &EndpointState::Down {
                    failures: 1,
                    error: None
                }
                .as_str()
            )
        );
        assert!(
            STATES.contains(
                &EndpointState::Warming {
                    failures: 1,
                    error: None
                }
                .as_str()
            )
        );
    }

    #[test]
    fn a_site_whose_name_gave_no_address_is_shown_with_no_endpoint_up() {
        let registry = Registry::new();
        let boards = Boards::new(&registry).unwrap();
        let plan = plan(vec![pool_plan(vec![site("eu", &["orders.example:80"])])]);
        let (runtime, _) = compile(&plan, None, &boards).unwrap();

        runtime.refresh_metrics(Instant::now());

        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(
            text.contains(r#"portcullis_endpoints{pool="orders",region="eu",state="up"} 0"#),
            "{text}"
        );
    }

    #[test]
    fn a_second_registration_is_refused() {
        let registry = Registry::new();

        assert!(Metrics::register(&registry).is_ok());
        assert!(Metrics::register(&registry).is_err());
    }
}
