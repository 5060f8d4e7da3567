//! The names of this room's metrics, in one place.

/// Requests by route, stage, reason and status class.
pub const REQUESTS: &str = "portcullis_requests_total";
/// Seconds from a request's head to its end.
pub const DURATION: &str = "portcullis_request_duration_seconds";
/// Seconds to the endpoint's response head.
pub const FIRST_BYTE: &str = "portcullis_first_byte_seconds";
/// Request body bytes.
pub const BYTES_IN: &str = "portcullis_request_body_bytes_total";
/// Response body bytes.
pub const BYTES_OUT: &str = "portcullis_response_body_bytes_total";
/// Attempts at endpoints.
pub const ATTEMPTS: &str = "portcullis_upstream_attempts_total";
/// What guards in observe mode would have refused.
pub const OBSERVED: &str = "portcullis_observed_refusals_total";
/// How requests ended on the wire.
pub const ENDINGS: &str = "portcullis_request_endings_total";
/// What this binary is.
pub const BUILD_INFO: &str = "portcullis_build_info";
/// Access log lines lost.
pub const ACCESS_LOG_DROPPED: &str = "portcullis_access_log_dropped_total";
/// What the operating system says of this process, under the names that Prometheus gives it everywhere.
pub const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];
