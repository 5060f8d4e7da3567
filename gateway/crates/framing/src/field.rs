//! The fields of a head, and the few that say where the message ends.

use smallvec::SmallVec;

use crate::class::{self, TOKEN};
use crate::fault::Fault;
use crate::span::{Field, Span};

/// Bounds on a head.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Its size with the blank line; no line can be longer either.
    pub max_bytes: usize,
    /// Its fields.
    pub max_fields: usize,
}

/// Digits of a length: eighteen stay below `u64::MAX` and above any body there will be.
const MAX_LENGTH_DIGITS: usize = 18;

/// The fields of one head, as far as they arrived.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// All of them.
    pub(crate) list: SmallVec<[Field; 24]>,
    /// `Host`.
    pub(crate) host: Option<Span>,
    /// True when `Host` came twice.
    pub(crate) is_host_repeated: bool,
    length: Option<u64>,
    coding: Option<Coding>,
    says_close: bool,
    says_keep_alive: bool,
}

/// The only transfer coding there is: `chunked`, alone.
#[derive(Clone, Copy, Debug)]
struct Coding;

/// What the fields say of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Delimiter {
    /// Neither field was there.
    Silent,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Fields {
    /// Takes one field line.
    pub(crate) fn take(&mut self, bytes: &[u8], line: Span, bounds: &Bounds) -> Result<(), Fault> {
        if self.list.len() >= bounds.max_fields {
            return Err(Fault::too_large("too many fields"));
        }
        let field = parse(bytes, line)?;
        self.list.push(field);
        let name = field.name.of(bytes);
        let value = field.value.of(bytes);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.is_host_repeated |= self.host.is_some();
                self.host = Some(field.value);
            }
            10 if name.eq_ignore_ascii_case(b"connection") => self.read_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => return self.read_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return self.read_coding(value),
            _ => {}
        }
        Ok(())
    }

    /// What the fields say of the body, when they say one thing.
    pub(crate) const fn delimiter(&self, is_http10: bool) -> Result<Delimiter, Fault> {
        match (self.length, self.coding) {
            (None, None) => Ok(Delimiter::Silent),
            (Some(length), None) => Ok(Delimiter::Length(length)),
            // RFC 9112 section 6.1: an HTTP/1.0 recipient on the way did not understand it (CVE-2026-2835).
            (_, Some(Coding)) if is_http10 => Err(Fault::malformed("transfer coding in HTTP/1.0")),
            (None, Some(Coding)) => Ok(Delimiter::Chunked),
            (Some(_), Some(Coding)) => Err(Fault::malformed("length and transfer coding")),
        }
    }

    /// True when the connection ends with this message (RFC 9112 section 9.3).
    pub(crate) const fn wants_close(&self, is_http10: bool) -> bool {
        self.says_close || (is_http10 && !self.says_keep_alive)
    }

    fn read_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        match self.length.replace(parse_length(value)?) {
            None => Ok(()),
            // Equal lengths are refused too: RFC 9112 section 6.3 leaves them to the recipient.
            Some(_) => Err(Fault::malformed("repeated content length")),
        }
    }

    fn read_coding(&mut self, value: &[u8]) -> Result<(), Fault> {
        match self.coding.replace(parse_coding(value)?) {
            None => Ok(()),
            Some(Coding) => Err(Fault::malformed("repeated transfer coding")),
        }
    }

    fn read_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',') {
            let option = option.trim_ascii();
            self.says_close |= option.eq_ignore_ascii_case(b"close");
            self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// Reads one field line.
pub(crate) fn parse(bytes: &[u8], line: Span) -> Result<Field, Fault> {
    let text = line.of(bytes);
    let colon = text
        .iter()
        .position(|&byte| !class::is(byte, TOKEN))
        .unwrap_or(text.len());
    match (colon, text.get(colon)) {
        (0, Some(b' ' | b'\t')) => return Err(Fault::malformed("folded field")),
        (0, _) => return Err(Fault::malformed("empty field name")),
        (_, Some(b':')) => {}
        // RFC 9112 section 5.1: whitespace before the colon has led to request smuggling.
        (_, Some(b' ' | b'\t')) => return Err(Fault::malformed("whitespace in a field name")),
        (_, None) => return Err(Fault::malformed("field without a colon")),
        (_, Some(_)) => return Err(Fault::malformed("field name")),
    }
    let mut value = Span::new(line.start() + colon + 1, line.end());
    while let [b' ' | b'\t', ..] = value.of(bytes) {
        value = Span::new(value.start() + 1, value.end());
    }
    while let [.., b' ' | b'\t'] = value.of(bytes) {
        value = Span::new(value.start(), value.end() - 1);
    }
    Ok(Field {
        name: Span::new(line.start(), line.start() + colon),
        value,
    })
}

fn parse_coding(value: &[u8]) -> Result<Coding, Fault> {
    // `gzip, chunked` is legal and nobody needs it; every list is a way for two readers to part.
    value
        .eq_ignore_ascii_case(b"chunked")
        .then_some(Coding)
        .ok_or(Fault::malformed("transfer coding"))
}

fn parse_length(text: &[u8]) -> Result<u64, Fault> {
    if text.is_empty() || text.len() > MAX_LENGTH_DIGITS || !text.iter().all(u8::is_ascii_digit) {
        return Err(Fault::malformed("content length"));
    }
    Ok(text
        .iter()
        .fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}
