//! W3C Trace Context (level 1): a trace the client started is kept, otherwise one is started.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that names a trace.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What vendors add to a trace; it has no meaning without the trace that it came with.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A version-00 value: `00-`, the trace, `-`, the span, `-`, the flags.
const LEN: usize = 55;
const TRACE: std::ops::Range<usize> = 3..35;
const SPAN: std::ops::Range<usize> = 36..52;
const FLAGS: std::ops::Range<usize> = 53..55;

/// Where this request stands in a trace: the value that the endpoint will get, with our own span as parent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceContext {
    value: [u8; LEN],
    /// True when the client's trace was kept.
    pub is_continued: bool,
}

impl TraceContext {
    /// Starts a trace from random numbers; its flags say that nobody sampled it.
    #[must_use]
    pub fn start(high: u64, low: u64, span: u64) -> Self {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        // An all-zero id is invalid; the low bit costs nothing.
        let trace = (u128::from(high) << 64) | u128::from(low | 1);
        write_hex(value.get_mut(TRACE).unwrap_or_default(), trace);
        write_hex(value.get_mut(SPAN).unwrap_or_default(), u128::from(span | 1));
        Self {
            value,
            is_continued: false,
        }
    }

    /// Continues the trace of a request when its `traceparent` is valid.
    pub fn continue_from(&mut self, headers: &HeaderMap) {
        let Some(received) = headers.get(TRACEPARENT).map(HeaderValue::as_bytes) else {
            return;
        };
        if !is_valid(received) {
            return;
        }
        for part in [TRACE, FLAGS] {
            if let (Some(ours), Some(theirs)) = (self.value.get_mut(part.clone()), received.get(part)) {
                ours.copy_from_slice(theirs);
            }
        }
        self.is_continued = true;
    }

    /// The trace's id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.traceparent().get(TRACE).unwrap_or_default()
    }

    /// The value for the endpoint: same trace, our span as parent.
    #[must_use]
    pub fn traceparent(&self) -> &str {
        // Only digits and hyphens were ever written.
        std::str::from_utf8(&self.value).unwrap_or_default()
    }
}

/// Writes the low digits of a number, most significant first.
fn write_hex(digits: &mut [u8], mut number: u128) {
    for digit in digits.iter_mut().rev() {
        *digit = match (number & 15) as u8 {
            low @ 0..=9 => b'0' + low,
            low => b'a' + low - 10,
        };
        number >>= 4;
    }
}

/// Whether a value can be continued: what it holds stands where version 00 has it, and a later version may only
/// add more after a further hyphen (section 4 of the recommendation).
fn is_valid(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
    };
    let is_id = |part: std::ops::Range<usize>| {
        value
            .get(part)
            .is_some_and(|id| is_hex(id) && id.iter().any(|byte| *byte != b'0'))
    };
    let is_hyphen = |at: usize| value.get(at) == Some(&b'-');
    let is_whole = match value.get(..2) {
        Some(b"00") => value.len() == LEN,
        Some(b"ff") | None => false,
        Some(version) => is_hex(version) && (value.len() == LEN || is_hyphen(LEN)),
    };
    is_whole
        && is_hyphen(2)
        && is_id(TRACE)
        && is_hyphen(35)
        && is_id(SPAN)
        && is_hyphen(52)
        && value.get(FLAGS).is_some_and(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continued(value: &str) -> TraceContext {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        let mut trace = TraceContext::start(1, 2, 3);
        trace.continue_from(&headers);
        trace
    }

    #[test]
    fn a_valid_trace_is_kept_with_our_span_as_parent() {
        let trace = continued("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

        assert_eq!(
            trace.traceparent(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000003-01"
        );
    }

    #[test]
    fn an_invalid_trace_is_replaced() {
        for value in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7-01--",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            "0",
            "",
            "garbage",
        ] {
            assert!(!continued(value).is_continued, "{value}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let trace = continued("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more");

        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(
            trace.traceparent().starts_with("00-"),
            "what we send is our version"
        );
    }

    #[test]
    fn a_trace_of_our_own_is_never_all_zero() {
        let trace = TraceContext::start(0, 0, 0);

        assert_eq!(
            trace.traceparent(),
            "00-00000000000000000000000000000001-0000000000000001-00"
        );
        assert_eq!(
            TraceContext::start(0xfedc_ba98_7654_3210, 0x0123_4567_89ab_cdef, 1).trace_id(),
            "fedcba98765432100123456789abcdef"
        );
    }
}
