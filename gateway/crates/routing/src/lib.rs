//! Where a request goes: routes, pools, health, steering.
//!
//! The room answers three questions. Which route is this ([`route_table`])? Which endpoint of the route's pool gets
//! it now, in which allowed region ([`pool`], fed by [`health`], [`steering`] and [`residency`])? And when that
//! attempt failed: may there be another one ([`attempt`])?
//!
//! It never does I/O, never reads a clock and never rolls dice: DNS answers, probe results, the time and the roll
//! are arguments. What must outlive a reload stands in the [`compile::Boards`]; what is configured stands in the
//! [`compile::RoutingRuntime`]. Start reading at [`plan`], then [`compile`].

pub mod attempt;
pub mod balance;
pub mod compile;
pub mod health;
pub mod metrics;
pub mod plan;
pub mod pool;
pub mod residency;
pub mod route_table;
pub mod steering;

pub use attempt::{
    Attempt, AttemptRequest, Failure, Next, Outcome, Reach, RetryBudgets, TransportKind, next_attempt,
};
pub use compile::{Boards, RoutingRuntime, compile};
pub use health::{EndpointState, HealthBoard};
pub use pool::{AddressBoard, CandidateReason, Permit, Pool, ProbeTarget, SelectQuery, Selection};
pub use residency::{AllowedRegions, Residency};
pub use route_table::{NoRoute, RouteMatch, RouteTable};

#[cfg(test)]
mod fixture;
