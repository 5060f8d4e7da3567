//! The traffic's door: the only crate that names Pingora.
//!
//! Bytes come in through [`listener`], which owns the connection; requests walk through [`journey`], which asks the
//! hall and nobody else; they leave through [`upstream`], which verifies whom it talks to. Pingora stands between
//! the three and moves bytes: it decides nothing, answers nothing by itself, and keeps no connection of ours.
//!
//! Start reading at [`run`], then `listener::h1`, `journey`, `upstream::connector`.

mod edge;
mod http10;
mod journey;
mod link;
#[expect(dead_code, reason = "the parts of the new engine are joined last")]
mod message;
mod listener;
pub mod metrics;
pub mod probe;
mod respond;
pub mod run;
mod upstream;
mod view;
mod wire;

pub use probe::{Probe, ProbeFault, probe};
pub use run::{BoundListener, Proxy, ProxyFault};
