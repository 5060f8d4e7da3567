//! What it costs to know who is asking: tokens by algorithm, cold and remembered, alone and in the pipeline; deny lists;
//! mTLS handshakes beside those of rustls alone; and revocation lists. Results with the machine: `benches/README.md`.
//!
//! Run: `cargo bench --bench identity`, or one part of it: `cargo bench --bench identity handshakes`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    reason = "a bench may stop at the first surprise, and its tables are its output"
)]

mod assertions;
mod deny;
mod handshakes;
mod house;
mod pki;
mod revocation;
mod timing;
mod tokens;

fn main() {
    let parts: [(&str, fn()); 5] = [
        ("tokens", tokens::table),
        ("deny", deny::table),
        ("assertions", assertions::table),
        ("handshakes", handshakes::table),
        ("revocation", revocation::table),
    ];
    let only = std::env::args().nth(1).filter(|text| !text.starts_with("--"));
    for (name, table) in parts {
        if only.as_deref().is_none_or(|only| only == name) {
            table();
        }
    }
}
