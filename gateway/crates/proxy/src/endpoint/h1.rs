//! An HTTP/1.1 exchange with an endpoint: one owner of the socket, polled for both directions by one task.
//!
//! In the good case a request costs one write and one read. What the endpoint says passes the framing guard byte by
//! byte; whatever it finds ends the exchange and the connection with it.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use portcullis_framing::{Asked, BodyFraming, BodyReader, Bounds, ResponseScanner, Step};
use portcullis_pipeline::UpstreamHead;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::attempt::{EndpointFault, ResponseHead};
use super::head::{self, Framing, MAX_INTERIM};
use super::outbox::Outbox;
use super::pool::{IDLE_TIME, Lane};
use super::stream::{Calm, UpstreamStream};
use crate::message::{Length, Piece};

/// What a response head may be.
const BOUNDS: Bounds = Bounds {
    max_bytes: 64 * 1024,
    max_fields: 256,
};
/// The first read: an ordinary answer whole.
const FIRST_READ: usize = 8 * 1024;
/// A read of a body that is known to be big, or has shown it.
const BIG_READ: usize = 64 * 1024;
/// Room beyond an answer's end: a read that does not fill its room shows the runtime that nothing more is there,
/// which saves the next one from asking.
const SLACK: usize = 256;

/// One exchange.
pub(crate) struct H1Exchange {
    stream: UpstreamStream,
    /// Where the connection is kept afterwards; `None` for one that serves a single request.
    lane: Option<Arc<Lane>>,
    patience: Duration,
    outgoing: Outgoing,
    incoming: Incoming,
}

/// The writing side. It never fails: an endpoint that stops reading may have answered already, and the reading side
/// decides what that answer is worth.
#[derive(Debug)]
struct Outgoing {
    outbox: Outbox,
    framing: Framing,
    /// Everything there is was queued.
    is_finished: bool,
    /// A byte was handed on.
    has_left: bool,
    /// The endpoint stopped reading.
    is_broken: bool,
    /// The body was not what the head said of it.
    is_wrong: bool,
    /// What was written may still wait for the TLS session.
    is_flushed: bool,
}

/// The reading side.
struct Incoming {
    buffer: BytesMut,
    room: usize,
    state: State,
    interim: usize,
    is_head: bool,
    is_upgrade: bool,
    wants_close: bool,
}

