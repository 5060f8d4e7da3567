//! Who may be sent to: probes and passive evidence, kept apart.
//!
//! [`machine::Machine`] is the pure state machine of one endpoint; [`HealthBoard`] keeps the machines of all
//! endpoints over reloads and enforces what holds for a pool as a whole.

mod board;
mod cell;
pub mod machine;
mod state;

pub use board::HealthBoard;
pub(crate) use cell::{Cell, PoolHealth};
pub use state::{Cause, EndpointState, Part, Rules, Urgency};
