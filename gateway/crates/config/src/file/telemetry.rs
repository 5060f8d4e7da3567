//! `telemetry`: what is written about requests.

use super::section::{section, words};

section! {
    /// What is written about requests.
    struct Telemetry {
        /// One line for each request.
        optional access_log: AccessLog,
    }
    later { "audit_log", "traces", "metrics" }
}

section! {
    /// The access log.
    struct AccessLog {
        /// `stdout` (the default), `stderr`, `none` or the path of a file.
        optional to: String,
        /// `json`.
        optional format: LogFormat,
    }
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogFormat {
    Json,
}

words! { LogFormat { "json" => Self::Json } later { "text" } }
