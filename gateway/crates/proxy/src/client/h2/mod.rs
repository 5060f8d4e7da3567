//! HTTP/2 towards clients: one task per connection, in which every request is a future.
//!
//! [`wire`] is the socket as the engine (h2) sees it, with the frame [`meter`] in it; [`streams`] is the loop;
//! [`stream`] is one request in the words of the client's half. Start reading at `connection`.

mod allowances;
mod budget;
mod cause;
pub(crate) mod connection;
mod deadlines;
mod fragment;
mod frames;
mod meter;
pub(crate) mod notices;
mod settings;
mod fields;
pub(crate) mod stream;
mod streams;
mod waiting;
mod wake;
mod windows;
mod wire;

pub(crate) use connection::{Requests, serve};
pub(crate) use stream::H2Client;

#[cfg(test)]
mod tests;
