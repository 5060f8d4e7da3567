//! The way to an endpoint: our own connections and exchanges for HTTP/1.1 and HTTP/2.
//!
//! An exchange is polled, in both directions, by the task of the request it serves; nothing is shared but the pool
//! of connections and the streams of an HTTP/2 connection. Every connection is verified, and kept under what was
//! verified. Read [`mesh`] first, then [`h1`].

mod attempt;
mod dial;
mod h1;
mod h2;
mod head;
mod mesh;
mod outbox;
mod pool;
mod stream;
#[cfg(test)]
mod tests;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use portcullis_identity::EndpointProof;
use portcullis_pipeline::UpstreamHead;

pub(crate) use self::attempt::{AttemptFacts, EndpointFault, ResponseHead};
pub(crate) use self::dial::{Destination, DialFault, Offer, dial};
pub(crate) use self::h1::H1Exchange;
pub(crate) use self::h2::H2Exchange;
pub(crate) use self::mesh::Mesh;
pub(crate) use self::stream::UpstreamStream;
use crate::message::{Length, Piece};

/// One exchange with an endpoint.
///
/// The writing methods never fail on their own: an endpoint that stops reading may have answered already, so a
/// broken write is remembered and reading decides.
#[expect(
    clippy::large_enum_variant,
    reason = "the big one is the common one, and a box would be an allocation for each request"
)]
pub(crate) enum Upstream {
    /// Over HTTP/1.1.
    H1(H1Exchange),
    /// Over HTTP/2.
    H2(H2Exchange),
}

impl Upstream {
    /// Queues the head; `length` says how the body is delimited.
    ///
    /// # Errors
    /// When the head cannot be written, or the connection takes no further stream.
    pub(crate) fn send_head(&mut self, head: &UpstreamHead, length: Length) -> Result<(), EndpointFault> {
        match self {
            Self::H1(exchange) => exchange.send_head(head, length),
            Self::H2(exchange) => exchange.send_head(head, length),
        }
    }

    /// Ready when one more piece may be pushed.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), EndpointFault>> {
        match self {
            Self::H1(exchange) => exchange.poll_room(context).map(Ok),
            Self::H2(exchange) => exchange.poll_room(context).map(Ok),
        }
    }

    /// Queues a piece of the body.
    pub(crate) fn push(&mut self, data: Bytes) {
        match self {
            Self::H1(exchange) => exchange.push(data),
            Self::H2(exchange) => exchange.push(data),
        }
    }

    /// Queues the end of the body, with its trailers where its length was not said.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) {
        match self {
            Self::H1(exchange) => exchange.finish(trailers),
            Self::H2(exchange) => exchange.finish(trailers),
        }
    }

    /// Sends what is queued; ready when nothing is left.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), EndpointFault>> {
        match self {
            Self::H1(exchange) => exchange.poll_flush(context).map(Ok),
            Self::H2(exchange) => exchange.poll_flush(context).map(Ok),
        }
    }

    /// The next response head: an interim one (at most 16, and 101 only where it is wanted), or the final one.
    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, EndpointFault>> {
        match self {
            Self::H1(exchange) => exchange.poll_head(context),
            Self::H2(exchange) => exchange.poll_head(context),
        }
    }

    /// The next piece of the response body, after its head; pending for ever after its end.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, EndpointFault>> {
        match self {
            Self::H1(exchange) => exchange.poll_piece(context),
            Self::H2(exchange) => exchange.poll_piece(context),
        }
    }

    /// What the endpoint proved when the connection was made; `None` in plaintext.
    pub(crate) fn proof(&self) -> Option<EndpointProof<'_>> {
        match self {
            Self::H1(exchange) => exchange.proof(),
            Self::H2(exchange) => exchange.proof(),
        }
    }

    /// True once a byte of the head was handed to the kernel or to the shared connection.
    pub(crate) const fn has_left(&self) -> bool {
        match self {
            Self::H1(exchange) => exchange.has_left(),
            Self::H2(exchange) => exchange.has_left(),
        }
    }

    /// After a wanted 101: bytes as they come, both ways. Only HTTP/1.1 asks for one.
    pub(crate) fn switch(&mut self) {
        if let Self::H1(exchange) = self {
            exchange.switch();
        }
    }

    /// Gives the connection back when it is clean. A stream of HTTP/2 that is not over is reset.
    pub(crate) fn release(self) {
        if let Self::H1(exchange) = self {
            exchange.release();
        }
    }
}
