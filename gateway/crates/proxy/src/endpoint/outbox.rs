//! What waits to be written to an endpoint: small things are gathered, big ones are never copied.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// From here on a piece is written where it lies; below, one copy is cheaper than one more slice.
const UNCOPIED: usize = 16 * 1024;
/// Slices of one write.
const SLICES: usize = 16;
/// An ordinary request head with a small body.
const ROOM: usize = 1024;
/// Bytes that may wait before the one who pushes has to.
const FULL: usize = 64 * 1024;

/// Bytes on their way out, in order: `sealed`, then `tail`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    sealed: VecDeque<Bytes>,
    sealed_bytes: usize,
    tail: BytesMut,
}

impl Outbox {
    /// Where small things are appended.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        if self.tail.capacity() == 0 {
            self.tail.reserve(ROOM);
        }
        &mut self.tail
    }

    /// Appends a piece of a body.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.len() < UNCOPIED {
            self.tail().put_slice(&piece);
            return;
        }
        let tail = self.tail.split().freeze();
        for sealed in [tail, piece] {
            self.sealed_bytes += sealed.len();
            if !sealed.is_empty() {
                self.sealed.push_back(sealed);
            }
        }
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.tail.is_empty()
    }

    /// True while one more piece may be pushed.
    pub(crate) fn has_room(&self) -> bool {
        self.sealed_bytes + self.tail.len() < FULL
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes once; the bytes that were taken. Never called when empty.
    pub(crate) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        let written = if self.sealed.is_empty() {
            ready!(stream.poll_write(context, &self.tail))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let parts = self.sealed.iter().map(|part| &part[..]).chain([&self.tail[..]]);
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(parts) {
                *slice = IoSlice::new(part);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            ready!(stream.poll_write_vectored(context, slices))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.sealed.front_mut().filter(|_| written > 0) {
            let taken = first.len().min(written);
            first.advance(taken);
            self.sealed_bytes -= taken;
            written -= taken;
            if first.is_empty() {
                self.sealed.pop_front();
            }
        }
        if written >= self.tail.len() {
            self.tail.clear();
        } else {
            self.tail.advance(written);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes at most so many bytes per write, and counts the writes.
    struct Slow {
        taken: Vec<u8>,
        most: usize,
        writes: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let most = self.most.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..most]);
            self.writes += 1;
            Poll::Ready(Ok(most))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all = slices.iter().flat_map(|slice| slice.iter().copied());
            let before = self.taken.len();
            let most = self.most;
            self.taken.extend(all.take(most));
            let most = self.taken.len() - before;
            self.writes += 1;
            Poll::Ready(Ok(most))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn drain(outbox: &mut Outbox, most: usize) -> Slow {
        let mut slow = Slow {
            taken: Vec::new(),
            most,
            writes: 0,
        };
        let mut context = Context::from_waker(Waker::noop());
        while !outbox.is_empty() {
            assert!(outbox.poll_write(&mut slow, &mut context).is_ready());
        }
        slow
    }

    #[test]
    fn order_survives_big_pieces_and_short_writes() {
        for most in [1, 7, UNCOPIED, usize::MAX] {
            let mut outbox = Outbox::default();
            let big = Bytes::from(vec![b'x'; UNCOPIED]);
            outbox.tail().put_slice(b"head");
            outbox.push(big.clone());
            outbox.tail().put_slice(b"|");
            outbox.push(big.clone());
            outbox.push(Bytes::from_static(b"small"));

            let expected = [b"head", &big[..], b"|", &big[..], b"small"].concat();
            let slow = drain(&mut outbox, most);

            assert!(slow.taken == expected, "writes of at most {most} bytes");
            assert!(outbox.is_empty() && outbox.has_room());
        }
    }

    #[test]
    fn a_head_and_a_small_body_leave_together() {
        let mut outbox = Outbox::default();
        outbox.tail().put_slice(b"head");
        outbox.push(Bytes::from_static(b"body"));

        assert_eq!(drain(&mut outbox, usize::MAX).writes, 1);
    }

    #[test]
    fn a_big_body_leaves_with_its_head_in_one_write() {
        let mut outbox = Outbox::default();
        outbox.tail().put_slice(b"head");
        outbox.push(Bytes::from(vec![0; FULL]));

        assert!(!outbox.has_room());
        assert_eq!(drain(&mut outbox, usize::MAX).writes, 1);
    }
}
