//! May this request in: contracts, limits, policies.
pub mod plan;
