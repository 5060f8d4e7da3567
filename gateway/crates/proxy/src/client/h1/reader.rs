//! The request side of a connection: a body's pieces out of the bytes that arrive, and not one byte more.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use portcullis_framing::{BodyFraming, BodyReader, Fault, Step};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::head;
use crate::client::ClientFault;
use crate::listener::socket::ClientSocket;
use crate::message::{Length, Piece};

/// The most that one piece holds.
const MAX_PIECE: usize = 64 * 1024;
/// Bytes kept while nobody asks for them (pipelined requests, a body that is not wanted yet); the rest stays in the
/// kernel.
const MAX_AHEAD: usize = 64 * 1024;
/// Pieces looked at in advance to learn whether a body is wholly here.
const MAX_LOOK_AHEAD: usize = 64;
/// Read at once at first; a client that fills it is given more, up to `MAX_READ`.
const FIRST_READ: usize = 16 * 1024;
/// Read at once at most.
const MAX_READ: usize = 64 * 1024;
/// With less room than this a read is not worth its call.
const LEAST_READ: usize = 1024;

/// The request side of one request.
pub(super) struct Reader {
    ahead: BytesMut,
    body: BodyReader,
    /// Pieces that were looked at in advance.
    at_hand: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    fault: Option<Fault>,
    chunk: usize,
    /// The whole body was seen in `ahead`.
    is_whole: bool,
    is_end_told: bool,
    is_tunnel: bool,
    is_eof: bool,
}

impl Reader {
    /// The body after a head; `ahead` starts with its first byte.
    pub(super) fn new(ahead: BytesMut, framing: BodyFraming, length: Length) -> Self {
        let chunk = match length {
            // A little more than is missing: a read that fills its buffer is followed by one that finds nothing.
            Length::Known(length) => {
                usize::try_from(length)
                    .unwrap_or(FIRST_READ)
                    .clamp(LEAST_READ, FIRST_READ)
                    + 64
            }
            Length::None | Length::Unknown => FIRST_READ,
        };
        Self {
            ahead,
            body: BodyReader::new(framing),
            at_hand: VecDeque::new(),
            trailers: None,
            fault: None,
            chunk,
            is_whole: length == Length::None,
            is_end_told: false,
            is_tunnel: false,
            is_eof: false,
        }
    }

    /// True when the next byte belongs to another request.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// True when nothing of the body has arrived.
    pub(super) fn is_untouched(&self) -> bool {
        self.ahead.is_empty()
    }

    /// From now on every byte is content.
    pub(super) fn switch(&mut self) {
        self.body.switch_to_tunnel();
        self.is_tunnel = true;
        self.is_whole = false;
        self.is_end_told = false;
    }

    /// Learns whether the body is wholly here without reading; its pieces wait in order.
    pub(super) fn look_ahead(&mut self) {
        while !self.is_whole && self.at_hand.len() < MAX_LOOK_AHEAD {
            match self.next_piece() {
                Ok(Some(data)) => self.at_hand.push_back(data),
                // A fault is kept and told in its turn.
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// The next piece; after the end there is none.
    pub(super) fn poll_piece(
        &mut self,
        socket: &mut ClientSocket,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, ClientFault>> {
        loop {
            if let Some(data) = self.at_hand.pop_front() {
                return Poll::Ready(Ok(Piece::Data(data)));
            }
            if self.is_whole {
                return self.end();
            }
            if let Some(data) = self.next_piece()? {
                return Poll::Ready(Ok(Piece::Data(data)));
            }
            if self.is_whole {
                return self.end();
            }
            if !self.is_eof && ready!(self.poll_fill(socket, context))? == 0 {
                self.is_eof = true;
            }
            if self.is_eof {
                // Only a tunnel may end like this.
                self.body.at_eof().map_err(|_| ClientFault::Gone)?;
                self.is_whole = true;
            }
        }
    }

    /// Ready when the client closed its side. Bytes that arrive meanwhile are kept.
    pub(super) fn poll_gone(&mut self, socket: &mut ClientSocket, context: &mut Context<'_>) -> Poll<()> {
        if self.is_tunnel {
            // Its end was told as one; whether it still reads shows in writing.
            return Poll::Pending;
        }
        while !self.is_eof && self.ahead.len() < MAX_AHEAD {
            let mut piece = [0_u8; 1024];
            let mut window = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut *socket).poll_read(context, &mut window)) {
                Ok(()) if !window.filled().is_empty() => self.ahead.extend_from_slice(window.filled()),
                Ok(()) | Err(_) => self.is_eof = true,
            }
        }
        if self.is_eof {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// What arrived after the request.
    pub(super) fn into_rest(self) -> BytesMut {
        self.ahead
    }

    #[cfg(test)]
    pub(super) fn rest_len(&self) -> usize {
        self.ahead.len()
    }

    fn end(&mut self) -> Poll<Result<Piece, ClientFault>> {
        if std::mem::replace(&mut self.is_end_told, true) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(Piece::End(self.trailers.take())))
    }

    /// The next piece of what arrived; `None` when more must be read, or the body is whole.
    fn next_piece(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let step = self.step();
        self.fault = step.as_ref().err().copied();
        step
    }

    fn step(&mut self) -> Result<Option<Bytes>, Fault> {
        let window = self.ahead.get(..MAX_PIECE).unwrap_or(&self.ahead);
        let has_all_seen = window.len() == self.ahead.len();
        match self.body.next(window)? {
            Step::Content { skip, len } => {
                self.ahead.advance(skip);
                Ok(Some(self.ahead.split_to(len).freeze()))
            }
            Step::More { skip } => {
                self.ahead.advance(skip);
                if skip > 0 && !has_all_seen {
                    self.step()
                } else {
                    Ok(None)
                }
            }
            Step::End { skip, trailers } => {
                let section = self.ahead.split_to(skip).freeze();
                self.is_whole = true;
                self.trailers = head::trailers(&section, &trailers)?;
                if self.ahead.is_empty() {
                    // Nothing more will be read into it before the answer.
                    self.ahead = BytesMut::new();
                }
                Ok(None)
            }
        }
    }

    fn poll_fill(
        &mut self,
        socket: &mut ClientSocket,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, ClientFault>> {
        if self.ahead.capacity() - self.ahead.len() < LEAST_READ {
            self.ahead.reserve(self.chunk);
        }
        let count = ready!(poll_read(socket, &mut self.ahead, context))?;
        if self.ahead.len() == self.ahead.capacity() {
            self.chunk = (self.chunk * 2).min(MAX_READ);
        }
        Poll::Ready(Ok(count))
    }
}

/// Reads once, straight into the room that a buffer has.
pub(super) fn poll_read(
    socket: &mut ClientSocket,
    buffer: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    pin!(socket.read_buf(buffer)).poll(context)
}
