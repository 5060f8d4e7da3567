//! How the gateway is run: reloads, regions, drains, many connections, identities from SPIRE, what can be seen of it,
//! and its command line.

mod load;

mod caps;
pub mod commands;
mod descriptors;
mod drain;
mod identity_commands;
mod idle;
mod observability;
mod regions;
mod reload;
mod spire;
