//! A bearer token from the network: nobody without the key is authenticated, and what the issuer signed means to another
//! reader what it means to us.

#![no_main]

#[path = "../../crates/identity/tests/identity/house.rs"]
#[allow(dead_code, reason = "each target asks some of it")]
mod house;
#[path = "../../crates/identity/tests/identity/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = laws::token(bytes);
});
