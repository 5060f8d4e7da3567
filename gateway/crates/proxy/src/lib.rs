//! The traffic's door: the only crate that names Pingora.
//!
//! Pingora owns the listening sockets and accepts; a connection then belongs to [`listener`], which terminates TLS, and
//! to one of the loops in [`client`]. A request walks through [`exchange`], which asks the hall and nobody else, and
//! leaves through [`endpoint`], which verifies whom it talks to; [`relay`] moves the bytes between the two halves.
//!
//! Start reading at [`run`], then `listener`, `client::h1`, `exchange`, `relay`, `endpoint::mesh`.

mod body;
mod client;
mod connection;
mod deadline;
mod endpoint;
mod exchange;
mod lease;
mod listener;
mod message;
pub mod metrics;
pub mod probe;
mod relay;
mod respond;
pub mod run;

pub use probe::{Probe, ProbeFault, probe};
pub use run::{BoundListener, Proxy, ProxyFault};

/// A lock whose data is whole at every moment: a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
