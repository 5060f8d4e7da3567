//! A request over HTTP/2: one stream of the connection, in the words of the client's half.
//!
//! [`H2Client::end`] resets the stream with INTERNAL_ERROR when we have begun an answer and cannot finish it, behind
//! what was queued of it. Dropping it before the end of its answer resets with CANCEL; dropping it after the end of
//! the answer and before the end of the request, with NO_ERROR (RFC 9113 section 8.1).

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::fields::{
    allowed_trailers, body_length, check_trailers, is_continue_expected, without_connection_fields,
};
use super::waiting::Waiting;
use crate::client::{ClientFault, ClientHead, NamedHost};
use crate::message::{Length, Piece};

/// How long a client that was answered early has for the end of its body before its stream is reset: some clients
/// (curl up to 8) drop the answer when the reset arrives beside it.
const LINGER: Duration = Duration::from_secs(1);
/// How much it may send in that time with its window given back: an ordinary JSON body, whose end ends the wait. An
/// upload meets a window that stays shut.
const LINGER_BYTES: usize = 64 * 1024;

/// One request over HTTP/2.
pub(crate) struct H2Client {
    head: ClientHead,
    /// `None` when nobody wants the rest of it.
    body: Option<RecvStream>,
    /// What came of it before somebody took it.
    waiting: Waiting,
    is_read: bool,
    /// What it sent as a body is not one.
    has_faulted: bool,
    /// It makes no room for the answer.
    is_shut: bool,
    respond: SendResponse<Bytes>,
    status: Option<StatusCode>,
    answer: Answer,
    /// The piece pushed last: it waits for the end, so that both leave in one frame.
    held: Option<Bytes>,
}

enum Answer {
    /// Not begun.
    Awaited,
    /// Begun; so many bytes were promised and not pushed yet.
    Open(SendStream<Bytes>, Option<u64>),
    /// Over for the client with its head: what is pushed is dropped.
    HeadOnly(SendStream<Bytes>),
    /// Sent whole.
    Complete(SendStream<Bytes>),
    /// It did not keep what its head promised; what was queued leaves, and then the stream is reset.
    Cut(SendStream<Bytes>),
    /// Reset.
    Broken,
}