enum State {
    Head(ResponseScanner),
    Body(BodyReader),
    /// After a switch of protocols: bytes as they come.
    Raw,
    Over,
    Broken(EndpointFault),
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
            outgoing: Outgoing {
                outbox: Outbox::default(),
                framing: Framing::Nothing,
                is_finished: false,
                has_left: false,
                is_broken: false,
                is_wrong: false,
                is_flushed: true,
            },
            incoming: Incoming {
                buffer: BytesMut::new(),
                room: FIRST_READ,
                state: State::Head(ResponseScanner::new(Asked::Other)),
                interim: 0,
                is_head: false,
                is_upgrade: false,
                wants_close: false,
            },
        }
    }

    /// Queues the head.
    pub(crate) fn send_head(&mut self, head: &UpstreamHead, length: Length) -> Result<(), EndpointFault> {
        let framing = match length {
            Length::None => Framing::Nothing,
            Length::Known(length) => Framing::Length(length),
            Length::Unknown => Framing::Chunked,
        };
        let outbox = self.outgoing.outbox.tail();
        head::write_head(outbox, head, framing, self.lane.is_none())?;
        self.outgoing.framing = framing;
        self.outgoing.is_finished = length == Length::None;
        self.incoming.is_head = head.method == Method::HEAD;
        self.incoming.is_upgrade = head.is_websocket;
        self.incoming.state = State::Head(ResponseScanner::new(self.incoming.asked()));
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

    /// True once a byte of the head was handed on.
    pub(crate) const fn has_left(&self) -> bool {
        self.outgoing.has_left
    }

    /// After a wanted 101: bytes as they come, both ways.
    pub(crate) fn switch(&mut self) {
        self.outgoing.framing = Framing::Raw;
        self.outgoing.is_finished = false;
        self.incoming.state = State::Raw;
    }

    /// The next head: an interim one or the final one.
    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, EndpointFault>> {
        loop {
            let scanner = match &mut self.incoming.state {
                State::Head(scanner) => scanner,
                State::Broken(fault) => return Poll::Ready(Err(*fault)),
                State::Body(_) | State::Raw | State::Over => {
                    return self.fail(EndpointFault::protocol("no head is awaited"));
                }
            };
            match scanner.scan(&self.incoming.buffer, &BOUNDS) {
                Ok(Some(found)) => {
                    let head = self.incoming.take_head(&found);
                    return match head {
                        Ok((head, patience)) => {
                            self.patience = self.patience.min(patience);
                            Poll::Ready(Ok(head))
                        }
                        Err(fault) => self.fail(fault),
                    };
                }
                Ok(None) => {}
                Err(fault) => return self.fail(EndpointFault::protocol(fault.why)),
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

impl Outgoing {
    fn has_room(&self) -> bool {
        self.is_broken || self.outbox.has_room()
    }

    fn is_whole(&self) -> bool {
        let is_delimited = matches!(
            self.framing,
            Framing::Nothing | Framing::Length(0) | Framing::Chunked
        );
        is_delimited && self.is_finished && !self.is_broken && !self.is_wrong && self.outbox.is_empty()
    }

    fn push(&mut self, mut data: Bytes) {
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

    fn finish(&mut self, trailers: Option<HeaderMap>) {
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
    fn poll_write(&mut self, stream: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<()> {
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

    fn poll_flush(&mut self, stream: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<()> {
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

impl Incoming {
    const fn asked(&self) -> Asked {
        match (self.is_head, self.is_upgrade) {
            (true, _) => Asked::Head,
            (false, true) => Asked::Upgrade,
            (false, false) => Asked::Other,
        }
    }

    const fn is_whole(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes a head out of the buffer.
    fn take_head(
        &mut self,
        found: &portcullis_framing::ResponseHead,
    ) -> Result<(ResponseHead, Duration), EndpointFault> {
        let bytes = self.buffer.split_to(found.end.min(self.buffer.len())).freeze();
        let (head, patience) = head::read_head(&bytes, found, self.is_head)?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.is_upgrade {
                return Err(EndpointFault::protocol("a switch of protocols nobody asked for"));
            }
        } else if head.status.is_informational() {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(EndpointFault::protocol("too many interim responses"));
            }
            // The scanner is as new.
            return Ok((head, patience));
        }
        self.wants_close |= found.wants_close;
        if let BodyFraming::Length(length) = found.body {
            let missing = usize::try_from(length).unwrap_or(usize::MAX);
            self.room = missing.saturating_add(SLACK).clamp(FIRST_READ, BIG_READ);
        }
        self.state = State::Body(BodyReader::new(found.body));
        Ok((head, patience))
    }

    /// The next piece that is here already.
    fn next_piece(&mut self) -> Result<Option<Piece>, EndpointFault> {
        let reader = match &mut self.state {
            State::Body(reader) => reader,
            State::Raw if self.buffer.is_empty() => return Ok(None),
            State::Raw => return Ok(Some(Piece::Data(self.buffer.split().freeze()))),
            State::Over => return Ok(None),
            State::Broken(fault) => return Err(*fault),
            State::Head(_) => return Err(EndpointFault::protocol("no body is awaited")),
        };
        let step = reader
            .next(&self.buffer)
            .map_err(|fault| EndpointFault::protocol(fault.why))?;
        match step {
            Step::Content { skip, len } => {
                self.buffer.advance(skip.min(self.buffer.len()));
                let data = self.buffer.split_to(len.min(self.buffer.len())).freeze();
                Ok(Some(Piece::Data(data)))
            }
            Step::More { skip } => {
                self.buffer.advance(skip.min(self.buffer.len()));
                Ok(None)
            }
            Step::End { skip, trailers } => {
                let trailers = head::read_trailers(&self.buffer, &trailers)?;
                self.buffer.advance(skip.min(self.buffer.len()));
                self.state = State::Over;
                Ok(Some(Piece::End(trailers)))
            }
        }
    }

    /// The endpoint closed its half.
    fn end(&mut self) -> Result<(), EndpointFault> {
        self.wants_close = true;
        if let State::Body(reader) = &self.state {
            reader
                .at_eof()
                .map_err(|_| EndpointFault::reset("closed in its body"))?;
        }
        self.state = State::Over;
        Ok(())
    }

    /// Sees to it that a read has room: what is left of a buffer is used as long as it is not small.
    fn make_room(&mut self) {
        let free = self.buffer.capacity() - self.buffer.len();
        if free < self.room / 2 {
            self.buffer.reserve(self.room);
        }
    }

    /// A read that filled its room asks for a bigger one.
    fn learn(&mut self, read: usize) {
        if read >= self.room / 2 {
            self.room = (self.room * 2).min(BIG_READ);
        }
    }
}
