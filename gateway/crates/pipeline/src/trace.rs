//! W3C Trace Context (level 1): a trace the client started is kept, otherwise one is started.

use http::HeaderMap;

/// The field.
pub const TRACEPARENT: &str = "traceparent";

/// Where this request stands in a trace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceContext {
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// Our own span.
    pub span_id: String,
    /// The flags as received; `00` when we started the trace.
    pub flags: String,
    /// True when the client's trace was kept.
    pub is_continued: bool,
}

impl TraceContext {
    /// Starts a trace from random numbers.
    #[must_use]
    pub fn start(high: u64, low: u64, span: u64) -> Self {
        // An all-zero id is invalid; the low bit costs nothing.
        Self {
            trace_id: format!("{high:016x}{:016x}", low | 1),
            span_id: format!("{:016x}", span | 1),
            flags: "00".to_owned(),
            is_continued: false,
        }
    }

    /// Continues the trace of a request when its `traceparent` is valid.
    pub fn continue_from(&mut self, headers: &HeaderMap) {
        let Some((trace_id, flags)) = headers.get(TRACEPARENT).and_then(|value| parse(value.as_bytes()))
        else {
            return;
        };
        self.trace_id = trace_id;
        self.flags = flags;
        self.is_continued = true;
    }

    /// The value for the endpoint: same trace, our span as parent.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags)
    }
}

fn parse(value: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let is_valid = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(span, 16)
        && !is_zero(span)
        && is_hex(flags, 2);
    is_valid.then(|| (trace.to_owned(), flags.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
            "garbage",
        ] {
            assert!(!continued(value).is_continued, "{value}");
        }
    }
}
