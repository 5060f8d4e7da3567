//! The end-to-end tests: the real binary, real sockets, real TLS. One binary, so that Pingora is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise, and has no outside"
)]

mod support;

mod attacks;
mod bodies;
mod deadlines;
mod denials;
mod endpoints;
mod floods;
mod forward_identity;
mod frames;
mod guards;
mod leases;
mod operations;
mod protocols;
mod refusals;
mod requests;
mod revocation;
mod tls;
mod tokens;
mod trailers;
