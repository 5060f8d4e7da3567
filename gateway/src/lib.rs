//! The composition root: the only code that knows every room.
//!
//! [`App`] builds the rooms, opens the doors, runs and drains; tests and benches use it in their own process. The
//! binary adds [`cli`] (what can be asked) and [`commands`] (what is then done). [`adapters`] are the network
//! clients behind the rooms' ports, [`admin`] is the port for operators.

pub mod adapters;
pub mod admin;
pub mod app;
pub mod cli;
pub mod commands;
pub mod configuration;
pub mod output;
pub mod version;

pub use app::{App, AppFault, AppOptions};
