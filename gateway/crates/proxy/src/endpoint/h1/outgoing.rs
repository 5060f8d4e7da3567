//! The writing side of an HTTP/1.1 exchange.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use http::HeaderMap;
use portcullis_pipeline::UpstreamHead;
use tokio::io::AsyncWrite;

use crate::endpoint::attempt::EndpointFault;
use crate::endpoint::head::{self, Framing};
use crate::endpoint::outbox::Outbox;
use crate::endpoint::stream::UpstreamStream;
use crate::message::Length;

/// The writing side. It never fails: an endpoint that stops reading may have answered already, and the reading side
/// decides what that answer is worth.
#[derive(Debug)]
pub(super) struct Outgoing {
    outbox: Outbox,
    framing: Framing,
    /// Everything there is was queued.
    is_finished: bool,
    /// A byte was handed on.
    pub(super) has_left: bool,
    /// The endpoint stopped reading.
    pub(super) is_broken: bool,
    /// The body was not what the head said of it.
    is_wrong: bool,
    /// What was written may still wait for the TLS session.
    is_flushed: bool,
}

impl Outgoing {
    /// Nothing to send yet.
    pub(super) fn new() -> Self {
        Self {
            outbox: Outbox::default(),
            framing: Framing::Nothing,
            is_finished: false,
            has_left: false,
            is_broken: false,
            is_wrong: false,
            is_flushed: true,
        }
    }

    /// Queues the head; `is_last` says that no other request follows on this connection.
    pub(super) fn open(
        &mut self,
        head: &UpstreamHead,
        length: Length,
        is_last: bool,
    ) -> Result<(), EndpointFault> {
        let framing = match length {
            Length::None => Framing::Nothing,
            Length::Known(length) => Framing::Length(length),
            Length::Unknown => Framing::Chunked,
        };
        head::write_head(self.outbox.tail(), head, framing, is_last)?;
        self.framing = framing;
        self.is_finished = length == Length::None;
        Ok(())
    }

    /// From now on bytes are sent as they come.
    pub(super) const fn switch(&mut self) {
        self.framing = Framing::Raw;
        self.is_finished = false;
    }

    /// True while one more piece may be pushed.
    pub(super) fn has_room(&self) -> bool {
        self.is_broken || self.outbox.has_room()
    }

    /// True when the whole request was sent as its head said.
    pub(super) fn is_whole(&self) -> bool {
        let is_delimited = matches!(
            self.framing,
            Framing::Nothing | Framing::Length(0) | Framing::Chunked
        );
        is_delimited && self.is_finished && !self.is_broken && !self.is_wrong && self.outbox.is_empty()
    }

    /// Queues a piece of the body.
    pub(super) fn push(&mut self, mut data: Bytes) {
        if self.is_broken || self.is_finished || data.is_empty() {
            return;
        }
        match &mut self.framing {
            Framing::Nothing => self.is_wrong = true,
            Framing::Raw => self.outbox.push(data),
            Framing::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left -= taken as u64;
                let surplus = data.split_off(taken);
                self.outbox.push(data);
                // The client half refuses what goes beyond its own length; this one never sends it.
                self.is_wrong |= !surplus.is_empty();
            }
            Framing::Chunked => {
                head::put_chunk_size(self.outbox.tail(), data.len());
                self.outbox.push(data);
                self.outbox.tail().put_slice(b"\r\n");
            }
        }
    }

    /// Queues the end of the body.
    pub(super) fn finish(&mut self, trailers: Option<HeaderMap>) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        match self.framing {
            Framing::Chunked => {
                let out = self.outbox.tail();
                out.put_slice(b"0\r\n");
                for (name, value) in trailers.and_then(head::retain_trailers).iter().flatten() {
                    head::put_field(out, name, value);
                }
                out.put_slice(b"\r\n");
            }
            // The half that is over is closed, once all of it is written.
            Framing::Raw => self.is_flushed = false,
            Framing::Nothing | Framing::Length(_) => {}
        }
    }

    /// Writes once.
    pub(super) fn poll_write(&mut self, stream: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<()> {
        if self.is_broken || self.outbox.is_empty() {
            return Poll::Ready(());
        }
        match ready!(self.outbox.poll_write(stream, context)) {
            Ok(_) => {
                self.has_left = true;
                self.is_flushed = false;
            }
            Err(_) => self.give_up(),
        }
        Poll::Ready(())
    }

    /// Writes everything; ready when nothing is left or the endpoint stopped reading.
    pub(super) fn poll_flush(&mut self, stream: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<()> {
        while !self.is_broken && !self.outbox.is_empty() {
            ready!(self.poll_write(stream, context));
        }
        if self.is_broken || self.is_flushed {
            return Poll::Ready(());
        }
        let flushed = if self.framing == Framing::Raw && self.is_finished {
            ready!(Pin::new(stream).poll_shutdown(context))
        } else {
            ready!(Pin::new(stream).poll_flush(context))
        };
        self.is_flushed = true;
        if flushed.is_err() {
            self.give_up();
        }
        Poll::Ready(())
    }

    fn give_up(&mut self) {
        self.is_broken = true;
        self.outbox.clear();
    }
}
