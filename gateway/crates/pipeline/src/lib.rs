//! The order of a request.
pub mod plan;
