//! A request's head.

use std::mem;

use portcullis_model::Reason;
use smallvec::SmallVec;

use crate::body::BodyFraming;
use crate::class::{self, TOKEN};
use crate::fault::Fault;
use crate::field::{Bounds, Delimiter, Fields};
use crate::host;
use crate::line::Lines;
use crate::span::{Field, Span};

/// A method longer than this is not one.
const MAX_METHOD: usize = 32;

/// A whole head; every span is a part of the bytes that were scanned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestHead {
    /// Where the request line starts: one empty line before it is skipped (RFC 9112 section 2.2).
    pub start: usize,
    /// Where the body starts.
    pub end: usize,
    /// The method, a token.
    pub method: Span,
    /// The target as it was written, in origin, absolute or asterisk form.
    pub target: Span,
    /// True for HTTP/1.0, false for HTTP/1.1; there is no other.
    pub is_http10: bool,
    /// The fields, in order.
    pub fields: SmallVec<[Field; 24]>,
    /// How the body is delimited.
    pub body: BodyFraming,
    /// True when the client will send no further request on this connection.
    pub wants_close: bool,
}

/// Finds and checks a request's head while it arrives; every byte is looked at once.
///
/// It is given the same buffer again each time, with more bytes at its end. A head that was found leaves the scanner
/// as new.
#[derive(Debug, Default)]
pub struct RequestScanner {
    lines: Lines,
    start: usize,
    line: Option<RequestLine>,
    fields: Fields,
}

#[derive(Clone, Copy, Debug)]
struct RequestLine {
    method: Span,
    target: Span,
    is_http10: bool,
}

impl RequestScanner {
    /// Looks at what arrived; `None` while the blank line is missing.
    ///
    /// # Errors
    /// Returns the first fault in the order of the bytes.
    pub fn scan(&mut self, bytes: &[u8], bounds: &Bounds) -> Result<Option<RequestHead>, Fault> {
        loop {
            let limit = self.start.saturating_add(bounds.max_bytes);
            let Some(line) = self.lines.next(bytes, limit)? else {
                return Ok(None);
            };
            let is_blank = line.of(bytes).is_empty();
            match self.line {
                None if is_blank => self.skip_empty_line()?,
                None => self.line = Some(RequestLine::parse(bytes, line)?),
                Some(request_line) if is_blank => return self.finish(bytes, request_line),
                Some(_) => self.fields.take(bytes, line, bounds)?,
            }
        }
    }

    fn skip_empty_line(&mut self) -> Result<(), Fault> {
        if self.start > 0 {
            return Err(Fault::malformed("empty lines before the request line"));
        }
        self.start = self.lines.position();
        Ok(())
    }

    fn finish(&mut self, bytes: &[u8], line: RequestLine) -> Result<Option<RequestHead>, Fault> {
        let fields = &self.fields;
        if fields.is_host_repeated {
            return Err(Fault::new(Reason::HostAmbiguous, "repeated Host"));
        }
        let authority = host::authority(line.target.of(bytes))?;
        host::check(fields.host.map(|host| host.of(bytes)), authority, line.is_http10)?;
        let body = match fields.delimiter(line.is_http10)? {
            Delimiter::Silent | Delimiter::Length(0) => BodyFraming::None,
            Delimiter::Length(length) => BodyFraming::Length(length),
            Delimiter::Chunked => BodyFraming::Chunked,
        };
        let head = RequestHead {
            start: self.start,
            end: self.lines.position(),
            method: line.method,
            target: line.target,
            is_http10: line.is_http10,
            body,
            wants_close: fields.wants_close(line.is_http10),
            fields: mem::take(&mut self.fields.list),
        };
        *self = Self::default();
        Ok(Some(head))
    }
}

impl RequestLine {
    fn parse(bytes: &[u8], line: Span) -> Result<Self, Fault> {
        let text = line.of(bytes);
        let length = class::span_of(text, TOKEN);
        let after = text.get(length..).unwrap_or_default();
        let [b' ', after @ ..] = after else {
            return Err(Fault::malformed("method"));
        };
        if !(1..=MAX_METHOD).contains(&length) {
            return Err(Fault::malformed("method"));
        }
        let method = Span::new(line.start(), line.start() + length);
        let length = class::first_not_graphic(after).unwrap_or(after.len());
        let target = Span::new(method.end() + 1, method.end() + 1 + length);
        let target_bytes = target.of(bytes);
        // HTTP/0.9 has no third word.
        let [b' ', version @ ..] = after.get(length..).unwrap_or_default() else {
            return Err(Fault::malformed("request target"));
        };
        let is_http10 = parse_version(version)?;
        if length == 0 {
            return Err(Fault::malformed("request target"));
        }
        if memchr::memchr(b'#', target_bytes).is_some() {
            // A parser that drops it without a word asks for another resource than the one that was checked.
            return Err(Fault::new(Reason::PathFragment, "fragment"));
        }
        if method.of(bytes) == b"CONNECT" {
            return Err(Fault::new(Reason::MethodUnsupported, "CONNECT"));
        }
        Ok(Self {
            method,
            target,
            is_http10,
        })
    }
}

/// True for HTTP/1.0; the HTTP/2 preface comes here too (`PRI * HTTP/2.0`).
fn parse_version(version: &[u8]) -> Result<bool, Fault> {
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Fault::new(Reason::VersionUnsupported, "HTTP version"))
        }
        _ => Err(Fault::malformed("HTTP version")),
    }
}
