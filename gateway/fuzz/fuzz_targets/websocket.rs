//! One direction of a WebSocket: alike in any pieces, and another reader ends its frames where the tracker does.

#![no_main]

#[path = "../../crates/framing/tests/framing/laws.rs"]
#[allow(dead_code, reason = "each target holds some of the laws")]
mod laws;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    laws::websocket(bytes);
});
