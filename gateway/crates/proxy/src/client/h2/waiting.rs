//! What arrived of a request's body while nobody could take it.
//!
//! The engine keeps a frame as a part of the buffer that it was read into, 8 KiB for sixteen octets if the client wants
//! it so: small frames of one stream between large ones of another. Its own budget for small frames does not see them,
//! because the large ones fill it up again. So frames are taken out as they come, small ones copied together, and the
//! client gets no room for more before somebody takes them: what waits is bounded by the stream's window.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;

/// A frame below this is copied: half a read buffer.
const SMALL: usize = 4 * 1024;

/// Frames in order; their window is not given back yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pieces: VecDeque<Bytes>,
    /// Small ones behind them.
    gathered: BytesMut,
}

impl Waiting {
    /// Takes over what has arrived. What ended the body, whoever reads on finds out.
    pub(super) fn gather(&mut self, body: &mut RecvStream, context: &mut Context<'_>) {
        while let Poll::Ready(Some(Ok(data))) = body.poll_data(context) {
            if data.len() < SMALL {
                self.gathered.extend_from_slice(&data);
                continue;
            }
            if !self.gathered.is_empty() {
                self.pieces.push_back(self.gathered.split().freeze());
            }
            self.pieces.push_back(data);
        }
    }

    /// What arrived first; its window is to be given back.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        let gathered = &mut self.gathered;
        self.pieces
            .pop_front()
            .or_else(|| (!gathered.is_empty()).then(|| gathered.split().freeze()))
    }

    /// Drops all of it; so many octets of window are to be given back.
    pub(super) fn clear(&mut self) -> usize {
        let len = self.gathered.len() + self.pieces.iter().map(Bytes::len).sum::<usize>();
        *self = Self::default();
        len
    }
}
