//! The room's counters and gauges; labels come from the configuration or from closed sets, never from a request.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Tokens by issuer and outcome: `verified` (a signature was checked), `cached`, or a refusal's code.
pub const TOKENS: &str = "portcullis_identity_tokens_total";
/// Client certificates by outcome: `verified`, `remembered`, or a refusal's code.
pub const CERTIFICATES: &str = "portcullis_identity_certificates_total";
/// Signature checks of tokens, by issuer.
pub const SIGNATURE_CHECKS: &str = "portcullis_identity_signature_checks_total";
/// Key set fetches by issuer and outcome: `changed`, `unchanged`, `failed`.
pub const KEY_FETCHES: &str = "portcullis_identity_key_fetches_total";
/// Seconds since an issuer's keys were last fetched.
pub const KEY_AGE: &str = "portcullis_identity_key_set_age_seconds";
/// When a certificate of ours ends, in seconds since the epoch.
pub const CERTIFICATE_EXPIRY: &str = "portcullis_identity_certificate_expiry_timestamp_seconds";

/// The metrics of `identity`.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) tokens: IntCounterVec,
    pub(crate) certificates: IntCounterVec,
    pub(crate) signature_checks: IntCounterVec,
    pub(crate) key_fetches: IntCounterVec,
    pub(crate) key_age: GaugeVec,
    pub(crate) certificate_expiry: IntGaugeVec,
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
            key_age: GaugeVec::new(
                Opts::new(KEY_AGE, "Seconds since the last good fetch."),
                &["issuer"],
            )
            .expect("a valid metric name"),
            certificate_expiry: IntGaugeVec::new(
                Opts::new(CERTIFICATE_EXPIRY, "When a certificate of ours ends."),
                &["certificate"],
            )
            .expect("a valid metric name"),
        }
    }

    /// Makes the metrics visible.
    ///
    /// # Errors
    /// When they are registered there already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.tokens.clone()))?;
        registry.register(Box::new(self.certificates.clone()))?;
        registry.register(Box::new(self.signature_checks.clone()))?;
        registry.register(Box::new(self.key_fetches.clone()))?;
        registry.register(Box::new(self.key_age.clone()))?;
        registry.register(Box::new(self.certificate_expiry.clone()))
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
    fn metrics_register_once() {
        let registry = Registry::new();
        let metrics = Metrics::new();

        assert!(metrics.register(&registry).is_ok());
        assert!(metrics.register(&registry).is_err());
    }
}
