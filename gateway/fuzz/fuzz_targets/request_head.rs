//! A client's bytes: a head is alike in any pieces, and `httparse` reads what the guard accepts as the guard does.
//! Whatever follows an accepted head is its body.

#![no_main]

#[path = "../../crates/framing/tests/framing/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(head)) = laws::request_head(bytes) {
        let rest = &bytes[head.end..];
        let whole = laws::read_body(rest, head.body, rest.len());
        assert_eq!(whole, laws::read_body(rest, head.body, 1));
    }
});
