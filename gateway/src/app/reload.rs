//! What became of the last reload: for the log, the metrics and the admin port.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use portcullis_config::problems_to_json;
use portcullis_model::Problems;
use portcullis_telemetry::timestamp::rfc3339;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use serde_json::{Value, json};
use tracing::{debug, error, info, warn};

const RELOADS: &str = "portcullis_config_reloads_total";
const FAILED: &str = "portcullis_config_reload_failed";
const REVISION: &str = "portcullis_config_revision_info";

/// The outcome words; also labels.
const UNCHANGED: &str = "unchanged";
const PUBLISHED: &str = "published";
const KEPT: &str = "kept";

/// Remembers and counts.
pub struct ReloadStatus {
    last: Mutex<Last>,
    reloads: IntCounterVec,
    failed: IntGauge,
    revision: IntGaugeVec,
}

struct Last {
    at: SystemTime,
    outcome: &'static str,
    problems: Problems,
}

impl ReloadStatus {
    /// A status that says that the first configuration was published.
    ///
    /// # Errors
    /// Fails when the metrics are registered already.
    pub(crate) fn new(
        registry: &Registry,
        revision: &str,
        warnings: Problems,
    ) -> Result<Self, prometheus::Error> {
        let status = Self {
            last: Mutex::new(Last {
                at: SystemTime::now(),
                outcome: PUBLISHED,
                problems: warnings,
            }),
            reloads: IntCounterVec::new(Opts::new(RELOADS, "Reloads by outcome"), &["outcome"])?,
            failed: IntGauge::new(
                FAILED,
                "1 while the files on disk have problems and the previous configuration serves",
            )?,
            revision: IntGaugeVec::new(Opts::new(REVISION, "The revision that serves"), &["revision"])?,
        };
        registry.register(Box::new(status.reloads.clone()))?;
        registry.register(Box::new(status.failed.clone()))?;
        registry.register(Box::new(status.revision.clone()))?;
        status.revision.with_label_values(&[revision]).set(1);
        Ok(status)
    }

    /// The files mean what they meant before. The outcome in a word, as from the others.
    pub(crate) fn unchanged(&self) -> &'static str {
        self.reloads.with_label_values(&[UNCHANGED]).inc();
        let was_failing = self.failed.get() == 1;
        self.failed.set(0);
        if was_failing {
            // Somebody took a bad edit back.
            self.remember(UNCHANGED, Problems::new());
            info!("configuration is sound again, as it was before");
        }
        // A log beside the configuration must not wake the watcher that wrote to it.
        debug!("configuration looked at again, nothing changed");
        UNCHANGED
    }

    /// A new configuration serves.
    pub(crate) fn published(&self, revision: &str, warnings: Problems) -> &'static str {
        self.reloads.with_label_values(&[PUBLISHED]).inc();
        self.failed.set(0);
        self.revision.reset();
        self.revision.with_label_values(&[revision]).set(1);
        warn_all(&warnings);
        self.remember(PUBLISHED, warnings);
        info!(revision, "configuration published");
        PUBLISHED
    }

    /// The previous configuration goes on serving. Each problem is said once, however often the same files are read.
    pub(crate) fn kept(&self, problems: Problems) -> &'static str {
        self.reloads.with_label_values(&[KEPT]).inc();
        self.failed.set(1);
        let is_news = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.outcome != KEPT || last.problems != problems
        };
        if is_news {
            for problem in &problems {
                error!(code = problem.code, "{problem}");
            }
            error!("configuration refused, the previous one goes on serving");
        }
        self.remember(KEPT, problems);
        KEPT
    }

    /// For the admin port.
    #[must_use]
    pub fn view(&self, revision: &str) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "revision": revision,
            "last_reload": {
                "at": rfc3339(last.at).to_string(),
                "outcome": last.outcome,
                "problems": problems_to_json(&last.problems).get("problems").cloned().unwrap_or_default(),
            },
        })
    }

    fn remember(&self, outcome: &'static str, problems: Problems) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last {
            at: SystemTime::now(),
            outcome,
            problems,
        };
    }
}

/// Each warning once.
pub(crate) fn warn_all(warnings: &Problems) {
    for warning in warnings {
        warn!(code = warning.code, "{warning}");
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Origin, Problem};

    use super::*;

    fn status() -> (Registry, ReloadStatus) {
        let registry = Registry::new();
        let status = ReloadStatus::new(&registry, "one", Problems::new()).unwrap();
        (registry, status)
    }

    #[test]
    fn a_refused_reload_raises_the_gauge_until_a_good_one() {
        let (_registry, status) = status();

        status.kept(Problem::error("unknown-key", &Origin::of("routes"), "unknown key").into());
        assert_eq!(status.failed.get(), 1);
        assert_eq!(status.view("one")["last_reload"]["outcome"], "kept");

        status.published("two", Problems::new());
        assert_eq!(status.failed.get(), 0);
        assert_eq!(status.view("two")["last_reload"]["outcome"], "published");
    }

    #[test]
    fn taking_a_bad_edit_back_clears_its_problems() {
        let (_registry, status) = status();
        status.kept(Problem::error("unknown-key", &Origin::of("routes"), "unknown key").into());

        status.unchanged();

        assert_eq!(status.failed.get(), 0);
        assert_eq!(status.view("one")["last_reload"]["problems"], json!([]));
    }

    #[test]
    fn only_the_serving_revision_is_shown() {
        let (registry, status) = status();

        status.published("two", Problems::new());

        let text = String::from_utf8(portcullis_telemetry::export::text(&registry).unwrap()).unwrap();
        assert!(
            text.contains("revision=\"two\"") && !text.contains("revision=\"one\""),
            "{text}"
        );
    }
}
