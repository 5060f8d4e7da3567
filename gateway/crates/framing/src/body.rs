//! Where a message ends: what keeps the next message's bytes away from this one.

use portcullis_model::Reason;
use smallvec::SmallVec;

use crate::chunks::Chunks;
use crate::fault::Fault;
use crate::span::Field;

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the endpoint closes; only responses.
    UntilClose,
    /// The connection is no HTTP connection any more.
    Tunnel,
}

/// What the next bytes of a body are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Content, after some framing.
    Content {
        /// Bytes of framing to drop first.
        skip: usize,
        /// Bytes of content after them; never none.
        len: usize,
    },
    /// Too little to say.
    More {
        /// Bytes of framing to drop; what is left must stay until more was read.
        skip: usize,
    },
    /// The message is over; what follows belongs to another one.
    End {
        /// Bytes of framing to drop, the trailers too.
        skip: usize,
        /// The trailers: spans into the bytes that were passed, read before dropping.
        trailers: SmallVec<[Field; 4]>,
    },
}

/// Follows a body to its end. Faults are the sender's; who reads an endpoint gives them the endpoint's reason.
#[derive(Debug)]
pub struct BodyReader {
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Done,
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Tunnel,
}

impl BodyReader {
    /// The start of a body.
    #[must_use]
    pub fn new(framing: BodyFraming) -> Self {
        let rest = match framing {
            BodyFraming::None | BodyFraming::Length(0) => Rest::Done,
            BodyFraming::Length(length) => Rest::Length(length),
            BodyFraming::Chunked => Rest::Chunked(Chunks::default()),
            BodyFraming::UntilClose => Rest::UntilClose,
            BodyFraming::Tunnel => Rest::Tunnel,
        };
        Self { rest }
    }

    /// What the next bytes are; `bytes` starts right behind what earlier steps had dropped or handed out.
    ///
    /// # Errors
    /// Returns a fault when a chunk or the trailers are not exactly as they must be.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Step, Fault> {
        match &mut self.rest {
            Rest::Done => Ok(Step::end()),
            Rest::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.rest = Rest::Done;
                }
                Ok(Step::content(taken))
            }
            Rest::Chunked(chunks) => {
                let step = chunks.next(bytes)?;
                if matches!(step, Step::End { .. }) {
                    self.rest = Rest::Done;
                }
                Ok(step)
            }
            Rest::UntilClose | Rest::Tunnel => Ok(Step::content(bytes.len())),
        }
    }

    /// The sender closed.
    ///
    /// # Errors
    /// Returns a fault when the body is not whole.
    pub const fn at_eof(&self) -> Result<(), Fault> {
        match self.rest {
            Rest::Done | Rest::UntilClose | Rest::Tunnel => Ok(()),
            Rest::Length(_) | Rest::Chunked(_) => {
                Err(Fault::new(Reason::BodyIncomplete, "the body ended early"))
            }
        }
    }

    /// True when the next byte belongs to another message.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Done)
    }

    /// From now on everything is content: the endpoint agreed to an upgrade.
    pub fn switch_to_tunnel(&mut self) {
        self.rest = Rest::Tunnel;
    }
}

impl Step {
    const fn content(len: usize) -> Self {
        if len == 0 {
            return Self::More { skip: 0 };
        }
        Self::Content { skip: 0, len }
    }

    fn end() -> Self {
        Self::End {
            skip: 0,
            trailers: SmallVec::new(),
        }
    }
}
