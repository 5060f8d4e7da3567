//! What waits to be written: small things joined in one buffer, large ones as they are, all in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::listener::socket::ClientSocket;

/// Parts handed to the kernel in one call.
const PARTS: usize = 16;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Before `tail`.
    parts: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
    /// Written bytes may wait in the TLS session.
    needs_flush: bool,
}

impl Outbox {
    /// From this size on content is not copied.
    pub(super) const LARGE: usize = 16 * 1024;

    /// Unwritten bytes.
    pub(super) fn len(&self) -> usize {
        self.len + self.tail.len()
    }

    /// True when everything has left.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_unwritten() && !self.needs_flush
    }

    fn has_unwritten(&self) -> bool {
        !(self.parts.is_empty() && self.tail.is_empty())
    }

    /// Where the next bytes are put, with room for about so many.
    pub(super) fn room(&mut self, bytes: usize) -> &mut BytesMut {
        self.tail.reserve(bytes);
        &mut self.tail
    }

    /// Queues content.
    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() < Self::LARGE {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            self.len += self.tail.len();
            self.parts.push_back(self.tail.split().freeze());
        }
        self.len += data.len();
        self.parts.push_back(data);
    }

    /// Writes until nothing is left.
    pub(super) fn poll_write(
        &mut self,
        socket: &mut ClientSocket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.has_unwritten() {
            let count = ready!(self.poll_write_once(socket, context))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.needs_flush = true;
            self.advance(count);
        }
        if self.needs_flush {
            ready!(Pin::new(socket).poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Everything, joined.
    pub(super) fn into_bytes(self) -> BytesMut {
        if self.parts.is_empty() {
            return self.tail;
        }
        let mut joined = BytesMut::with_capacity(self.len());
        self.parts.iter().for_each(|part| joined.extend_from_slice(part));
        joined.extend_from_slice(&self.tail);
        joined
    }

    fn poll_write_once(
        &self,
        socket: &mut ClientSocket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(socket);
        if self.parts.is_empty() {
            return socket.poll_write(context, &self.tail);
        }
        let mut slices = [IoSlice::new(&[]); PARTS];
        let tail = (self.parts.len() < PARTS && !self.tail.is_empty()).then_some(&*self.tail);
        let parts = self.parts.iter().map(|part| &**part).chain(tail);
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(parts) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        socket.poll_write_vectored(context, slices.get(..count).unwrap_or_default())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.parts.front_mut() {
            let count = front.len().min(written);
            front.advance(count);
            written -= count;
            self.len -= count;
            if !front.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        if written == self.tail.len() {
            // Keeps its room for what follows.
            self.tail.clear();
        } else {
            self.tail.advance(written);
        }
    }
}
