//! Chunks (RFC 9112 section 7.1), with nothing around their sizes.

use crate::body::Step;
use crate::class::{self, EXTENSION};
use crate::fault::Fault;
use crate::trailers::Trailers;

/// Digits of a chunk's size: fifteen cannot overflow, and no chunk is that large.
const MAX_SIZE_DIGITS: u8 = 15;
/// Bytes of extensions beyond the content they came with. Nobody reads extensions, so that a body may not consist
/// of them (CVE-2023-39326).
const MAX_EXTENSIONS: u64 = 8 * 1024;

/// A position inside a chunked body.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    at: At,
    size: u64,
    digits: u8,
    extensions: u64,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Content,
    ContentEnd,
    ContentEndLine,
    Trailers,
}

impl Chunks {
    /// What the next bytes are.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        let mut skip = 0;
        loop {
            let rest = bytes.get(skip..).unwrap_or_default();
            if self.at == At::Trailers {
                return self.trailers.next(rest, skip);
            }
            let Some(&byte) = rest.first() else {
                return Ok(Step::More { skip });
            };
            if self.at == At::Content {
                let len = self.take(rest.len());
                return Ok(Step::Content { skip, len });
            }
            self.at = self.step(byte)?;
            skip += 1;
        }
    }

    fn take(&mut self, there: usize) -> usize {
        let len = usize::try_from(self.size).unwrap_or(usize::MAX).min(there);
        self.size -= len as u64;
        self.extensions = self.extensions.saturating_sub(len as u64);
        if self.size == 0 {
            self.at = At::ContentEnd;
        }
        len
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::Size, byte) if byte.is_ascii_hexdigit() => self.digit(byte),
            (At::Size, b'\r') if self.digits > 0 => Ok(At::SizeEnd),
            (At::Size, b';') if self.digits > 0 => self.extension(),
            (At::Size, _) => Err(Fault::malformed("chunk size")),
            (At::Extension, b'\r') => Ok(At::SizeEnd),
            (At::Extension, byte) if class::is(byte, EXTENSION) => self.extension(),
            (At::Extension, _) => Err(Fault::malformed("chunk extension")),
            (At::SizeEnd, b'\n') => {
                self.digits = 0;
                Ok(if self.size == 0 { At::Trailers } else { At::Content })
            }
            (At::ContentEnd, b'\r') => Ok(At::ContentEndLine),
            (At::ContentEndLine, b'\n') => Ok(At::Size),
            (At::SizeEnd | At::ContentEnd | At::ContentEndLine | At::Content | At::Trailers, _) => {
                Err(Fault::malformed("end of a chunk"))
            }
        }
    }

    fn digit(&mut self, digit: u8) -> Result<At, Fault> {
        self.digits += 1;
        if self.digits > MAX_SIZE_DIGITS {
            return Err(Fault::malformed("chunk size"));
        }
        self.size = self.size * 16 + u64::from(portcullis_model::path::hex(digit).unwrap_or(0));
        Ok(At::Size)
    }

    fn extension(&mut self) -> Result<At, Fault> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(Fault::malformed("chunk extensions too long"));
        }
        Ok(At::Extension)
    }
}
