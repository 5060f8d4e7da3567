//! How our identity from the Workload API is doing, as numbers.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_model::SpiffeId;
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};

use super::workload_status::WorkloadStatus;

/// Whether the agent's stream is open: 1 or 0.
pub const WORKLOAD_CONNECTED: &str = "portcullis_identity_workload_api_connected";
/// Seconds since the agent delivered something.
pub const WORKLOAD_AGE: &str = "portcullis_identity_workload_api_delivery_age_seconds";
/// Seconds until our SVID ends; 0 once it is over.
pub const SVID_EXPIRES_IN: &str = "portcullis_identity_svid_expires_in_seconds";

/// The gauges of the Workload API; without one they show nothing.
#[derive(Debug)]
pub struct WorkloadMetrics {
    connected: IntGaugeVec,
    age: GaugeVec,
    expires_in: GaugeVec,
    /// Whose end is shown: a later delivery may name somebody else.
    shown: Mutex<Option<Arc<SpiffeId>>>,
}

impl WorkloadMetrics {
    /// Gauges that show nothing yet.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            connected: IntGaugeVec::new(
                Opts::new(WORKLOAD_CONNECTED, "Whether the Workload API's stream is open."),
                &["endpoint"],
            )?,
            age: GaugeVec::new(
                Opts::new(
                    WORKLOAD_AGE,
                    "Seconds since the Workload API delivered something.",
                ),
                &["endpoint"],
            )?,
            expires_in: GaugeVec::new(
                Opts::new(SVID_EXPIRES_IN, "Seconds until our SVID ends; 0 once it is over."),
                &["spiffe_id"],
            )?,
            shown: Mutex::default(),
        })
    }

    /// Makes the gauges visible.
    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.connected.clone()))?;
        registry.register(Box::new(self.age.clone()))?;
        registry.register(Box::new(self.expires_in.clone()))
    }

    /// Shows a status of the Workload API at `endpoint`.
    pub fn show(&self, endpoint: &str, status: &WorkloadStatus) {
        self.connected
            .with_label_values(&[endpoint])
            .set(i64::from(status.is_connected));
        if let Some(age) = status.heard {
            self.age.with_label_values(&[endpoint]).set(age.as_secs_f64());
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != status.spiffe_id {
            self.expires_in.reset();
            shown.clone_from(&status.spiffe_id);
        }
        if let Some(id) = &status.spiffe_id {
            self.expires_in
                .with_label_values(&[&id.to_string()])
                .set(status.expires_in.as_secs_f64());
        }
    }
}
