//! What the rooms' ports are connected to: the network clients of the gateway itself.

pub mod dns;
pub mod egress;
pub mod http_fetch;
pub mod workload_api;
