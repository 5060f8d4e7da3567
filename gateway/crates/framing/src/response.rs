//! A response's head.

use std::mem;

use smallvec::SmallVec;

use crate::body::BodyFraming;
use crate::fault::Fault;
use crate::field::{Bounds, Delimiter, Fields};
use crate::line::Lines;
use crate::span::Field;

/// What was asked, as far as it changes what the answer's head means (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    /// `HEAD`: the answer has no body whatever it says.
    Head,
    /// An upgrade: 101 makes the connection a tunnel.
    Upgrade,
    /// Anything else.
    Other,
}

/// A whole head; every span is a part of the bytes that were scanned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResponseHead {
    /// Where the body starts, or the next head after an interim one.
    pub end: usize,
    /// From 100 to 599.
    pub status: u16,
    /// True for HTTP/1.0, false for HTTP/1.1; there is no other.
    pub is_http10: bool,
    /// The fields, in order.
    pub fields: SmallVec<[Field; 24]>,
    /// How the body is delimited.
    pub body: BodyFraming,
    /// True when the endpoint will take no further request on this connection.
    pub wants_close: bool,
    /// `Content-Length`, also where there is no body to be so long.
    pub said_length: Option<u64>,
}

/// Finds and checks a response's head while it arrives; every byte is looked at once.
///
/// It is given the same buffer again each time, with more bytes at its end. A head that was found leaves the scanner
/// as new: after an interim one the next is scanned with the same scanner and the rest of the bytes.
#[derive(Debug)]
pub struct ResponseScanner {
    asked: Asked,
    lines: Lines,
    line: Option<StatusLine>,
    fields: Fields,
}

#[derive(Clone, Copy, Debug)]
struct StatusLine {
    status: u16,
    is_http10: bool,
}

impl ResponseScanner {
    /// For the answer to what was asked.
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        Self {
            asked,
            lines: Lines::default(),
            line: None,
            fields: Fields::default(),
        }
    }

    /// Looks at what arrived; `None` while the blank line is missing.
    ///
    /// # Errors
    /// Returns the first fault in the order of the bytes; its reason is always the endpoint's protocol.
    pub fn scan(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<ResponseHead>, Fault> {
        self.advance(bytes, bounds).map_err(Fault::of_endpoint)
    }

    fn advance(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<ResponseHead>, Fault> {
        while let Some(line) = self.lines.next(bytes, bounds.max_bytes)? {
            match self.line {
                None => self.line = Some(StatusLine::parse(line.of(bytes))?),
                Some(status_line) if line.of(bytes).is_empty() => return self.finish(status_line),
                Some(_) => self.fields.take(bytes, line, bounds)?,
            }
        }
        Ok(None)
    }

    fn finish(&mut self, line: StatusLine) -> Result<Option<ResponseHead>, Fault> {
        let delimiter = self.fields.delimiter(line.is_http10)?;
        let body = line.body(delimiter, self.asked)?;
        let head = ResponseHead {
            end: self.lines.position(),
            status: line.status,
            is_http10: line.is_http10,
            body,
            wants_close: self.fields.wants_close(line.is_http10) || body == BodyFraming::UntilClose,
            said_length: match delimiter {
                Delimiter::Length(length) => Some(length),
                Delimiter::Silent | Delimiter::Chunked => None,
            },
            fields: mem::take(&mut self.fields.list),
        };
        *self = Self::new(self.asked);
        Ok(Some(head))
    }
}

impl StatusLine {
    fn parse(line: &[u8]) -> Result<Self, Fault> {
        let invalid = Fault::malformed("status line");
        let (version, rest) = line.split_at_checked(9).ok_or(invalid)?;
        let is_http10 = match version {
            b"HTTP/1.1 " => false,
            b"HTTP/1.0 " => true,
            _ => return Err(Fault::malformed("HTTP version")),
        };
        let [hundreds @ b'1'..=b'5', tens, ones, reason @ ..] = rest else {
            return Err(Fault::malformed("status"));
        };
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return Err(Fault::malformed("status"));
        }
        // The blank before an empty phrase is often left out; a fourth digit is no phrase.
        if !matches!(reason.first(), None | Some(b' ')) {
            return Err(Fault::malformed("status"));
        }
        let digit = |byte: &u8| u16::from(byte - b'0');
        Ok(Self {
            status: digit(hundreds) * 100 + digit(tens) * 10 + digit(ones),
            is_http10,
        })
    }

    fn body(self, delimiter: Delimiter, asked: Asked) -> Result<BodyFraming, Fault> {
        let is_silent = delimiter == Delimiter::Silent;
        match self.status {
            // RFC 9110 section 8.6 forbids the field, but many servers say that nothing has no length; nobody can read
            // that in two ways.
            204 if delimiter == Delimiter::Length(0) => Ok(BodyFraming::None),
            // RFC 9110 section 8.6 and RFC 9112 section 6.1: neither field may be there.
            100..=199 | 204 if !is_silent => Err(Fault::malformed("body framing where there is no body")),
            101 if asked == Asked::Upgrade => Ok(BodyFraming::Tunnel),
            // CVE-2026-2833: what follows would be taken for a tunnel by one side only.
            101 => Err(Fault::malformed("101 that nobody asked for")),
            100..=199 | 204 | 304 => Ok(BodyFraming::None),
            _ if asked == Asked::Head => Ok(BodyFraming::None),
            _ => Ok(match delimiter {
                Delimiter::Length(0) => BodyFraming::None,
                Delimiter::Length(length) => BodyFraming::Length(length),
                Delimiter::Chunked => BodyFraming::Chunked,
                Delimiter::Silent => BodyFraming::UntilClose,
            }),
        }
    }
}
