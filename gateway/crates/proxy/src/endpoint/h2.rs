//! An HTTP/2 exchange with an endpoint: one stream of a shared connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HOST, TE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use portcullis_identity::EndpointProof;
use portcullis_pipeline::UpstreamHead;

use super::attempt::{EndpointFault, ResponseHead};
use super::head::{MAX_INTERIM, is_of_connection, retain_trailers};
use super::pool::StreamPlace;
use crate::message::{Length, Piece};

/// Bytes that may wait for room before the one who pushes has to.
const FULL: usize = 64 * 1024;
/// A piece below this is copied: while it waits, here or in the connection, it would keep the whole buffer alive that
/// it was read into, and a client may send pieces of sixteen octets.
const SMALL: usize = 4 * 1024;

/// One exchange.
pub(crate) struct H2Exchange {
    sender: Option<SendRequest<Bytes>>,
    place: StreamPlace,
    outgoing: Outgoing,
    reply: Reply,
    /// The answer to `HEAD` says the length of a body it does not have.
    is_head: bool,
    has_left: bool,
    interim: usize,
}

/// What was read of the answer.
enum Reply {
    /// Nothing was sent yet.
    None,
    Awaited(ResponseFuture),
    Body(RecvStream),
    Over,
    Broken(EndpointFault),
}

/// The writing side. It never fails: an endpoint that stops reading may have answered already, and the reading side
/// decides what that answer is worth.
#[derive(Default)]
struct Outgoing {
    /// `None` before the head, after the end, and once it is broken.
    stream: Option<SendStream<Bytes>>,
    /// Pieces for which the endpoint has to give room.
    queue: VecDeque<Bytes>,
    /// Small ones behind them, copied together.
    gathered: BytesMut,
    queued: usize,
    end: Option<Option<HeaderMap>>,
}

impl H2Exchange {
    /// An exchange on a place of a shared connection; `sender` is ready.
    pub(crate) fn new(sender: SendRequest<Bytes>, place: StreamPlace) -> Self {
        Self {
            sender: Some(sender),
            place,
            outgoing: Outgoing::default(),
            reply: Reply::None,
            is_head: false,
            has_left: false,
            interim: 0,
        }
    }

    /// Hands the head to the connection, with the end of the stream where there is no body.
    pub(crate) fn send_head(&mut self, head: &UpstreamHead, length: Length) -> Result<(), EndpointFault> {
        let request = outgoing(head, length)?;
        let Some(mut sender) = self.sender.take() else {
            return Err(EndpointFault::protocol("the request was sent already"));
        };
        self.is_head = head.method == Method::HEAD;
        let is_end = length == Length::None;
        match sender.send_request(request, is_end) {
            Ok((reply, stream)) => {
                self.has_left = true;
                self.reply = Reply::Awaited(reply);
                self.outgoing.stream = (!is_end).then_some(stream);
                Ok(())
            }
            Err(_) => {
                // Nothing of a request that could not be queued has left.
                self.place.0.close();
                let fault = EndpointFault::reset("the stream could not be opened").unprocessed();
                self.reply = Reply::Broken(fault);
                Err(fault)
            }
        }
    }

