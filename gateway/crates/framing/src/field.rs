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
        // Most names part from these four by their length or first letter.
        match field.name.of(bytes) {
            name @ [b'H' | b'h', _, _, _] if name.eq_ignore_ascii_case(b"host") => {
                self.is_host_repeated |= self.host.is_some();
                self.host = Some(field.value);
                Ok(())
            }
            name @ [b'C' | b'c', ..] if name.eq_ignore_ascii_case(b"connection") => {
                self.read_connection(field.value.of(bytes));
                Ok(())
            }
            name @ [b'C' | b'c', ..] if name.eq_ignore_ascii_case(b"content-length") => {
                self.read_length(field.value.of(bytes))
            }
            name @ [b'T' | b't', ..] if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.read_coding(field.value.of(bytes))
            }
            _ => Ok(()),
        }
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
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.says_close |= option.eq_ignore_ascii_case(b"close");
            self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// Reads one field line.
pub(crate) fn parse(bytes: &[u8], line: Span) -> Result<Field, Fault> {
    let text = line.of(bytes);
    let colon = class::span_of(text, TOKEN);
    if colon == 0 || text.get(colon) != Some(&b':') {
        return Err(fault_in_name(text, colon));
    }
    let (mut start, mut end) = (line.start() + colon + 1, line.end());
    while start < end && is_blank(bytes, start) {
        start += 1;
    }
    while start < end && is_blank(bytes, end - 1) {
        end -= 1;
    }
    Ok(Field {
        name: Span::new(line.start(), line.start() + colon),
        value: Span::new(start, end),
    })
}

fn is_blank(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b' ' | b'\t'))
}

/// What is wrong with a name that ends at `end`.
fn fault_in_name(text: &[u8], end: usize) -> Fault {
    Fault::malformed(match (end, text.get(end)) {
        (_, None) => "field without a colon",
        (0, Some(b' ' | b'\t')) => "folded field",
        (0, Some(b':')) => "empty field name",
        // RFC 9112 section 5.1: whitespace before the colon has led to request smuggling.
        (_, Some(b' ' | b'\t')) => "whitespace in a field name",
        (_, Some(_)) => "field name",
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
