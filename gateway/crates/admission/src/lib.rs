//! May this request in: contracts (what may be asked), limits (how much), policies (whether this principal may).
//!
//! A plan becomes an [`AdmissionRuntime`](compile::AdmissionRuntime) once per configuration; the runtime holds no
//! counters. What counts lives in the [`LimitTable`](limit::LimitTable), a board that outlives reloads. Nothing here
//! reads a clock, a file or a socket, and nothing here knows where a request goes.
//!
//! Start with [`plan`] (what the room is told), then [`contract`], [`limit`] and [`policy`], one per guard.

pub mod compile;
pub mod contract;
pub mod limit;
pub mod metrics;
pub mod observed;
pub mod plan;
pub mod policy;

pub use compile::{AdmissionRuntime, compile};
pub use observed::Observed;
