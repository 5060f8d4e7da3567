//! The client's half of a request: the same words over HTTP/1.1 and HTTP/2.
//!
//! A client is polled by the one task of its request. What it sends arrives as a [`ClientHead`], pieces and an end;
//! what it is sent is queued by `start`, `push` and `finish`, and leaves at `poll_flush`.

pub(crate) mod h1;
pub(crate) mod h2;

use std::io;
use std::ops::Deref;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use portcullis_framing::Fault;

use crate::message::{Length, Piece};
use h1::H1Client;
use h2::H2Client;

/// The head of a request as it was received: nothing in it is trusted yet.
#[derive(Debug)]
pub(crate) struct ClientHead {
    /// The method.
    pub(crate) method: Method,
    /// The path and query as bytes of the wire, without scheme and authority.
    pub(crate) target: Bytes,
    /// `:authority`, or the authority of an absolute-form target.
    pub(crate) authority: Option<NamedHost>,
    /// The fields.
    pub(crate) headers: HeaderMap,
    /// The protocol version.
    pub(crate) version: Version,
    /// What an HTTP/1.1 client asks to switch to: only when `Connection` says that the wish is this client's own
    /// (RFC 9110 section 7.8), and never in HTTP/1.0, whose clients cannot follow.
    pub(crate) upgrade: Option<HeaderValue>,
    /// What is known of the body's length.
    pub(crate) length: Length,
    /// The client waits to be invited before it sends the body.
    pub(crate) expects_continue: bool,
}

/// The authority that a target names.
#[derive(Clone, Debug)]
pub(crate) struct NamedHost(pub(crate) Authority);

impl Deref for NamedHost {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

/// Why the client's half cannot go on.
#[derive(Debug)]
pub(crate) enum ClientFault {
    /// What it sent as a body is not one.
    Frame(Fault),
    /// It left.
    Gone,
    /// Its connection broke otherwise, or the answer does not keep what its head promised.
    Io(io::Error),
}

impl From<Fault> for ClientFault {
    fn from(fault: Fault) -> Self {
        Self::Frame(fault)
    }
}

impl From<io::Error> for ClientFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

/// A client with one request.
#[expect(
    clippy::large_enum_variant,
    reason = "an HTTP/2 stream stays where it is polled; only the rarer and larger one pays for an allocation"
)]
pub(crate) enum Client {
    /// Over HTTP/1.0 or HTTP/1.1; apart, so that an HTTP/2 stream does not carry its size.
    H1(Box<H1Client>),
    /// Over HTTP/2.
    H2(H2Client),
}

impl Client {
    /// The head of its request.
    pub(crate) fn head(&self) -> &ClientHead {
        match self {
            Self::H1(client) => client.head(),
            Self::H2(client) => client.head(),
        }
    }

    /// The next piece of the request's body; after the end there is none.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, ClientFault>> {
        match self {
            Self::H1(client) => client.poll_piece(context),
            Self::H2(client) => client.poll_piece(context),
        }
    }

    /// Queues `100 Continue` for a client that waits for it.
    pub(crate) fn invite(&mut self) {
        match self {
            Self::H1(client) => client.invite(),
            Self::H2(client) => client.invite(),
        }
    }

    /// Queues an interim response; nothing for a client that knows none.
    pub(crate) fn interim(&mut self, status: StatusCode, fields: &HeaderMap) {
        match self {
            Self::H1(client) => client.interim(status, fields),
            Self::H2(client) => client.interim(status, fields),
        }
    }

    /// Queues the final head.
    pub(crate) fn start(
        &mut self,
        status: StatusCode,
        fields: HeaderMap,
        length: Length,
    ) -> Result<(), ClientFault> {
        match self {
            Self::H1(client) => client.start(status, fields, length),
            Self::H2(client) => client.start(status, fields, length),
        }
    }

    /// Queues `101 Switching Protocols`; from then on both directions are raw bytes.
    pub(crate) fn switch(&mut self, fields: HeaderMap) {
        match self {
            Self::H1(client) => client.switch(fields),
            Self::H2(client) => client.switch(fields),
        }
    }

    /// Ready when one more piece may be pushed.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        match self {
            Self::H1(client) => client.poll_room(context),
            Self::H2(client) => client.poll_room(context),
        }
    }

    /// Queues content.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<(), ClientFault> {
        match self {
            Self::H1(client) => client.push(data),
            Self::H2(client) => client.push(data),
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), ClientFault> {
        match self {
            Self::H1(client) => client.finish(trailers),
            Self::H2(client) => client.finish(trailers),
        }
    }

    /// Ends an answer that had begun, by decision: with these trailers where they still can be sent, otherwise so that
    /// nobody takes it for whole. What follows on an HTTP/1 connection is its end.
    pub(crate) fn cancel(&mut self, trailers: Option<HeaderMap>) {
        match self {
            Self::H1(client) => client.close_after(),
            Self::H2(client) => client.cancel(trailers),
        }
    }

    /// Writes everything that is queued.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        match self {
            Self::H1(client) => client.poll_flush(context),
            Self::H2(client) => client.poll_flush(context),
        }
    }

    /// Ready when the client has left; for the time in which nothing is read from it.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H1(client) => client.poll_gone(context),
            Self::H2(client) => client.poll_gone(context),
        }
    }

    /// The connection takes no further request; said in the head where the protocol has a word for it.
    pub(crate) fn close_after(&mut self) {
        match self {
            Self::H1(client) => client.close_after(),
            Self::H2(client) => client.close_after(),
        }
    }
}
