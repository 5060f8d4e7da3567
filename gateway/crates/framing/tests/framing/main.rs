//! The framing guard from outside: attacks by class, laws over any bytes, and other parsers as oracles.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod attacks;
mod laws;
mod request;
mod response;
mod body;
mod trailers;
mod seeds;
mod random;
mod pingora;
mod websocket;
