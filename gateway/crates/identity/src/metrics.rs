//! The room's counters and gauges; labels come from the configuration or from closed sets, never from a request.

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::jwt::KeyGauges;
use crate::mtls::{CrlMetrics, WorkloadMetrics};

/// Tokens by issuer and outcome: `verified` (a signature was checked), `cached`, or a refusal's code.
pub const TOKENS: &str = "portcullis_identity_tokens_total";
/// Client certificates by outcome: `verified`, `remembered`, or a refusal's code.
pub const CERTIFICATES: &str = "portcullis_identity_certificates_total";
/// Signature checks of tokens, by issuer.
pub const SIGNATURE_CHECKS: &str = "portcullis_identity_signature_checks_total";
/// Key set fetches by issuer and outcome: `changed`, `unchanged`, `failed`.
pub const KEY_FETCHES: &str = "portcullis_identity_key_fetches_total";
/// Identity assertions toward endpoints by outcome: `signed`, `remembered`, `refused`.
pub const ASSERTIONS: &str = "portcullis_identity_assertions_total";
/// When what identity rests on ends, in seconds since the epoch: certificates of ours, our identity, anchors.
pub const CERTIFICATE_EXPIRY: &str = "portcullis_identity_certificate_expiry_timestamp_seconds";

/// The metrics of `identity`.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) tokens: IntCounterVec,
    pub(crate) certificates: IntCounterVec,
    pub(crate) signature_checks: IntCounterVec,
    pub(crate) key_fetches: IntCounterVec,
    pub(crate) assertions: IntCounterVec,
    pub(crate) key_gauges: KeyGauges,
    pub(crate) crls: CrlMetrics,
    pub(crate) certificate_expiry: IntGaugeVec,
    /// What is known of the Workload API; the app shows it.
    pub workload: WorkloadMetrics,
}

impl Metrics {
    /// Metrics at zero, not registered anywhere.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "names and labels are constants above, valid as the test below shows"
    )]
    pub fn new() -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("a valid metric name")
        };
        Self {
            tokens: counter(TOKENS, "Bearer tokens by outcome.", &["issuer", "outcome"]),
            certificates: counter(CERTIFICATES, "Client certificates by outcome.", &["outcome"]),
            signature_checks: counter(SIGNATURE_CHECKS, "Signature checks of tokens.", &["issuer"]),
            key_fetches: counter(KEY_FETCHES, "Key set fetches by outcome.", &["issuer", "outcome"]),
            assertions: counter(ASSERTIONS, "Identity assertions toward endpoints.", &["outcome"]),
            key_gauges: KeyGauges::new().expect("a valid metric name"),
            crls: CrlMetrics::new().expect("valid metric names"),
            certificate_expiry: IntGaugeVec::new(
                Opts::new(CERTIFICATE_EXPIRY, "When a certificate of ours ends."),
                &["certificate"],
            )
            .expect("a valid metric name"),
            workload: WorkloadMetrics::new().expect("valid metric names"),
        }
    }

    /// Makes the metrics visible.
    ///
    /// # Errors
    /// When they are registered there already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.tokens.clone()))?;
        self.crls.register(registry)?;
        registry.register(Box::new(self.certificates.clone()))?;
        registry.register(Box::new(self.signature_checks.clone()))?;
        registry.register(Box::new(self.key_fetches.clone()))?;
        registry.register(Box::new(self.assertions.clone()))?;
        self.key_gauges.register(registry)?;
        self.workload.register(registry)?;
        registry.register(Box::new(self.certificate_expiry.clone()))
    }

    /// Shows when everything ends that is held now, each under its name; of several with one name the first to end.
    /// A name that is not among them is shown no longer.
    pub fn set_expiries<'a>(&self, expiries: impl IntoIterator<Item = (&'a str, i64)>) {
        let mut earliest = BTreeMap::new();
        for (name, ends) in expiries {
            let known = earliest.entry(name).or_insert(ends);
            *known = ends.min(*known);
        }
        self.certificate_expiry.reset();
        for (name, ends) in earliest {
            self.certificate_expiry.with_label_values(&[name]).set(ends);
        }
    }

    /// How many token signatures were checked for an issuer; a cached token adds none.
    #[must_use]
    pub fn signature_checks(&self, issuer: &str) -> u64 {
        self.signature_checks.with_label_values(&[issuer]).get()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_ends_with_one_name_the_first_is_shown_and_what_is_gone_is_not() {
        let metrics = Metrics::new();
        metrics.set_expiries([("svid", 30), ("trust mesh", 20), ("trust mesh", 10)]);
        let shown = |name: &str| metrics.certificate_expiry.with_label_values(&[name]).get();
        assert_eq!((shown("svid"), shown("trust mesh")), (30, 10));

        metrics.set_expiries([("svid", 40)]);

        assert_eq!((shown("svid"), shown("trust mesh")), (40, 0));
    }

    #[test]
    fn metrics_register_once() {
        let registry = Registry::new();
        let metrics = Metrics::new();

        assert!(metrics.register(&registry).is_ok());
        assert!(metrics.register(&registry).is_err());
    }
}
