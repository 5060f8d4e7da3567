//! A revocation list from a file or an address: what is used is a list to another reader too, of as many certificates.

#![no_main]

#[path = "../../crates/identity/tests/identity/house.rs"]
#[allow(dead_code, reason = "each target asks some of it")]
mod house;
#[path = "../../crates/identity/tests/identity/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = laws::revocation_list(bytes);
});