impl H2Client {
    /// A stream whose head has arrived.
    pub(crate) fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let uri = parts.uri.into_parts();
        let target = match (&uri.path_and_query, &uri.authority) {
            (Some(path), _) => Bytes::copy_from_slice(path.as_str().as_bytes()),
            // CONNECT has no path (RFC 9113 section 8.5).
            (None, Some(authority)) => Bytes::copy_from_slice(authority.as_str().as_bytes()),
            (None, None) => Bytes::new(),
        };
        let length = body_length(&parts.headers, &body);
        let head = ClientHead {
            method: parts.method,
            target,
            authority: uri.authority.map(NamedHost),
            expects_continue: length != Length::None && is_continue_expected(&parts.headers),
            headers: parts.headers,
            version: Version::HTTP_2,
            upgrade: None,
            length,
        };
        Self {
            head,
            body: Some(body),
            waiting: Waiting::default(),
            is_read: false,
            has_faulted: false,
            is_shut: false,
            respond,
            status: None,
            answer: Answer::Awaited,
            held: None,
        }
    }

    /// The head of its request.
    pub(crate) const fn head(&self) -> &ClientHead {
        &self.head
    }

    /// The target had a fragment, which http has cut off: what is left of it is enough to be refused.
    pub(crate) fn restore_fragment(&mut self) {
        self.head.target = [&*self.head.target, b"#"].concat().into();
    }

    /// The next piece of the request's body; after the end there is none.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, ClientFault>> {
        let (false, Some(body)) = (self.is_read, &mut self.body) else {
            return Poll::Pending;
        };
        let piece = match self.waiting.take() {
            Some(data) => give_back(body, data.len()).map(|()| Piece::Data(data)),
            None => ready!(read_piece(body, context)),
        };
        self.is_read = matches!(piece, Ok(Piece::End(_)));
        self.has_faulted = piece.is_err();
        Poll::Ready(piece)
    }

    /// Queues `100 Continue`.
    pub(crate) fn invite(&mut self) {
        self.interim(StatusCode::CONTINUE, &HeaderMap::new());
    }

    /// Queues an interim response.
    pub(crate) fn interim(&mut self, status: StatusCode, fields: &HeaderMap) {
        if !matches!(self.answer, Answer::Awaited) || !status.is_informational() {
            return;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = without_connection_fields(fields.clone());
        // A stream that is over is found out by whoever waits for it.
        let _ = self.respond.send_informational(response);
    }

    /// Queues the final head.
    pub(crate) fn start(
        &mut self,
        status: StatusCode,
        fields: HeaderMap,
        length: Length,
    ) -> Result<(), ClientFault> {
        if !matches!(self.answer, Answer::Awaited) {
            return Err(broken("a second answer"));
        }
        let is_head = self.head.method == Method::HEAD;
        let is_bodiless = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let mut fields = without_connection_fields(fields);
        match length {
            Length::Known(length) if status != StatusCode::NO_CONTENT => {
                fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Length::None if is_bodiless && status != StatusCode::NO_CONTENT => {}
            Length::Known(_) | Length::None | Length::Unknown => {
                fields.remove(CONTENT_LENGTH);
            }
        }
        let is_over = is_bodiless || length == Length::None;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        let stream = self.respond.send_response(response, is_over).map_err(fault)?;
        self.status = Some(status);
        self.answer = match length {
            _ if is_bodiless => Answer::HeadOnly(stream),
            Length::None => Answer::Complete(stream),
            Length::Known(length) => Answer::Open(stream, Some(length)),
            Length::Unknown => Answer::Open(stream, None),
        };
        Ok(())
    }

    /// HTTP/2 does not switch protocols (RFC 9113 section 8.6): the stream is over.
    pub(crate) fn switch(&mut self, _: HeaderMap) {
        self.fail(Code::INTERNAL_ERROR);
    }

    /// Ready when one more piece may be pushed: the client has opened a window, and h2 holds less than its bound.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        let room = self.poll_window(context);
        self.is_shut = room.is_pending();
        room
    }

    fn poll_window(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        let stream = match &mut self.answer {
            Answer::Open(stream, _) => stream,
            Answer::HeadOnly(_) | Answer::Complete(_) => return Poll::Ready(Ok(())),
            Answer::Awaited => return Poll::Pending,
            Answer::Cut(_) | Answer::Broken => return Poll::Ready(Err(ClientFault::Gone)),
        };
        if stream.capacity() == 0 {
            // One octet: what a stream reserves and does not use, others cannot have.
            stream.reserve_capacity(1);
        }
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(fault(error))),
                None => return Poll::Ready(Err(ClientFault::Gone)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Queues content.
    pub(crate) fn push(&mut self, data: Bytes) -> Result<(), ClientFault> {
        match &mut self.answer {
            Answer::Open(_, Some(left)) => match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return self.break_off("more content than was promised"),
            },
            Answer::Open(_, None) => {}
            Answer::HeadOnly(_) => return Ok(()),
            Answer::Awaited => return Err(broken("content without a head")),
            Answer::Complete(_) => return Err(broken("content after the end")),
            Answer::Cut(_) | Answer::Broken => return Err(ClientFault::Gone),
        }
        self.let_go(false)?;
        self.held = Some(data);
        Ok(())
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), ClientFault> {
        match &self.answer {
            Answer::Open(_, Some(1..)) => return self.break_off("less content than was promised"),
            Answer::Open(_, _) => {}
            Answer::HeadOnly(_) => {
                self.complete();
                return Ok(());
            }
            // An answer without content was complete with its head.
            Answer::Complete(_) => return Ok(()),
            Answer::Awaited => return Err(broken("an end without a head")),
            Answer::Cut(_) | Answer::Broken => return Err(ClientFault::Gone),
        }
        match trailers
            .map(allowed_trailers)
            .filter(|trailers| !trailers.is_empty())
        {
            Some(trailers) => {
                self.let_go(false)?;
                if let Answer::Open(stream, _) = &mut self.answer {
                    stream.send_trailers(trailers).map_err(fault)?;
                }
            }
            None => {
                self.held.get_or_insert_default();
                self.let_go(true)?;
            }
        }
        self.complete();
        Ok(())
    }

    /// Hands everything to h2; the connection's loop writes it.
    pub(crate) fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        Poll::Ready(self.let_go(false))
    }

    /// Ready when the client has reset the stream or left. Whoever asks takes nothing of the body now.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let (false, Some(body)) = (self.is_read, &mut self.body) {
            self.waiting.gather(body, context);
        }
        let reset = match &mut self.answer {
            Answer::Awaited => self.respond.poll_reset(context),
            Answer::Open(stream, _)
            | Answer::HeadOnly(stream)
            | Answer::Complete(stream)
            | Answer::Cut(stream) => stream.poll_reset(context),
            Answer::Broken => return Poll::Ready(()),
        };
        // An error is the connection's end.
        reset.map(|_| ())
    }

    /// Nothing to say on a stream: the connection sends GOAWAY.
    pub(crate) const fn close_after(&mut self) {}

    /// Ends the stream with an error, whatever was sent, and takes back what was not; nothing when the answer is
    /// complete.
    pub(crate) fn fail(&mut self, code: Code) {
        match std::mem::replace(&mut self.answer, Answer::Broken) {
            Answer::Awaited => self.respond.send_reset(code),
            Answer::Open(mut stream, _) | Answer::Cut(mut stream) => stream.send_reset(code),
            Answer::HeadOnly(stream) | Answer::Complete(stream) => self.answer = Answer::Complete(stream),
            Answer::Broken => {}
        }
    }

    /// Ends an answer by decision: with trailers where it has none of its own yet and the client takes them, otherwise
    /// by CANCEL.
    pub(crate) fn cancel(&mut self, trailers: Option<HeaderMap>) {
        let takes_trailers = matches!(self.answer, Answer::Open(_, None)) && !self.is_shut;
        if let Some(trailers) = trailers.filter(|_| takes_trailers)
            && self.finish(Some(trailers)).is_ok()
        {
            return;
        }
        self.held = None;
        self.fail(Code::CANCEL);
    }

    /// Ends the stream, when nothing is added to the answer any more. A client whose own doing it is that there is
    /// no more of it is left to the reset that comes of dropping.
    pub(crate) async fn end(&mut self) {
        match self.answer {
            Answer::HeadOnly(_) | Answer::Complete(_) => self.linger().await,
            Answer::Open(..) if self.has_faulted || self.is_shut => {}
            Answer::Open(..) | Answer::Cut(_) => {
                // A stream that is over takes nothing more, and needs no reset.
                let _ = self.let_go(false);
                // The reset would overtake the head and what was pushed: first the connection's loop writes them, as
                // far as the client's windows let it.
                yield_now().await;
                self.fail(Code::INTERNAL_ERROR);
            }
            Answer::Awaited | Answer::Broken => {}
        }
    }

    /// Gives a client that was answered early time to take the answer, before its stream is reset. What it still
    /// sends is dropped, and the connection's window goes to other streams.
    async fn linger(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let arrived = self.waiting.clear().min(LINGER_BYTES);
        let _ = give_back(&mut body, arrived);
        let waiting = async {
            let mut left = LINGER_BYTES - arrived;
            while left > 0 {
                let Some(Ok(data)) = body.data().await else {
                    return;
                };
                // The stream is over when its window cannot be given back.
                let _ = give_back(&mut body, data.len());
                left = left.saturating_sub(data.len());
            }
            // h2 gives back what comes from now on to the connection only. It does not tell of the body's end either.
            drop(body);
            std::future::poll_fn(|context| self.poll_gone(context)).await;
        };
        // Whatever ends this, the stream ends next.
        let _ = timeout(LINGER, waiting).await;
    }

    /// Hands the held piece to h2.
    fn let_go(&mut self, is_last: bool) -> Result<(), ClientFault> {
        let (Answer::Open(stream, _), Some(data)) = (&mut self.answer, self.held.take()) else {
            return Ok(());
        };
        stream.send_data(data, is_last).map_err(fault)
    }

    fn complete(&mut self) {
        self.answer = match std::mem::replace(&mut self.answer, Answer::Broken) {
            Answer::Open(stream, _) | Answer::HeadOnly(stream) | Answer::Complete(stream) => {
                Answer::Complete(stream)
            }
            other @ (Answer::Awaited | Answer::Cut(_) | Answer::Broken) => other,
        };
    }

    /// The answer does not keep what its head promised: the client must not take it for whole.
    fn break_off(&mut self, why: &'static str) -> Result<(), ClientFault> {
        self.let_go(false)?;
        if let Answer::Open(stream, _) = std::mem::replace(&mut self.answer, Answer::Broken) {
            self.answer = Answer::Cut(stream);
        }
        Err(broken(why))
    }
}

