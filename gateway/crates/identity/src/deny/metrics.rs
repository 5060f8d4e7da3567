//! What is counted about the deny list.

use std::time::SystemTime;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::index::Held;
use super::name::DenyKind;

/// Entries that deny, by kind and source (`file`, `admin`).
pub const DENY_ENTRIES: &str = "portcullis_identity_deny_entries";
/// Credentials that were refused by an entry, by its kind.
pub const DENY_HITS: &str = "portcullis_identity_deny_hits_total";
/// Readings of the file by outcome: `published`, `failed`.
pub const DENY_LOADS: &str = "portcullis_identity_deny_loads_total";
/// When the file was last read well, in seconds since the epoch.
pub const DENY_LOADED: &str = "portcullis_identity_deny_loaded_timestamp_seconds";
/// Readings of the file that left less than half of its entries.
pub const DENY_SHRUNK: &str = "portcullis_identity_deny_shrunk_total";
/// 1 while the file on disk cannot be used and the last good list holds.
pub const DENY_LOAD_FAILED: &str = "portcullis_identity_deny_load_failed";

/// The metrics of the deny list; labels come from closed sets.
#[derive(Debug)]
pub struct DenyMetrics {
    pub(super) entries: IntGaugeVec,
    pub(super) hits: IntCounterVec,
    loads: IntCounterVec,
    loaded: IntGauge,
    shrunk: IntCounter,
    load_failed: IntGauge,
}

impl DenyMetrics {
    /// Metrics at zero, not registered anywhere.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "names and labels are constants above, valid as the test below shows"
    )]
    pub fn new() -> Self {
        let metrics = Self {
            entries: IntGaugeVec::new(
                Opts::new(DENY_ENTRIES, "Entries of the deny list that have not ended."),
                &["kind", "source"],
            )
            .expect("a valid metric name"),
            hits: IntCounterVec::new(
                Opts::new(DENY_HITS, "Credentials refused by the deny list."),
                &["kind"],
            )
            .expect("a valid metric name"),
            loads: IntCounterVec::new(
                Opts::new(DENY_LOADS, "Readings of the deny list's file by outcome."),
                &["outcome"],
            )
            .expect("a valid metric name"),
            loaded: IntGauge::new(DENY_LOADED, "When the deny list's file was last read well.")
                .expect("a valid metric name"),
            shrunk: IntCounter::new(
                DENY_SHRUNK,
                "Readings of the deny list's file that left less than half of its entries.",
            )
            .expect("a valid metric name"),
            load_failed: IntGauge::new(
                DENY_LOAD_FAILED,
                "1 while the deny list's file cannot be used and the last good list holds.",
            )
            .expect("a valid metric name"),
        };
        // A series that appears with its first hit cannot be alerted on.
        for kind in DenyKind::ALL {
            metrics.hits.with_label_values(&[kind.as_str()]);
        }
        for outcome in ["published", "failed"] {
            metrics.loads.with_label_values(&[outcome]);
        }
        metrics
    }

    /// Makes the metrics visible.
    ///
    /// # Errors
    /// When they are registered there already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.entries.clone()))?;
        registry.register(Box::new(self.hits.clone()))?;
        registry.register(Box::new(self.loads.clone()))?;
        registry.register(Box::new(self.loaded.clone()))?;
        registry.register(Box::new(self.shrunk.clone()))?;
        registry.register(Box::new(self.load_failed.clone()))
    }

    /// The file was read well at this moment, and what stands in it holds.
    pub fn loaded(&self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.loaded
            .set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        self.loads.with_label_values(&["published"]).inc();
        self.load_failed.set(0);
    }

    /// The file has less than half of the entries that it had.
    pub fn shrunk(&self) {
        self.shrunk.inc();
    }

    /// The file on disk cannot be used, and what was read before holds.
    pub fn load_failed(&self) {
        self.loads.with_label_values(&["failed"]).inc();
        self.load_failed.set(1);
    }

    /// No file is configured, so none can be wrong.
    pub fn without_file(&self) {
        self.load_failed.set(0);
    }

    /// True while the file on disk cannot be used.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.load_failed.get() != 0
    }

    /// Shows how many entries of a source deny now.
    pub(super) fn show(&self, source: &str, held: &Held) {
        for kind in DenyKind::ALL {
            let count = i64::try_from(held.of(kind)).unwrap_or(i64::MAX);
            self.entries
                .with_label_values(&[kind.as_str(), source])
                .set(count);
        }
    }
}

impl Default for DenyMetrics {
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
        let metrics = DenyMetrics::new();

        assert!(metrics.register(&registry).is_ok());
        assert!(metrics.register(&registry).is_err());
    }
}