    /// Ready when one more piece may be pushed.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.outgoing.queued < FULL {
            return Poll::Ready(());
        }
        // Pending means that a waker is registered; what was sent meanwhile may be room enough.
        let sent = self.outgoing.poll_send(context);
        if self.outgoing.queued < FULL {
            return Poll::Ready(());
        }
        sent
    }

    /// A piece of the body; it is sent by the next [`Self::poll_flush`].
    pub(crate) fn push(&mut self, data: Bytes) {
        self.outgoing.push(data);
    }

    /// The end of the body.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) {
        let trailers = trailers.and_then(retain_trailers);
        self.outgoing.end.get_or_insert(trailers);
    }

    /// Ready when all that was pushed is with the connection.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.outgoing.poll_send(context)
    }

    /// What the endpoint proved; `None` in plaintext.
    pub(crate) fn proof(&self) -> Option<EndpointProof<'_>> {
        self.place.0.proof()
    }

    /// True once the head was handed to the connection.
    pub(crate) const fn has_left(&self) -> bool {
        self.has_left
    }

    /// The next head: an interim one or the final one.
    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, EndpointFault>> {
        let reply = match &mut self.reply {
            Reply::Awaited(reply) => reply,
            Reply::Broken(fault) => return Poll::Ready(Err(*fault)),
            Reply::None | Reply::Body(_) | Reply::Over => {
                return self.fail(EndpointFault::protocol("no reply is awaited"));
            }
        };
        match reply.poll_informational(context) {
            Poll::Ready(Some(Ok(response))) => return Poll::Ready(self.interim(response)),
            Poll::Ready(Some(Err(error))) => return self.broken(&error),
            Poll::Ready(None) | Poll::Pending => {}
        }
        let response = match ready!(Pin::new(reply).poll(context)) {
            Ok(response) => response,
            Err(error) => return self.broken(&error),
        };
        let (parts, body) = response.into_parts();
        if parts.status.as_u16() >= 600 {
            // RFC 9110 section 15: there is none, and nobody knows how a client would read it.
            return self.fail(EndpointFault::protocol("a status above 599"));
        }
        let mut headers = parts.headers;
        let said = headers.remove(CONTENT_LENGTH);
        let said = said.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let has_none = parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED;
        let length = match said {
            Some(0) => Length::None,
            Some(length) => Length::Known(length),
            None if has_none || (body.is_end_stream() && !self.is_head) => Length::None,
            None => Length::Unknown,
        };
        self.reply = Reply::Body(body);
        Poll::Ready(Ok(ResponseHead {
            status: parts.status,
            headers,
            length,
        }))
    }

    fn interim(&mut self, response: Response<()>) -> Result<ResponseHead, EndpointFault> {
        let (parts, ()) = response.into_parts();
        self.interim += 1;
        let why = if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            // RFC 9113 section 8.6
            "a switch of protocols over HTTP/2"
        } else if self.interim > MAX_INTERIM {
            "too many interim responses"
        } else {
            return Ok(ResponseHead {
                status: parts.status,
                headers: parts.headers,
                length: Length::None,
            });
        };
        let fault = EndpointFault::protocol(why);
        self.reply = Reply::Broken(fault);
        Err(fault)
    }

    /// The next piece of the body. The endpoint gets room for more as a piece is handed on.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, EndpointFault>> {
        let body = match &mut self.reply {
            Reply::Body(body) => body,
            Reply::Over => return Poll::Pending,
            Reply::Broken(fault) => return Poll::Ready(Err(*fault)),
            Reply::None | Reply::Awaited(_) => {
                return self.fail(EndpointFault::protocol("no body is awaited"));
            }
        };
        loop {
            match ready!(body.poll_data(context)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    return match body.flow_control().release_capacity(data.len()) {
                        Ok(()) => Poll::Ready(Ok(Piece::Data(data))),
                        Err(error) => self.broken(&error),
                    };
                }
                Some(Err(error)) => return self.broken(&error),
                None => break,
            }
        }
        match ready!(body.poll_trailers(context)) {
            Ok(trailers) => {
                self.reply = Reply::Over;
                Poll::Ready(Ok(Piece::End(trailers.and_then(retain_trailers))))
            }
            Err(error) => self.broken(&error),
        }
    }

    /// Tells what a broken stream says about the endpoint.
    fn broken<T>(&mut self, error: &h2::Error) -> Poll<Result<T, EndpointFault>> {
        let is_refused = error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
        let is_going = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
        if error.is_go_away() || error.is_io() {
            self.place.0.close();
        }
        self.fail(if is_refused {
            EndpointFault::reset("the stream was refused").unprocessed()
        } else if is_going {
            EndpointFault::reset("the endpoint is going away").unprocessed()
        } else if error.is_library() {
            EndpointFault::protocol("the answer is not HTTP/2")
        } else {
            EndpointFault::reset("the stream was reset")
        })
    }

    fn fail<T>(&mut self, fault: EndpointFault) -> Poll<Result<T, EndpointFault>> {
        self.reply = Reply::Broken(fault);
        Poll::Ready(Err(fault))
    }
}

impl Outgoing {
    fn push(&mut self, data: Bytes) {
        if self.stream.is_none() || data.is_empty() {
            return;
        }
        self.queued += data.len();
        if data.len() < SMALL {
            self.gathered.extend_from_slice(&data);
            return;
        }
        if !self.gathered.is_empty() {
            self.queue.push_back(self.gathered.split().freeze());
        }
        self.queue.push_back(data);
    }

    fn next(&mut self) -> Option<Bytes> {
        let gathered = &mut self.gathered;
        self.queue
            .pop_front()
            .or_else(|| (!gathered.is_empty()).then(|| gathered.split().freeze()))
    }

    /// Sends what is queued as far as the endpoint gives room, then the end. The end is known by now where it came
    /// with the last piece, and costs no frame of its own then.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(mut piece) = self.next() {
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(());
            };
            // Asked for again each time: room that is only reserved is missing elsewhere.
            stream.reserve_capacity(self.queued);
            let room = match stream.capacity() {
                0 => match stream.poll_capacity(context) {
                    Poll::Ready(Some(Ok(room))) => room,
                    Poll::Ready(Some(Err(_)) | None) => return self.give_up(),
                    Poll::Pending => {
                        self.queue.push_front(piece);
                        return Poll::Pending;
                    }
                },
                room => room,
            };
            if room == 0 {
                self.queue.push_front(piece);
                continue;
            }
            let rest = piece.split_off(room.min(piece.len()));
            if !rest.is_empty() {
                self.queue.push_front(rest);
            }
            self.queued -= piece.len();
            let is_last = self.queued == 0 && self.end == Some(None);
            if stream.send_data(piece, is_last).is_err() || is_last {
                return self.give_up();
            }
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(());
        };
        let sent = match self.end.take() {
            None => return Poll::Ready(()),
            Some(None) => stream.send_data(Bytes::new(), true),
            Some(Some(trailers)) => stream.send_trailers(trailers),
        };
        // The reading side learns of a broken stream by itself.
        drop(sent);
        self.give_up()
    }

    /// Nothing further can be sent.
    fn give_up(&mut self) -> Poll<()> {
        self.stream = None;
        self.queue.clear();
        self.gathered = BytesMut::new();
        self.queued = 0;
        Poll::Ready(())
    }
}

/// The head as HTTP/2 sends it.
fn outgoing(head: &UpstreamHead, length: Length) -> Result<Request<()>, EndpointFault> {
    let uri = Uri::builder()
        .scheme(if head.is_tls { "https" } else { "http" })
        .authority(head.authority.as_bytes())
        .path_and_query(head.path_and_query.as_str())
        .build()
        .map_err(|_| EndpointFault::protocol("the outgoing target cannot be written"))?;
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 1);
    for (name, value) in &head.headers {
        if name == TE || !(name == HOST || is_of_connection(name)) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Length::Known(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}
