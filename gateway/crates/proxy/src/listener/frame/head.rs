//! The head: found without reading past it, then checked line by line.

use portcullis_model::Reason;

use super::{BodyFraming, FrameFault, is_token_byte};

/// Bounds on a head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// Its size with the blank line.
    pub(crate) max_bytes: usize,
    /// Its fields.
    pub(crate) max_fields: usize,
}

/// What the connection loop needs to know of a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HeadFacts {
    /// Where the request line starts: one empty line before it is skipped (RFC 9112 section 2.2).
    pub(crate) start: usize,
    /// Where the body starts.
    pub(crate) end: usize,
    /// How the body is delimited.
    pub(crate) body: BodyFraming,
}

/// Finds the end of a head while it arrives; every byte is looked at once.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    seen: usize,
    start: usize,
    line: usize,
    lines: usize,
}

/// A method longer than this is not one.
const MAX_METHOD: usize = 32;

impl HeadScanner {
    /// Looks at what arrived; `None` while the blank line is missing.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<HeadFacts>, FrameFault> {
        while let Some(&byte) = bytes.get(self.seen) {
            let previous = self
                .seen
                .checked_sub(1)
                .and_then(|index| bytes.get(index))
                .copied();
            let after_cr = previous == Some(b'\r') && self.seen > self.line;
            match byte {
                b'\n' if !after_cr => return Err(FrameFault::malformed("bare line feed")),
                _ if after_cr && byte != b'\n' => return Err(FrameFault::malformed("bare carriage return")),
                0..=8 | 11 | 12 | 14..=31 | 127 => return Err(FrameFault::malformed("control byte")),
                _ => {}
            }
            self.seen += 1;
            if byte == b'\n' && self.end_line(limits)? {
                return check(bytes, self.start, self.seen).map(Some);
            }
            if self.seen - self.start > limits.max_bytes {
                return Err(FrameFault::new(Reason::HeadTooLarge, "head too large"));
            }
        }
        Ok(None)
    }

    /// True when the line that ended here was the blank one.
    fn end_line(&mut self, limits: &HeadLimits) -> Result<bool, FrameFault> {
        let is_blank = self.seen - self.line == 2;
        self.line = self.seen;
        if is_blank && self.lines == 0 {
            if self.start > 0 {
                return Err(FrameFault::malformed("empty lines before the request line"));
            }
            self.start = self.seen;
            return Ok(false);
        }
        self.lines += 1;
        if self.lines > limits.max_fields.saturating_add(1) && !is_blank {
            return Err(FrameFault::new(Reason::HeadTooLarge, "too many fields"));
        }
        Ok(is_blank)
    }
}

/// Checks a whole head: `bytes[start..end]` ends with the blank line.
fn check(bytes: &[u8], start: usize, end: usize) -> Result<HeadFacts, FrameFault> {
    let head = bytes.get(start..end.saturating_sub(4)).unwrap_or_default();
    let mut lines = Lines { rest: Some(head) };
    let line = RequestLine::parse(lines.next().unwrap_or_default())?;
    let mut fields = FramingFields::default();
    for field in lines {
        fields.read(field)?;
    }
    fields.check_host(&line)?;
    Ok(HeadFacts {
        start,
        end,
        body: fields.body(&line)?,
    })
}

/// The lines of a head, without their ends.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match rest.windows(2).position(|pair| pair == b"\r\n") {
            Some(index) => {
                self.rest = rest.get(index + 2..);
                rest.get(..index)
            }
            None => self.rest.take(),
        }
    }
}

struct RequestLine<'a> {
    target: &'a [u8],
    is_version_10: bool,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, FrameFault> {
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FrameFault::malformed("request line"));
        };
        if method.is_empty() || method.len() > MAX_METHOD || !method.iter().copied().all(is_token_byte) {
            return Err(FrameFault::malformed("method"));
        }
        let is_version_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(FrameFault::new(Reason::VersionUnsupported, "HTTP version"));
            }
            _ => return Err(FrameFault::malformed("HTTP version")),
        };
        if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(FrameFault::malformed("request target"));
        }
        if target.contains(&b'#') {
            // Parsers behind this guard would drop it without a word.
            return Err(FrameFault::new(Reason::PathFragment, "fragment"));
        }
        if method == b"CONNECT" {
            return Err(FrameFault::new(Reason::MethodUnsupported, "CONNECT"));
        }
        Ok(Self {
            target,
            is_version_10,
        })
    }

    /// The authority of an absolute-form target.
    fn authority(&self) -> Result<Option<&'a [u8]>, FrameFault> {
        if self.target.starts_with(b"/") || self.target == b"*" {
            return Ok(None);
        }
        let invalid = FrameFault::new(Reason::TargetInvalid, "request target form");
        let rest = strip_scheme(self.target).ok_or(invalid)?;
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        if authority.is_empty() || authority.contains(&b'@') {
            return Err(invalid);
        }
        Ok(Some(authority))
    }
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// The fields that decide where the message ends and whom it names.
#[derive(Default)]
struct FramingFields<'a> {
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
}

