//! The reading side of an HTTP/1.1 exchange: every byte passes the framing guard.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{Method, StatusCode};
use portcullis_framing::{self as framing, Asked, BodyFraming, BodyReader, Bounds, ResponseScanner, Step};
use portcullis_pipeline::UpstreamHead;

use crate::endpoint::attempt::{EndpointFault, ResponseHead};
use crate::endpoint::head::{self, MAX_INTERIM};
use crate::message::Piece;

/// What a response head may be.
const BOUNDS: Bounds = Bounds {
    max_bytes: 64 * 1024,
    max_fields: 256,
};
/// The first read: an ordinary answer whole.
const FIRST_READ: usize = 8 * 1024;
/// A read of a body that is known to be big, or has shown it.
const BIG_READ: usize = 32 * 1024;
/// Room beyond an answer's end: a read that does not fill its room shows the runtime that nothing more is there,
/// which saves the next one from asking.
const SLACK: usize = 256;

/// The reading side.
pub(super) struct Incoming {
    pub(super) buffer: BytesMut,
    room: usize,
    scanner: ResponseScanner,
    pub(super) state: State,
    interim: usize,
    is_head: bool,
    is_upgrade: bool,
    /// The endpoint takes no further request on this connection.
    pub(super) wants_close: bool,
}

/// What is read next.
pub(super) enum State {
    /// A head, interim or final.
    Head,
    /// The body.
    Body(BodyReader),
    /// After a switch of protocols: bytes as they come.
    Raw,
    /// Nothing: the answer was read to its end.
    Over,
    /// Nothing, ever.
    Broken(EndpointFault),
}

impl Incoming {
    /// Nothing was asked yet.
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            room: FIRST_READ,
            scanner: ResponseScanner::new(Asked::Other),
            state: State::Head,
            interim: 0,
            is_head: false,
            is_upgrade: false,
            wants_close: false,
        }
    }

    /// What is asked decides what the answer's head means.
    pub(super) fn expect(&mut self, head: &UpstreamHead) {
        self.is_head = head.method == Method::HEAD;
        self.is_upgrade = head.is_websocket;
        self.scanner = ResponseScanner::new(self.asked());
        self.state = State::Head;
    }

    const fn asked(&self) -> Asked {
        match (self.is_head, self.is_upgrade) {
            (true, _) => Asked::Head,
            (false, true) => Asked::Upgrade,
            (false, false) => Asked::Other,
        }
    }

    /// True when the answer was read to its end.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The next head, when all of it is here, and how long the endpoint keeps the connection afterwards.
    pub(super) fn next_head(&mut self) -> Result<Option<(ResponseHead, Duration)>, EndpointFault> {
        match &self.state {
            State::Head => {}
            State::Broken(fault) => return Err(*fault),
            State::Body(_) | State::Raw | State::Over => {
                return Err(EndpointFault::protocol("no head is awaited"));
            }
        }
        match self.scanner.scan(&self.buffer, &BOUNDS) {
            Ok(Some(found)) => self.take_head(&found).map(Some),
            Ok(None) => Ok(None),
            Err(fault) => Err(EndpointFault::protocol(fault.why)),
        }
    }

    /// Takes a head out of the buffer.
    fn take_head(
        &mut self,
        found: &framing::ResponseHead,
    ) -> Result<(ResponseHead, Duration), EndpointFault> {
        let bytes = self.buffer.split_to(found.end.min(self.buffer.len())).freeze();
        let (head, patience) = head::read_head(&bytes, found, self.is_head)?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.is_upgrade {
                return Err(EndpointFault::protocol("a switch of protocols nobody asked for"));
            }
            if !switches_as_asked(&bytes, found) {
                return Err(EndpointFault::protocol("a switch to another protocol"));
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
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>, EndpointFault> {
        let reader = match &mut self.state {
            State::Body(reader) => reader,
            State::Raw if self.buffer.is_empty() => return Ok(None),
            State::Raw => return Ok(Some(Piece::Data(self.buffer.split().freeze()))),
            State::Over => return Ok(None),
            State::Broken(fault) => return Err(*fault),
            State::Head => return Err(EndpointFault::protocol("no body is awaited")),
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
    pub(super) fn end(&mut self) -> Result<(), EndpointFault> {
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
    pub(super) fn make_room(&mut self) {
        let free = self.buffer.capacity() - self.buffer.len();
        if free < self.room / 2 {
            self.buffer.reserve(self.room);
        }
    }

    /// A read that filled its room asks for a bigger one.
    pub(super) fn learn(&mut self, read: usize) {
        if read >= self.room / 2 {
            self.room = (self.room * 2).min(BIG_READ);
        }
    }
}

/// RFC 9110 sections 7.8 and 8.6: the endpoint names the one protocol that was asked for, and no length.
fn switches_as_asked(bytes: &[u8], head: &framing::ResponseHead) -> bool {
    let is = |field: &framing::Field, name: &str| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes());
    let mut named = head.fields.iter().filter(|field| is(field, "upgrade"));
    let is_named = named
        .next()
        .is_some_and(|field| field.value.of(bytes).eq_ignore_ascii_case(b"websocket"));
    is_named && named.next().is_none() && !head.fields.iter().any(|field| is(field, "content-length"))
}
