//! Windows: the gateway's own log, its metrics as text, and the access log.
//!
//! This room shows what others decided. It never decides, never waits for a slow reader (a full queue drops and
//! counts), and never writes a token, a cookie, a key or a body. [`log`] is set up once by the binary;
//! [`access_log`] is the sink of every request's record, [`metrics`] counts the same records, and [`export`] is
//! what the admin port hands to Prometheus.

pub mod export;
pub mod line_writer;
pub mod log;
