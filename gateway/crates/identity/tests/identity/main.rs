//! The room from outside: attacks by class, laws over any bytes, and the fuzz targets' seeds.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod attacks;
mod certificates;
mod chains;
mod house;
mod key_sets;
mod laws;
mod revocation_lists;
mod seeds;
