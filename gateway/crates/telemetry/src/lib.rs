//! Windows: the gateway's own log, its metrics as text, and the access log.
//!
//! This room shows what others decided. It never decides, never waits for a slow reader (a full queue drops and
//! counts), and never writes a token, a cookie, a key or a body. [`log`] is set up once by the binary;
//! [`access_log`] is the sink of every request's record, [`metrics`] counts the same records, [`Telemetry`] is both,
//! and [`export`] is what the admin port hands to Prometheus.

pub mod access_log;
pub mod export;
mod json_line;
pub mod line_writer;
pub mod log;
pub mod metrics;
pub mod names;

#[cfg(test)]
mod fixture;

pub use portcullis_model::timestamp;
use portcullis_pipeline::record::{DecisionRecord, RecordSink};

pub use access_log::AccessLog;
pub use line_writer::{LineDestination, LineFault};
pub use metrics::RequestMetrics;

/// Every view of a record: counted, then logged.
pub struct Telemetry {
    /// The counters.
    pub metrics: RequestMetrics,
    /// The lines.
    pub access_log: AccessLog,
}

impl RecordSink for Telemetry {
    fn record(&self, record: &DecisionRecord) {
        self.metrics.record(record);
        self.access_log.record(record);
    }
}
