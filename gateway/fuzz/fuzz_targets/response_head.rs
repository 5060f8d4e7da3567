//! An endpoint's bytes, whatever was asked: a head is alike in any pieces, and `httparse` reads what the guard
//! accepts as the guard does.

#![no_main]

#[path = "../../crates/framing/tests/framing/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;
use portcullis_framing::Asked;

fuzz_target!(|bytes: &[u8]| {
    for asked in [Asked::Head, Asked::Upgrade, Asked::Other] {
        if let Ok(Some(head)) = laws::response_head(bytes, asked) {
            let rest = &bytes[head.end..];
            let whole = laws::read_body(rest, head.body, rest.len());
            assert_eq!(whole, laws::read_body(rest, head.body, 1));
        }
    }
});
