//! Windows: logs, metrics, the access log.
