//! A chain from the network: reading it never panics, and an identity it proves is a valid SPIFFE ID that stands in the
//! certificate and reads back as itself.

#![no_main]

#[path = "../../crates/identity/tests/identity/house.rs"]
#[allow(dead_code, reason = "each target asks some of it")]
mod house;
#[path = "../../crates/identity/tests/identity/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = laws::chain(bytes);
});