fn read_piece(body: &mut RecvStream, context: &mut Context<'_>) -> Poll<Result<Piece, ClientFault>> {
    while let Some(data) = ready!(body.poll_data(context)) {
        let data = data.map_err(fault)?;
        if data.is_empty() {
            continue;
        }
        give_back(body, data.len())?;
        return Poll::Ready(Ok(Piece::Data(data)));
    }
    let trailers = ready!(body.poll_trailers(context)).map_err(fault)?;
    if let Some(trailers) = &trailers {
        check_trailers(trailers)?;
    }
    let trailers = trailers.filter(|trailers| !trailers.is_empty());
    Poll::Ready(Ok(Piece::End(trailers)))
}

/// Gives the client room for so many octets more.
fn give_back(body: &mut RecvStream, octets: usize) -> Result<(), ClientFault> {
    body.flow_control().release_capacity(octets).map_err(fault)
}

/// h2's errors in the words of the client's half: whatever ended the stream, nobody listens on it any more.
fn fault(error: h2::Error) -> ClientFault {
    match error.into_io() {
        Some(error) => ClientFault::from(error),
        None => ClientFault::Gone,
    }
}

fn broken(why: &'static str) -> ClientFault {
    ClientFault::Io(io::Error::new(io::ErrorKind::InvalidData, why))
}
