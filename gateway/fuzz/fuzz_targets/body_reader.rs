//! A chunked body: alike in any pieces, and another decoder finds the same content and the same end.

#![no_main]

#[path = "../../crates/framing/tests/framing/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = laws::chunked_body(bytes);
});
