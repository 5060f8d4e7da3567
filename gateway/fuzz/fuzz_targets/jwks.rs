//! A key set from an issuer, or from somebody in its place: only public keys for signatures are used, and no set lets
//! an unsigned token in.

#![no_main]

#[path = "../../crates/identity/tests/identity/house.rs"]
#[allow(dead_code, reason = "each target asks some of it")]
mod house;
#[path = "../../crates/identity/tests/identity/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = laws::key_set(bytes);
});
