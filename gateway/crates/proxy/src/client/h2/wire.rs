//! The socket as the HTTP/2 engine sees it: metered both ways, and corked.
//!
//! h2 flushes after every larger DATA frame. The wire collects what is written and the connection's loop writes it
//! once per wake-up, so that the answers of one wake-up leave in one send and in full TLS records. The collected
//! bytes are bounded: beyond [`HIGH_WATER`] they are written through, and when the client does not read, h2 waits.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use super::cause::Cause;
use super::frames::kind;
use super::meter::Meter;

/// Bytes collected before they are written through: four full TLS records.
const HIGH_WATER: usize = 64 * 1024;
/// Octets of header blocks let through at a time: the loop takes the streams they open, and with them the heads'
/// share of its memory, before more are decoded. A few hundred ordinary repeated heads fit, and not three bombs: a
/// head of 64 KiB takes 2 KiB when each field is one octet of HPACK.
const HEADER_BATCH: usize = 4 * 1024;
/// Drained at most from a client that still sends, so that it can read the last frames.
const DRAIN_BYTES: usize = 64 * 1024;
/// Drained at most so long.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// One end of the wire: h2 has one and the loop the other.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    shared: Arc<Mutex<Shared<S>>>,
}

/// What came from the client, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// When it last sent anything.
    pub(crate) last_read: Instant,
    /// When it last took anything.
    pub(crate) last_write: Instant,
    /// Something waits to be written.
    pub(crate) is_behind: bool,
    /// Since when it owes the rest of a head.
    pub(crate) amid_since: Option<Instant>,
    /// Preface and SETTINGS came.
    pub(crate) is_greeted: bool,
    /// It acknowledged our SETTINGS.
    pub(crate) is_acknowledged: bool,
}

#[derive(Debug)]
struct Shared<S> {
    socket: S,
    meter: Meter,
    collected: BytesMut,
    opened: Instant,
    last_read: Instant,
    last_write: Instant,
    amid_since: Option<Instant>,
    cause: Option<Cause>,
    /// The socket had nothing more to read and will wake the reader.
    is_dry: bool,
    is_unflushed: bool,
    is_over: bool,
}

impl<S> Wire<S> {
    /// Both ends of a wire on this socket.
    pub(crate) fn pair(socket: S) -> (Self, Self) {
        let now = Instant::now();
        let shared = Arc::new(Mutex::new(Shared {
            socket,
            meter: Meter::default(),
            collected: BytesMut::new(),
            opened: now,
            last_read: now,
            last_write: now,
            amid_since: None,
            cause: None,
            is_dry: false,
            is_unflushed: false,
            is_over: false,
        }));
        let other = Arc::clone(&shared);
        (Self { shared }, Self { shared: other })
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the meter.
    pub(crate) fn with_meter<T>(&self, look: impl FnOnce(&mut Meter) -> T) -> T {
        look(&mut self.lock().meter)
    }

    /// What the meter found; nothing is read any more when it found something.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.lock().cause
    }

    /// What came from the client, and when.
    pub(crate) fn heard(&self) -> Heard {
        let shared = self.lock();
        Heard {
            last_read: shared.last_read,
            last_write: shared.last_write,
            is_behind: !shared.collected.is_empty(),
            amid_since: shared.amid_since,
            is_greeted: shared.meter.is_greeted(),
            is_acknowledged: shared.meter.is_acknowledged(),
        }
    }

    /// Answers for a stream whose window was opened beyond its end after h2 had forgotten it (RFC 9113
    /// section 6.9.1).
    pub(crate) fn reset_overflowed(&self) {
        let mut shared = self.lock();
        let Some(stream) = shared.meter.take_overflowed() else {
            return;
        };
        let mut frame = [0, 0, 4, kind::RST_STREAM, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (_, rest) = frame.split_at_mut(5);
        let (id, code) = rest.split_at_mut(4);
        id.copy_from_slice(&stream.to_be_bytes());
        code.copy_from_slice(&u32::from(h2::Reason::FLOW_CONTROL_ERROR).to_be_bytes());
        shared.note_sent(&frame);
        shared.collected.extend_from_slice(&frame);
    }

    /// The reader was woken: the socket is asked again.
    pub(crate) fn refresh(&self) {
        let mut shared = self.lock();
        shared.is_dry = false;
        shared.meter.clear_header_bytes();
    }

    /// What is reserved for bytes that wait to be written.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.lock().collected.capacity()
    }

