//! One request of an HTTP/1 connection: the socket, what arrives, and what is answered.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Version};
use portcullis_framing::{Fault, RequestHead};

use super::head;
use super::reader::Reader;
use super::writer::{Asked, Writer};
use crate::client::{ClientFault, ClientHead};
use crate::connection::Connection;
use crate::listener::socket::ClientSocket;
use crate::message::{Length, Piece};

/// A client over HTTP/1.0 or HTTP/1.1 with one request.
pub(crate) struct H1Client {
    socket: ClientSocket,
    head: ClientHead,
    reader: Reader,
    writer: Writer,
    connection: Arc<Connection>,
    /// One side or the other wants no further request.
    is_last: bool,
    is_uninvited: bool,
}

/// A connection that takes no further request.
pub(crate) struct Closing {
    socket: ClientSocket,
    unwritten: BytesMut,
    is_cut: bool,
}

impl H1Client {
    /// A client whose head is the first thing in `ahead`; the socket comes back with a head that is none.
    pub(crate) fn new(
        socket: ClientSocket,
        mut ahead: BytesMut,
        found: RequestHead,
        connection: &Arc<Connection>,
    ) -> Result<Self, (ClientSocket, Fault)> {
        let head = match head::take(&mut ahead, &found) {
            Ok(head) => head,
            Err(fault) => return Err((socket, fault)),
        };
        let asked = Asked {
            is_head: head.method == Method::HEAD,
            is_http10: head.version == Version::HTTP_10,
        };
        Ok(Self {
            socket,
            reader: Reader::new(ahead, found.body, head.length),
            writer: Writer::new(asked),
            connection: Arc::clone(connection),
            is_last: found.wants_close,
            is_uninvited: head.expects_continue,
            head,
        })
    }

    /// The head.
    pub(crate) const fn head(&self) -> &ClientHead {
        &self.head
    }

    /// The next piece of the body; after the end there is none.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, ClientFault>> {
        self.reader.poll_piece(&mut self.socket, context)
    }

    /// Queues `100 Continue`, once, unless the client did not wait for it (RFC 9110 section 10.1.1).
    pub(crate) fn invite(&mut self) {
        if std::mem::take(&mut self.is_uninvited) && self.reader.is_untouched() {
            self.writer.interim(StatusCode::CONTINUE, None);
        }
    }

    /// Queues an interim response.
    pub(crate) fn interim(&mut self, status: StatusCode, fields: &HeaderMap) {
        self.writer.interim(status, Some(fields));
    }

    /// Queues the final head. A request that is not wholly here by now is the connection's last one: what is left of
    /// it would have to be read, however much it is.
    pub(crate) fn start(
        &mut self,
        status: StatusCode,
        fields: HeaderMap,
        length: Length,
    ) -> Result<(), ClientFault> {
        self.reader.look_ahead();
        self.is_last |= !self.reader.is_whole() || self.connection.is_ending();
        self.writer.start(status, &fields, length, self.is_last)
    }

    /// Queues `101 Switching Protocols`; from then on both directions are raw bytes.
    pub(crate) fn switch(&mut self, fields: HeaderMap) {
        self.writer.switch(&fields);
        self.reader.switch();
    }

    /// Ready when one more piece may be pushed.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        self.writer.poll_room(&mut self.socket, context)
    }

    /// Queues content.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<(), ClientFault> {
        self.writer.push(data)
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), ClientFault> {
        self.writer.finish(trailers.as_ref())
    }

    /// Writes everything that is queued.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        self.writer.poll_flush(&mut self.socket, context)
    }

    /// Ready when the client has left. One that only closed its own side cannot be told from one that closed both, and
    /// is taken for gone.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_gone(&mut self.socket, context)
    }

    #[cfg(test)]
    pub(super) fn rest_len(&self) -> usize {
        self.reader.rest_len()
    }

    /// The status of the final head, once it was queued.
    #[cfg(test)]
    pub(crate) const fn status(&self) -> Option<StatusCode> {
        self.writer.status()
    }

    /// This request is the connection's last one.
    pub(crate) const fn close_after(&mut self) {
        self.is_last = true;
    }

    /// The connection with what was read ahead, when it can take another request.
    pub(crate) fn into_next(self) -> Result<(ClientSocket, BytesMut), Closing> {
        if self.writer.leaves_connection() && self.reader.is_whole() {
            return Ok((self.socket, self.reader.into_rest()));
        }
        Err(Closing {
            socket: self.socket,
            is_cut: self.writer.is_cut(),
            unwritten: self.writer.into_unwritten(),
        })
    }
}

impl Closing {
    /// Writes what is left and closes so that it can arrive; an answer that broke off does not end like a whole one.
    pub(crate) async fn close(self) {
        if self.is_cut {
            return self.socket.cut(&self.unwritten).await;
        }
        self.socket.close(&self.unwritten).await;
    }
}
