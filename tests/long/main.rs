//! The longer suite: crowds of slow and idle clients, and the tools that others test with. Each test runs alone.

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

#[path = "../e2e/support/mod.rs"]
mod support;

mod conformance;
mod crowd;
mod crowds;
mod leases;
mod slowhttptest;
