//! Revocation lists: read, kept, fetched, and looked up for every certificate of a chain.

mod arrival;
mod board;
mod der;
mod fault;
mod fetching;
mod list;
mod metrics;
mod points;
mod revocation;
mod slot;

#[cfg(test)]
pub(crate) mod samples;

pub use board::{CrlBoard, CrlFetch, CrlStatus, NamedBy};
pub use fault::CrlFault;
pub(crate) use list::{MAX_LISTS, RevocationList};
pub(crate) use metrics::CrlMetrics;
pub(crate) use revocation::{Cleared, Revocation, RevocationFault, RevocationParts};