impl<'a> FramingFields<'a> {
    fn read(&mut self, line: &'a [u8]) -> Result<(), FrameFault> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(FrameFault::malformed("folded field"));
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or(FrameFault::malformed("field without a colon"))?;
        let (name, value) = line.split_at(colon);
        if name.is_empty() || !name.iter().copied().all(is_token_byte) {
            return Err(FrameFault::malformed("field name"));
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let slot = if name.eq_ignore_ascii_case(b"content-length") {
            &mut self.length
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            &mut self.coding
        } else if name.eq_ignore_ascii_case(b"host") {
            &mut self.host
        } else {
            return Ok(());
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) if name.eq_ignore_ascii_case(b"host") => {
                Err(FrameFault::new(Reason::HostAmbiguous, "repeated Host"))
            }
            Some(_) => Err(FrameFault::malformed("repeated framing field")),
        }
    }

    fn check_host(&self, line: &RequestLine<'_>) -> Result<(), FrameFault> {
        let authority = line.authority()?;
        let host = match (self.host, authority) {
            (None, None) => return Err(FrameFault::new(Reason::HostMissing, "no Host")),
            (None, Some(_)) if !line.is_version_10 => {
                return Err(FrameFault::new(Reason::HostMissing, "no Host"));
            }
            (None, Some(authority)) => authority,
            (Some(host), None) => host,
            (Some(host), Some(authority)) if host.eq_ignore_ascii_case(authority) => host,
            (Some(_), Some(_)) => {
                return Err(FrameFault::new(
                    Reason::HostAmbiguous,
                    "Host is not the target's authority",
                ));
            }
        };
        let is_host_byte = |byte: &u8| {
            byte.is_ascii_graphic()
                && !matches!(
                    byte,
                    b'/' | b'?' | b'#' | b'@' | b'\\' | b',' | b'"' | b'<' | b'>'
                )
        };
        if host.is_empty() {
            return Err(FrameFault::new(Reason::HostMissing, "empty Host"));
        }
        if !host.iter().all(is_host_byte) {
            return Err(FrameFault::new(Reason::HostInvalid, "Host"));
        }
        Ok(())
    }

    fn body(&self, line: &RequestLine<'_>) -> Result<BodyFraming, FrameFault> {
        match (self.length, self.coding) {
            (None, None) => Ok(BodyFraming::None),
            (Some(_), Some(_)) => Err(FrameFault::malformed("length and transfer coding")),
            (None, Some(_)) if line.is_version_10 => {
                Err(FrameFault::malformed("transfer coding in HTTP/1.0"))
            }
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(BodyFraming::Chunked),
            (None, Some(_)) => Err(FrameFault::malformed("transfer coding")),
            (Some(length), None) => parse_length(length).map(|length| match length {
                0 => BodyFraming::None,
                length => BodyFraming::Length(length),
            }),
        }
    }
}

