//! Where a request goes: routes, pools, health, steering.
pub mod plan;
