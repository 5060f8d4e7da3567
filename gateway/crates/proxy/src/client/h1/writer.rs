//! The answer side of a connection: heads, content and ends as bytes, framed as the head said and never otherwise.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use portcullis_framing::is_trailer_allowed;

use super::outbox::Outbox;
use crate::client::ClientFault;
use crate::listener::socket::ClientSocket;
use crate::message::Length;

/// Unwritten bytes above which an answer's next piece waits.
const MAX_UNWRITTEN: usize = 32 * 1024;

/// What the request says about its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// There is never a body.
    pub(super) is_head: bool,
    /// The client knows neither chunks nor interim responses.
    pub(super) is_http10: bool,
}

/// How the answer's content ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// No final head was queued.
    Unstarted,
    /// There is no body, whatever is pushed.
    Bodiless,
    /// So many bytes are missing.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The connection's end.
    UntilClose,
    /// Raw bytes after a switch of protocols.
    Tunnel,
    /// All of it was queued.
    Finished,
    /// It cannot be finished any more.
    Broken,
}

/// The answer side of one request.
pub(super) struct Writer {
    outbox: Outbox,
    asked: Asked,
    framing: Framing,
    status: Option<StatusCode>,
    is_closing: bool,
}

impl Writer {
    /// Nothing was answered yet.
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            outbox: Outbox::default(),
            asked,
            framing: Framing::Unstarted,
            status: None,
            is_closing: false,
        }
    }

    /// The status of the final head.
    #[cfg(test)]
    pub(super) const fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// True when the answer was queued whole, written whole, and the connection was not said to close.
    pub(super) fn leaves_connection(&self) -> bool {
        self.framing == Framing::Finished && !self.is_closing && self.outbox.is_empty()
    }

    /// True when the end of the connection must not look like the end of the answer.
    pub(super) const fn is_cut(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// What was not written.
    pub(super) fn into_unwritten(self) -> BytesMut {
        self.outbox.into_bytes()
    }

    /// Queues an interim response.
    pub(super) fn interim(&mut self, status: StatusCode, fields: Option<&HeaderMap>) {
        let is_crowded = self.outbox.len() >= MAX_UNWRITTEN;
        if self.asked.is_http10 || self.framing != Framing::Unstarted || is_crowded {
            // They may always be left out, and an endpoint could send them without end.
            return;
        }
        let head = self.outbox.room(256);
        put_status(head, status);
        fields
            .into_iter()
            .for_each(|fields| put_fields(head, fields, false));
        head.put_slice(b"\r\n");
    }

    /// Queues the final head; `is_closing` when no further request is taken.
    pub(super) fn start(
        &mut self,
        status: StatusCode,
        fields: &HeaderMap,
        length: Length,
        is_closing: bool,
    ) -> Result<(), ClientFault> {
        if self.framing != Framing::Unstarted || status.is_informational() {
            return Err(self.broken("a head out of turn"));
        }
        let is_bodiless = self.asked.is_head || has_no_body(status);
        self.framing = match length {
            _ if is_bodiless => Framing::Bodiless,
            Length::None => Framing::Length(0),
            Length::Known(length) => Framing::Length(length),
            Length::Unknown if self.asked.is_http10 => Framing::UntilClose,
            Length::Unknown => Framing::Chunked,
        };
        self.is_closing = is_closing || self.framing == Framing::UntilClose;
        self.status = Some(status);
        // A small body follows in the same buffer.
        let head = self.outbox.room(64 * (fields.len() + 2) + small(self.framing));
        put_status(head, status);
        // The length that a body would have had is its own to say (RFC 9110 section 8.6).
        let tells_length = is_bodiless && status != StatusCode::NO_CONTENT;
        put_fields(head, fields, tells_length);
        match (self.framing, length) {
            (Framing::Length(length), _) => put_length(head, length),
            (Framing::Bodiless, Length::Known(length))
                if tells_length && !fields.contains_key(CONTENT_LENGTH) =>
            {
                put_length(head, length);
            }
            (Framing::Chunked, _) => put_field(head, &TRANSFER_ENCODING, b"chunked"),
            _ => {}
        }
        if self.is_closing {
            put_field(head, &CONNECTION, b"close");
        } else if self.asked.is_http10 {
            put_field(head, &CONNECTION, b"keep-alive");
        }
        head.put_slice(b"\r\n");
        Ok(())
    }

    /// Queues `101 Switching Protocols`.
    pub(super) fn switch(&mut self, fields: &HeaderMap) {
        let status = StatusCode::SWITCHING_PROTOCOLS;
        let head = self.outbox.room(256);
        put_status(head, status);
        for (name, value) in fields {
            if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
                put_field(head, name, value.as_bytes());
            }
        }
        head.put_slice(b"\r\n");
        self.framing = Framing::Tunnel;
        self.status = Some(status);
        self.is_closing = true;
    }

    /// Queues content.
    pub(super) fn push(&mut self, data: Bytes) -> Result<(), ClientFault> {
        if data.is_empty() {
            return Ok(());
        }
        let size = data.len() as u64;
        match self.framing {
            Framing::Bodiless => {}
            Framing::Length(left) if left >= size => {
                self.framing = Framing::Length(left - size);
                self.outbox.push(data);
            }
            Framing::Chunked => {
                let line = self.outbox.room(24);
                put_hexadecimal(line, size);
                line.put_slice(b"\r\n");
                self.outbox.push(data);
                self.outbox.room(2).put_slice(b"\r\n");
            }
            Framing::UntilClose | Framing::Tunnel => self.outbox.push(data),
            Framing::Length(_) => return Err(self.broken("the answer is longer than its length")),
            Framing::Unstarted | Framing::Finished | Framing::Broken => {
                return Err(self.broken("content out of turn"));
            }
        }
        Ok(())
    }

    /// Queues the end; trailers only where there are chunks to carry them.
    pub(super) fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), ClientFault> {
        match self.framing {
            Framing::Bodiless | Framing::Length(0) | Framing::UntilClose | Framing::Tunnel => {}
            Framing::Chunked => {
                let end = self.outbox.room(8 + 64 * trailers.map_or(0, HeaderMap::len));
                end.put_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if is_trailer_allowed(name.as_str().as_bytes()) {
                        put_field(end, name, value.as_bytes());
                    }
                }
                end.put_slice(b"\r\n");
            }
            Framing::Length(_) => return Err(self.broken("the answer is shorter than its length")),
            Framing::Unstarted | Framing::Finished | Framing::Broken => {
                return Err(self.broken("an end out of turn"));
            }
        }
        self.framing = Framing::Finished;
        Ok(())
    }

    /// Ready when one more piece may be pushed.
    pub(super) fn poll_room(
        &mut self,
        socket: &mut ClientSocket,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ClientFault>> {
        if self.outbox.len() < MAX_UNWRITTEN {
            return Poll::Ready(Ok(()));
        }
        match self.poll_flush(socket, context)? {
            Poll::Pending if self.outbox.len() >= MAX_UNWRITTEN => Poll::Pending,
            Poll::Pending | Poll::Ready(()) => Poll::Ready(Ok(())),
        }
    }

    /// Writes everything that is queued.
    pub(super) fn poll_flush(
        &mut self,
        socket: &mut ClientSocket,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ClientFault>> {
        let written = ready!(self.outbox.poll_write(socket, context));
        if written.is_err() {
            self.framing = Framing::Broken;
        }
        Poll::Ready(written.map_err(ClientFault::from))
    }

    fn broken(&mut self, why: &'static str) -> ClientFault {
        self.framing = Framing::Broken;
        ClientFault::Io(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// True for a status whose answer never has a body (RFC 9110 sections 15.3.5 and 15.4.5).
fn has_no_body(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Room for a body that is written together with its head.
fn small(framing: Framing) -> usize {
    match framing {
        Framing::Length(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length < Outbox::LARGE)
            .unwrap_or(0),
        _ => 0,
    }
}

/// What decides where the message ends is written by us alone.
fn is_framing(name: &HeaderName) -> bool {
    name == CONTENT_LENGTH || name == TRANSFER_ENCODING || name == CONNECTION
}

fn put_status(head: &mut BytesMut, status: StatusCode) {
    if status == StatusCode::OK {
        head.put_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_slice(b" ");
    head.put_slice(status.canonical_reason().unwrap_or("").as_bytes());
    head.put_slice(b"\r\n");
}

fn put_fields(head: &mut BytesMut, fields: &HeaderMap, with_length: bool) {
    for (name, value) in fields {
        if !is_framing(name) || (with_length && name == CONTENT_LENGTH) {
            put_field(head, name, value.as_bytes());
        }
    }
}

fn put_field(head: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    head.put_slice(name.as_str().as_bytes());
    head.put_slice(b": ");
    head.put_slice(value);
    head.put_slice(b"\r\n");
}

fn put_length(head: &mut BytesMut, length: u64) {
    put_field(head, &CONTENT_LENGTH, http::HeaderValue::from(length).as_bytes());
}

fn put_hexadecimal(line: &mut BytesMut, mut number: u64) {
    let mut digits = [0_u8; 16];
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = match (number & 15) as u8 {
            digit @ 0..=9 => b'0' + digit,
            digit => b'a' + digit - 10,
        };
        number >>= 4;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    line.put_slice(digits.get(start..).unwrap_or_default());
}
