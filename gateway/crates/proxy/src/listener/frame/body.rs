//! Where a message ends: the guard that keeps the next request's bytes away from this one.

use super::{FrameFault, is_token_byte};

/// How a head says its body is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Follows a body to its end.
#[derive(Debug)]
pub(crate) enum Boundary {
    /// So many bytes are missing.
    Length(u64),
    /// Inside chunks.
    Chunked(Chunks),
    /// The message is over; what follows is another one.
    Done,
    /// The connection is a tunnel now.
    Tunnel,
}

/// Digits of a chunk's size; more would overflow nothing but no chunk is that large.
const MAX_SIZE_DIGITS: u8 = 15;
/// Bytes of one chunk extension or of the trailer section.
const MAX_EXTRA: usize = 8 * 1024;

/// A position inside a chunked body.
#[derive(Debug)]
pub(crate) struct Chunks {
    at: At,
    size: u64,
    digits: u8,
    extra: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    Size,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataEndLine,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastEnd,
    Over,
}

impl Boundary {
    /// The start of a body.
    pub(crate) const fn new(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::None => Self::Done,
            BodyFraming::Length(length) => Self::Length(length),
            BodyFraming::Chunked => Self::Chunked(Chunks {
                at: At::Size,
                size: 0,
                digits: 0,
                extra: 0,
            }),
        }
    }

    /// True when the next byte belongs to another message.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How many of these bytes belong to this message; moves forward by them.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<usize, FrameFault> {
        match self {
            Self::Done => Ok(0),
            Self::Tunnel => Ok(bytes.len()),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let taken = chunks.advance(bytes)?;
                if chunks.at == At::Over {
                    *self = Self::Done;
                }
                Ok(taken)
            }
        }
    }
}

impl Chunks {
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, FrameFault> {
        let mut taken = 0;
        while self.at != At::Over {
            let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            if self.at == At::Data {
                let step = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
                self.size -= step as u64;
                taken += step;
                if self.size == 0 {
                    self.at = At::DataEnd;
                }
            } else if let Some(&byte) = rest.first() {
                self.at = self.step(byte)?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    fn step(&mut self, byte: u8) -> Result<At, FrameFault> {
        if matches!(self.at, At::Extension | At::TrailerName | At::TrailerValue) {
            self.extra += 1;
            if self.extra > MAX_EXTRA {
                return Err(FrameFault::malformed("chunk extension or trailers too long"));
            }
        }
        match (self.at, byte) {
            (At::Size, digit) if digit.is_ascii_hexdigit() => self.digit(digit),
            (At::Size, b'\r') if self.digits > 0 => Ok(At::SizeEnd),
            (At::Size, b';') if self.digits > 0 => Ok(At::Extension),
            (At::Extension, b'\r') => Ok(At::SizeEnd),
            (At::Extension, b'\t' | b' '..=b'~') => Ok(At::Extension),
            (At::SizeEnd, b'\n') => {
                self.digits = 0;
                Ok(if self.size == 0 {
                    At::TrailerStart
                } else {
                    At::Data
                })
            }
            (At::DataEnd, b'\r') => Ok(At::DataEndLine),
            (At::DataEndLine, b'\n') => Ok(At::Size),
            (At::TrailerStart, b'\r') => Ok(At::LastEnd),
            (At::TrailerStart | At::TrailerName, byte) if is_token_byte(byte) => Ok(At::TrailerName),
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerValue, b'\r') => Ok(At::TrailerEnd),
            (At::TrailerValue, b'\t' | b' '..=b'~' | 128..=255) => Ok(At::TrailerValue),
            (At::TrailerEnd, b'\n') => Ok(At::TrailerStart),
            (At::LastEnd, b'\n') => Ok(At::Over),
            _ => Err(FrameFault::malformed("chunked body")),
        }
    }

    fn digit(&mut self, digit: u8) -> Result<At, FrameFault> {
        self.digits += 1;
        if self.digits > MAX_SIZE_DIGITS {
            return Err(FrameFault::malformed("chunk size"));
        }
        self.size = self.size * 16 + u64::from(portcullis_model::path::hex(digit).unwrap_or(0));
        Ok(At::Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(bytes: &[u8]) -> Result<(usize, bool), FrameFault> {
        let mut boundary = Boundary::new(BodyFraming::Chunked);
        let taken = boundary.advance(bytes)?;
        Ok((taken, boundary.is_done()))
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let mut boundary = Boundary::new(BodyFraming::Length(5));

        assert_eq!(boundary.advance(b"abc"), Ok(3));
        assert_eq!(boundary.advance(b"deGET /"), Ok(2));
        assert!(boundary.is_done());
        assert_eq!(boundary.advance(b"GET /"), Ok(0));
    }

    #[test]
    fn chunks_end_after_their_trailers() {
        assert_eq!(chunked(b"3\r\nabc\r\n0\r\n\r\nGET /"), Ok((13, true)));
        assert_eq!(chunked(b"3;x=y\r\nabc\r\n0\r\na: b\r\n\r\nGET /"), Ok((23, true)));
        assert_eq!(chunked(b"A\r\n0123456789\r\n"), Ok((15, false)));
    }

    #[test]
    fn chunks_may_arrive_byte_by_byte() {
        let mut boundary = Boundary::new(BodyFraming::Chunked);

        for byte in b"3\r\nabc\r\n0\r\n\r\n" {
            assert_eq!(boundary.advance(&[*byte]), Ok(1));
        }

        assert!(boundary.is_done());
    }

    #[test]
    fn odd_chunks_are_refused() {
        for bytes in [
            &b"\r\nabc"[..],
            b"3\nabc",
            b"3\r\nabcd",
            b"3 \r\nabc",
            b"-3\r\n",
            b"0x3\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\nbad name: x\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b";x\r\n",
        ] {
            assert!(chunked(bytes).is_err(), "{bytes:?}");
        }
    }
}
