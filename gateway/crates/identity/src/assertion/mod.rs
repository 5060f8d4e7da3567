//! What endpoints are told of a principal: a short-lived statement signed by this gateway, and the client's
//! certificate in one documented form.
//!
//! An endpoint that believes a bare field believes whoever can reach its port; one that verifies the statement
//! believes this gateway alone. Start with [`Forwarding`] (what a pool's endpoints are told), then `signer` (the
//! statement and how long it is remembered), `key` (keys and their names) and `board` (keys that outlive a reload).

mod board;
mod claims;
mod forwarding;
mod key;
mod signer;

pub use board::{AssertionBoard, KEY_SET_MAX_AGE, KEY_SET_MEDIA_TYPE};
pub(crate) use forwarding::OwnName;
pub use forwarding::{CLIENT_CERTIFICATE, Forwarding, IDENTITY, is_written_by_us};
pub use key::KeyRefusal;
pub(crate) use key::SigningKey;
pub(crate) use signer::{Keys, Signer};

#[cfg(test)]
mod tests;
