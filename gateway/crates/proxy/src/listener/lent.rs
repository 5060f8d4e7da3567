//! The connection as Pingora sees it during one request: exactly that request's bytes, and not the socket itself.
//!
//! Reads end where the message ends, so that a pipelined request waits its turn and nothing that a refused request
//! left behind is ever taken for a request. Dropping the lent stream gives the socket back to the connection loop,
//! which alone closes it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::{BodyFraming, Boundary};
use super::socket::ClientSocket;
use crate::link::{RequestLink, lock};
use crate::wire::pingora_stream;

/// Read at once from the socket.
const READ_CHUNK: usize = 16 * 1024;
/// Pipelined bytes kept while a request is under way; the rest stays in the kernel.
const MAX_AHEAD: usize = 64 * 1024;
/// Written at once: one TLS record.
const WRITE_CHUNK: usize = 16 * 1024;

/// What comes back when Pingora is done with a request.
#[derive(Debug)]
pub(crate) struct GivenBack {
    /// The socket.
    pub(crate) socket: ClientSocket,
    /// Bytes read past what was handed on.
    pub(crate) ahead: BytesMut,
    /// Bytes that were not written yet.
    pub(crate) unwritten: BytesMut,
    /// True when the whole request was handed on, so that `ahead` starts with another one.
    pub(crate) is_at_boundary: bool,
}

/// Where a lent stream is given back.
pub(crate) type Return = Arc<Mutex<Option<GivenBack>>>;

/// A connection lent for one request.
pub(crate) struct LentStream {
    socket: Option<ClientSocket>,
    /// Starts with the head, which is handed on as it is.
    ahead: BytesMut,
    head: usize,
    boundary: Boundary,
    unwritten: BytesMut,
    link: Arc<RequestLink>,
    home: Return,
}

impl LentStream {
    /// Lends the socket; `ahead` starts with the head of `head` bytes.
    pub(crate) fn new(
        socket: ClientSocket,
        ahead: BytesMut,
        head: (usize, BodyFraming),
        link: Arc<RequestLink>,
        home: Return,
    ) -> Self {
        let (head, framing) = head;
        let boundary = Boundary::new(framing);
        Self {
            socket: Some(socket),
            ahead,
            head,
            boundary,
            unwritten: BytesMut::new(),
            link,
            home,
        }
    }

    /// Hands on bytes that were read ahead; false when none of them belong to this request.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        if self.head > 0 {
            let count = self.head.min(buffer.remaining());
            buffer.put_slice(self.ahead.get(..count).unwrap_or_default());
            self.ahead.advance(count);
            self.head -= count;
            return Ok(true);
        }
        if self.link.is_tunnel() {
            self.boundary = Boundary::Tunnel;
        }
        let count = self.ahead.len().min(buffer.remaining());
        let window = self.ahead.get(..count).unwrap_or_default();
        let taken = self.boundary.advance(window).map_err(|fault| {
            self.link.refuse(fault.into());
            io::Error::new(io::ErrorKind::InvalidData, fault.why)
        })?;
        buffer.put_slice(window.get(..taken).unwrap_or_default());
        self.ahead.advance(taken);
        Ok(taken > 0)
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(socket) = self.socket.as_mut() else {
            return Poll::Ready(Ok(0));
        };
        socket.poll_read_some(context, &mut self.ahead, READ_CHUNK)
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.socket.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        while !self.unwritten.is_empty() {
            let count = ready!(Pin::new(&mut *socket).poll_write(context, &self.unwritten))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unwritten.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for LentStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ahead.is_empty() && this.hand_on(buffer)? {
                return Poll::Ready(Ok(()));
            }
            // Between messages only the client's leaving is of interest.
            if this.boundary.is_done() && this.ahead.len() >= MAX_AHEAD {
                return Poll::Pending;
            }
            if this.link.is_tunnel_over(context) {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_fill(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for LentStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.link.is_begun() {
            // Pingora answers by itself here; the connection loop answers instead and records it.
            return Poll::Ready(Ok(bytes.len()));
        }
        if this.unwritten.len() + bytes.len() > WRITE_CHUNK {
            ready!(this.poll_write_out(context))?;
        }
        let count = bytes.len().min(WRITE_CHUNK);
        this.unwritten
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(context))?;
        match this.socket.as_mut() {
            Some(socket) => Pin::new(socket).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

impl Drop for LentStream {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            *lock(&self.home) = Some(GivenBack {
                socket,
                ahead: std::mem::take(&mut self.ahead),
                unwritten: std::mem::take(&mut self.unwritten),
                is_at_boundary: self.head == 0 && self.boundary.is_done() && !self.link.is_tunnel(),
            });
        }
    }
}

impl std::fmt::Debug for LentStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LentStream")
            .field("boundary", &self.boundary)
            .finish_non_exhaustive()
    }
}

pingora_stream!(LentStream);