fn parse_length(text: &[u8]) -> Result<u64, FrameFault> {
    // Eighteen digits stay below `u64::MAX` and above any body there will be.
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return Err(FrameFault::malformed("content length"));
    }
    Ok(text
        .iter()
        .fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        max_bytes: 1024,
        max_fields: 4,
    };

    fn scan(head: &str) -> Result<Option<HeadFacts>, FrameFault> {
        HeadScanner::default().scan(head.as_bytes(), &LIMITS)
    }

    fn reason(head: &str) -> Reason {
        scan(head).unwrap_err().reason
    }

    #[test]
    fn a_plain_head_has_no_body() {
        let head = "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\nnext";

        assert_eq!(
            scan(head).unwrap(),
            Some(HeadFacts {
                start: 0,
                end: head.len() - 4,
                body: BodyFraming::None
            })
        );
    }

    #[test]
    fn a_head_may_arrive_byte_by_byte() {
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n";
        let mut scanner = HeadScanner::default();

        let found: Vec<_> = (1..=head.len())
            .filter_map(|end| scanner.scan(&head[..end], &LIMITS).unwrap())
            .collect();

        assert_eq!(
            found,
            [HeadFacts {
                start: 0,
                end: head.len(),
                body: BodyFraming::Length(12)
            }]
        );
    }

    #[test]
    fn one_empty_line_before_the_request_line_is_skipped_and_a_second_is_not() {
        assert_eq!(
            scan("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap()
                .map(|facts| facts.start),
            Some(2)
        );
        assert_eq!(
            reason("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            Reason::FrameMalformed
        );
    }

    #[test]
    fn chunked_alone_is_taken_and_every_other_coding_refused() {
        let with = |fields: &str| scan(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n"));

        assert_eq!(
            with("Transfer-Encoding: Chunked")
                .unwrap()
                .map(|facts| facts.body),
            Some(BodyFraming::Chunked)
        );
        for fields in [
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: +3",
            "Content-Length: 3, 3",
            "Content-Length: ",
            "Content-Length: 9999999999999999999",
        ] {
            assert_eq!(
                with(fields).unwrap_err().reason,
                Reason::FrameMalformed,
                "{fields}"
            );
        }
    }

    #[test]
    fn a_transfer_coding_in_http_10_is_refused() {
        assert_eq!(
            reason("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Reason::FrameMalformed
        );
    }

    #[test]
    fn what_pingora_would_repair_is_refused() {
        for head in [
            "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /\u{e4} HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\rx: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nx: \0\r\n\r\n",
            "GET / FTP/1.1\r\nHost: h\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(reason(head), Reason::FrameMalformed, "{head:?}");
        }
    }

    #[test]
    fn other_versions_are_unsupported() {
        assert_eq!(reason("PRI * HTTP/2.0\r\n\r\n"), Reason::VersionUnsupported);
        assert_eq!(
            reason("GET / HTTP/1.2\r\nHost: h\r\n\r\n"),
            Reason::VersionUnsupported
        );
    }

    #[test]
    fn the_host_is_named_exactly_once() {
        assert_eq!(reason("GET / HTTP/1.1\r\n\r\n"), Reason::HostMissing);
        assert_eq!(reason("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Reason::HostMissing);
        assert_eq!(
            reason("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            Reason::HostAmbiguous
        );
        assert_eq!(
            reason("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            Reason::HostAmbiguous
        );
        assert_eq!(reason("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), Reason::HostInvalid);
        assert!(scan("GET http://A/ HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    }

    #[test]
    fn a_fragment_is_refused_before_a_parser_can_drop_it() {
        for target in ["/a#b", "/a?b#", "http://h/#"] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(reason(&head), Reason::PathFragment, "{target}");
        }
    }

    #[test]
    fn connect_is_refused() {
        assert_eq!(
            reason("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
            Reason::MethodUnsupported
        );
    }

    #[test]
    fn size_and_fields_are_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(2000));
        let four = "GET / HTTP/1.1\r\nHost: h\r\na: 1\r\nb: 2\r\nc: 3\r\n";

        assert_eq!(reason(&long), Reason::HeadTooLarge);
        assert!(scan(&format!("{four}\r\n")).unwrap().is_some());
        assert_eq!(reason(&format!("{four}d: 4\r\n\r\n")), Reason::HeadTooLarge);
    }

    proptest! {
        /// Whatever arrives, in whatever pieces, the verdict is the same as for the whole.
        #[test]
        fn pieces_do_not_change_the_verdict(bytes in proptest::collection::vec(prop::sample::select(b"GET /:h1.\r\n \tHOSTP\0".to_vec()), 0..200), cut in 0usize..200) {
            let cut = cut.min(bytes.len());
            let mut scanner = HeadScanner::default();
            let first = scanner.scan(&bytes[..cut], &LIMITS);
            let whole = HeadScanner::default().scan(&bytes, &LIMITS);

            let pieces = match first {
                Ok(None) => scanner.scan(&bytes, &LIMITS),
                decided => decided,
            };

            prop_assert_eq!(pieces, whole);
        }
    }
}
