//! Counters and gauges of revocation; labels are names of the configuration and closed words.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Certificates looked up by trust (or `pool/` and a pool's name) and outcome: `good`, `revoked`, `unknown-refused`,
/// `unknown-accepted`.
pub(super) const CHECKS: &str = "portcullis_identity_revocation_checks_total";
/// Fetches of revocation lists by list and outcome: `changed`, `unchanged`, `older`, `unusable`, `failed`, `refused`,
/// `too-many` (of its lists, or of the places that certificates name).
pub(super) const FETCHES: &str = "portcullis_identity_crl_fetches_total";
/// Seconds since a revocation list was issued.
pub(super) const AGE: &str = "portcullis_identity_crl_age_seconds";
/// By when the next list is due, in seconds since the epoch.
pub(super) const NEXT_UPDATE: &str = "portcullis_identity_crl_next_update_timestamp_seconds";

/// The metrics of revocation.
#[derive(Debug)]
pub(crate) struct CrlMetrics {
    pub(super) checks: IntCounterVec,
    pub(super) fetches: IntCounterVec,
    pub(super) age: GaugeVec,
    pub(super) next_update: IntGaugeVec,
}

impl CrlMetrics {
    /// Metrics at zero, not registered anywhere.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            checks: IntCounterVec::new(
                Opts::new(CHECKS, "Certificates looked up in revocation lists."),
                &["trust", "outcome"],
            )?,
            fetches: IntCounterVec::new(
                Opts::new(FETCHES, "Fetches of revocation lists."),
                &["list", "outcome"],
            )?,
            age: GaugeVec::new(
                Opts::new(AGE, "Seconds since a revocation list was issued."),
                &["list"],
            )?,
            next_update: IntGaugeVec::new(
                Opts::new(NEXT_UPDATE, "By when the next revocation list is due."),
                &["list"],
            )?,
        })
    }

    /// Makes the metrics visible.
    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.checks.clone()))?;
        registry.register(Box::new(self.fetches.clone()))?;
        registry.register(Box::new(self.age.clone()))?;
        registry.register(Box::new(self.next_update.clone()))
    }
}
