//! An HTTP/1.1 exchange with an endpoint: one owner of the socket, polled for both directions by one task.
//!
//! In the good case a request costs one write and one read. What the endpoint says passes the framing guard byte by
//! byte; whatever it finds ends the exchange and the connection with it.

mod incoming;
mod outgoing;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use portcullis_identity::EndpointProof;
use portcullis_pipeline::UpstreamHead;
use tokio::io::AsyncReadExt;

use self::incoming::{Incoming, State};
use self::outgoing::Outgoing;
use super::attempt::{EndpointFault, ResponseHead};
use super::pool::{IDLE_TIME, Lane};
use super::stream::{Calm, UpstreamStream};
use crate::message::{Length, Piece};

/// One exchange.
pub(crate) struct H1Exchange {
    stream: UpstreamStream,
    /// Where the connection is kept afterwards; `None` for one that serves a single request.
    lane: Option<Arc<Lane>>,
    patience: Duration,
    outgoing: Outgoing,
    incoming: Incoming,
}

impl H1Exchange {
    /// An exchange on a connection that goes back to its lane afterwards.
    pub(crate) fn on_lane(stream: UpstreamStream, lane: Arc<Lane>, patience: Duration) -> Self {
        Self::new(stream, Some(lane), patience)
    }

    /// An exchange on a connection that serves nothing else.
    pub(crate) fn alone(stream: UpstreamStream) -> Self {
        Self::new(stream, None, IDLE_TIME)
    }

    fn new(stream: UpstreamStream, lane: Option<Arc<Lane>>, patience: Duration) -> Self {
        Self {
            stream,
            lane,
            patience,
            outgoing: Outgoing::new(),
            incoming: Incoming::new(),
        }
    }

    /// Queues the head.
    pub(crate) fn send_head(&mut self, head: &UpstreamHead, length: Length) -> Result<(), EndpointFault> {
        self.outgoing.open(head, length, self.lane.is_none())?;
        self.incoming.expect(head);
        Ok(())
    }

    /// Ready when one more piece may be pushed.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.outgoing.has_room() {
            ready!(self.outgoing.poll_write(&mut self.stream, context));
        }
        Poll::Ready(())
    }

    /// Queues a piece of the body.
    pub(crate) fn push(&mut self, data: Bytes) {
        self.outgoing.push(data);
    }

    /// Queues the end of the body.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) {
        self.outgoing.finish(trailers);
    }

    /// Ready when all that was queued is with the kernel.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.outgoing.poll_flush(&mut self.stream, context)
    }

    /// What the endpoint proved; `None` in plaintext.
    pub(crate) fn proof(&self) -> Option<EndpointProof<'_>> {
        self.lane.as_ref()?.proof(&self.stream)
    }

    /// True once a byte of the head was handed on.
    pub(crate) const fn has_left(&self) -> bool {
        self.outgoing.has_left
    }

    /// After a wanted 101: bytes as they come, both ways.
    pub(crate) fn switch(&mut self) {
        self.outgoing.switch();
        self.incoming.state = State::Raw;
    }

    /// The next head: an interim one or the final one.
    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, EndpointFault>> {
        loop {
            match self.incoming.next_head() {
                Ok(Some((head, patience))) => {
                    self.patience = self.patience.min(patience);
                    return Poll::Ready(Ok(head));
                }
                Ok(None) => {}
                Err(fault) => return self.fail(fault),
            }
            match ready!(self.poll_read(context)) {
                Ok(0) => return self.fail(EndpointFault::reset("closed before its head was whole")),
                Ok(_) if !self.outgoing.has_left => {
                    return self.fail(EndpointFault::protocol("an answer before the request"));
                }
                Ok(_) => {}
                Err(_) => return self.fail(EndpointFault::reset("broke before its head was whole")),
            }
        }
    }

    /// The next piece of the body.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, EndpointFault>> {
        loop {
            match self.incoming.next_piece() {
                Ok(Some(piece)) => return Poll::Ready(Ok(piece)),
                Ok(None) => {}
                Err(fault) => return self.fail(fault),
            }
            if matches!(self.incoming.state, State::Over) {
                return Poll::Pending;
            }
            match ready!(self.poll_read(context)) {
                Ok(0) => match self.incoming.end() {
                    Ok(()) => return Poll::Ready(Ok(Piece::End(None))),
                    Err(fault) => return self.fail(fault),
                },
                Ok(_) => {}
                Err(_) => return self.fail(EndpointFault::reset("broke in its body")),
            }
        }
    }

    /// Gives the connection back when another request may use it; closes it otherwise.
    pub(crate) fn release(mut self) {
        let Some(lane) = self.lane.take() else {
            return;
        };
        if !self.outgoing.has_left {
            // The request never left: the connection is as clean as it was.
            if self.incoming.buffer.is_empty() && !self.outgoing.is_broken {
                lane.keep_h1(self.stream, self.patience);
            }
            return;
        }
        let is_whole = self.outgoing.is_whole() && self.incoming.is_whole();
        if !is_whole || self.incoming.wants_close {
            return;
        }
        let calm = if self.incoming.buffer.is_empty() {
            self.stream.calm()
        } else {
            Calm::Talking
        };
        match calm {
            Calm::Quiet => lane.keep_h1(self.stream, self.patience),
            Calm::Talking => lane.count_talked(),
            Calm::Closed => {}
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.incoming.make_room();
        let read = ready!(pin!(self.stream.read_buf(&mut self.incoming.buffer)).poll(context))?;
        self.incoming.learn(read);
        Poll::Ready(Ok(read))
    }

    fn fail<T>(&mut self, fault: EndpointFault) -> Poll<Result<T, EndpointFault>> {
        let fault = if self.outgoing.has_left {
            fault
        } else {
            fault.unprocessed()
        };
        self.incoming.state = State::Broken(fault);
        Poll::Ready(Err(fault))
    }
}