    /// Keeps no memory while there is nothing to do.
    pub(crate) fn shrink(&self) {
        let mut shared = self.lock();
        if shared.collected.is_empty() {
            shared.collected = BytesMut::new();
        }
        shared.meter.shrink();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Writes what was collected and flushes the socket.
    pub(crate) fn poll_drain(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.lock();
        ready!(shared.poll_write_out(context))?;
        if shared.is_unflushed {
            ready!(Pin::new(&mut shared.socket).poll_flush(context))?;
            shared.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is left, half-closes, drains a bounded amount and closes, so that the last frames arrive.
    pub(crate) async fn close(self) {
        let Ok(shared) = Arc::try_unwrap(self.shared) else {
            return;
        };
        let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut socket, collected, is_over) = (shared.socket, shared.collected, shared.is_over);
        let closing = async {
            socket.write_all(&collected).await?;
            drop(collected);
            socket.shutdown().await?;
            let mut drained = if is_over { DRAIN_BYTES } else { 0 };
            let mut sink = [0_u8; 4096];
            while drained < DRAIN_BYTES {
                match socket.read(&mut sink).await? {
                    0 => break,
                    count => drained += count,
                }
            }
            io::Result::Ok(())
        };
        // Whatever goes wrong here, the connection ends by being dropped.
        let _ = timeout(DRAIN_TIME, closing).await;
    }
}

impl<S> Shared<S> {
    /// Lets the meter see what is sent.
    fn note_sent(&mut self, bytes: &[u8]) {
        let now = millis(self.opened.elapsed());
        if let Err(cause) = self.meter.send(now, bytes) {
            self.cause.get_or_insert(cause);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shared<S> {
    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.collected.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, &self.collected))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.collected.advance(written);
            self.is_unflushed = true;
            self.last_write = Instant::now();
        }
        self.collected.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cause.is_some() || self.is_dry {
            return Poll::Pending;
        }
        if self.meter.header_bytes() >= HEADER_BATCH {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        self.is_dry = read.is_pending();
        ready!(read)?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        if bytes.is_empty() {
            self.is_over = true;
            return Poll::Ready(Ok(()));
        }
        let now = Instant::now();
        self.last_read = now;
        if let Err(cause) = self.meter.receive(millis(now - self.opened), bytes) {
            self.cause = Some(cause);
            buffer.set_filled(before);
            return Poll::Pending;
        }
        self.amid_since = match (self.meter.is_amid(), self.amid_since) {
            (false, _) => None,
            (true, None) => Some(now),
            (true, since) => since,
        };
        Poll::Ready(Ok(()))
    }

    fn poll_collect<'a>(
        &mut self,
        context: &mut Context<'_>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        if self.collected.len() >= HIGH_WATER
            && let Poll::Ready(Err(error)) = self.poll_write_out(context)
        {
            return Poll::Ready(Err(error));
        }
        let mut room = HIGH_WATER.saturating_sub(self.collected.len());
        if room == 0 {
            // The socket is full and will wake the writer.
            return Poll::Pending;
        }
        let mut taken = 0;
        for piece in pieces {
            let part = piece.get(..piece.len().min(room)).unwrap_or_default();
            self.note_sent(part);
            self.collected.extend_from_slice(part);
            room -= part.len();
            taken += part.len();
        }
        Poll::Ready(Ok(taken))
    }
}

/// Milliseconds as the meter counts them.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lock().poll_receive(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_collect(context, std::iter::once(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let pieces = pieces.iter().map(|piece| &**piece);
        self.lock().poll_collect(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the loop flushes once everything that is ready has run.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: the loop closes the socket when h2 is done with it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
