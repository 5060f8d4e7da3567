//! A connection from the client's side: over an in-memory pipe, by h2's own client or frame by frame.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it stands"
)]

mod answers;
mod attacks;
mod endings;
mod house;
mod raw;
mod requests;
