//! An HTTP/2 exchange with an endpoint.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Request, Uri};
use pingora_core::protocols::http::custom::BodyWrite;
use pingora_core::protocols::http::v2::write_body;
use pingora_error::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use portcullis_routing::attempt::{Outcome, TransportKind};
use tokio::sync::oneshot;

use super::Attempt;
use super::pool::StreamPlace;
use crate::link::RequestLink;

/// One exchange.
pub(crate) struct H2Exchange {
    sender: Option<SendRequest<Bytes>>,
    place: StreamPlace,
    reply: Reply,
    writer: Option<H2Writer>,
    pub(crate) head: Option<ResponseHeader>,
}

enum Reply {
    None,
    /// The request waits for its body; its reply will come from here.
    Corked(oneshot::Receiver<ResponseFuture>),
    Awaited(ResponseFuture),
    Body(RecvStream),
}

impl H2Exchange {
    /// An exchange on a place of a shared connection; `sender` is ready.
    pub(crate) const fn new(sender: SendRequest<Bytes>, place: StreamPlace) -> Self {
        Self {
            sender: Some(sender),
            place,
            reply: Reply::None,
            writer: None,
            head: None,
        }
    }

    /// Sends the head, or keeps it where it must wait for the body.
    pub(crate) fn send_head(
        &mut self,
        head: &RequestHeader,
        is_end: bool,
        link: &Arc<RequestLink>,
        attempt: &Arc<Attempt>,
    ) -> Result<()> {
        let mut request = outgoing(head, attempt.facts.target.tls.is_some())?;
        let Some(mut sender) = self.sender.take() else {
            return Error::e_explain(ErrorType::InternalError, "the request was sent already");
        };
        let mut writer = H2Writer {
            held: None,
            stream: None,
            link: Arc::clone(link),
            attempt: Arc::clone(attempt),
            is_broken: false,
        };
        if attempt.facts.is_corked && !is_end {
            let (reply, awaited) = oneshot::channel();
            writer.held = Some(Held {
                sender,
                request,
                reply,
            });
            self.reply = Reply::Corked(awaited);
        } else {
            if let Some(length) = attempt.facts.length.filter(|_| !is_end) {
                request.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            attempt.head_leaves();
            let (reply, stream) = sender
                .send_request(request, is_end)
                .map_err(|error| self.refused(attempt, error))?;
            self.reply = Reply::Awaited(reply);
            writer.stream = (!is_end).then_some(stream);
        }
        self.writer = Some(writer);
        Ok(())
    }

    fn refused(&self, attempt: &Attempt, error: h2::Error) -> Box<Error> {
        // Nothing of a request that could not be queued has left.
        self.place.0.close();
        attempt.fail_unprocessed(Outcome::Transport(TransportKind::Reset));
        Error::because(ErrorType::H2Error, "while sending the request", error)
    }

    /// The writing side, once.
    pub(crate) fn take_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        self.writer
            .take()
            .map(|writer| Box::new(writer) as Box<dyn BodyWrite>)
    }

    /// Reads the response head.
    pub(crate) async fn read_head(&mut self, attempt: &Attempt) -> Result<()> {
        if let Reply::Corked(awaited) = &mut self.reply {
            let reply = awaited
                .await
                .or_err(ErrorType::H2Error, "the request never left")?;
            self.reply = Reply::Awaited(reply);
        }
        let Reply::Awaited(reply) = &mut self.reply else {
            return Error::e_explain(ErrorType::InternalError, "no reply is awaited");
        };
        let response = match reply.await {
            Ok(response) => response,
            Err(error) => return Err(self.broken(attempt, error)),
        };
        let (parts, body) = response.into_parts();
        self.head = Some(ResponseHeader::from(parts));
        self.reply = Reply::Body(body);
        Ok(())
    }

    /// Tells what a broken stream says about the endpoint.
    fn broken(&self, attempt: &Attempt, error: h2::Error) -> Box<Error> {
        let is_refused = error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let is_going =
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR);
        if error.is_go_away() || error.is_io() {
            self.place.0.close();
        }
        if is_refused || is_going {
            attempt.fail_unprocessed(Outcome::Transport(TransportKind::Reset));
        } else if error.is_library() {
            attempt.fail_transport(TransportKind::Protocol);
        } else {
            attempt.fail_transport(TransportKind::Reset);
        }
        Error::because(ErrorType::H2Error, "while reading the response", error)
    }

    /// Reads a piece of the body; `None` at its end.
    pub(crate) async fn read_body(&mut self, attempt: &Attempt) -> Result<Option<Bytes>> {
        let Reply::Body(body) = &mut self.reply else {
            return Ok(None);
        };
        match body.data().await {
            None => Ok(None),
            Some(Ok(data)) => {
                body.flow_control()
                    .release_capacity(data.len())
                    .or_err(ErrorType::H2Error, "while making room")?;
                Ok(Some(data))
            }
            Some(Err(error)) => Err(self.broken(attempt, error)),
        }
    }

    /// True when nothing follows; an error when the stream ended by one.
    pub(crate) fn is_over(&mut self, attempt: &Attempt) -> Result<bool> {
        let Reply::Body(body) = &mut self.reply else {
            return Ok(false);
        };
        if !body.is_end_stream() {
            return Ok(false);
        }
        // `is_end_stream` is also true after a reset; only the next poll tells (hyperium/h2#806).
        match tokio::task::unconstrained(body.data()).now_or_never() {
            None | Some(None) => Ok(true),
            Some(Some(Ok(_))) => Error::e_explain(ErrorType::H2Error, "data after the end of the stream"),
            Some(Some(Err(error))) => Err(self.broken(attempt, error)),
        }
    }

    /// Reads the trailers.
    pub(crate) async fn read_trailers(&mut self, attempt: &Attempt) -> Result<Option<HeaderMap>> {
        let Reply::Body(body) = &mut self.reply else {
            return Ok(None);
        };
        match body.trailers().await {
            Ok(trailers) => Ok(trailers),
            // The endpoint needs no more of the request (RFC 9113 section 8.1): the answer is whole.
            Err(error) if error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR) => Ok(None),
            Err(error) => Err(self.broken(attempt, error)),
        }
    }
}

/// The head as HTTP/2 sends it.
fn outgoing(head: &RequestHeader, is_tls: bool) -> Result<Request<()>> {
    let authority = head
        .headers
        .get(HOST)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    let path = std::str::from_utf8(head.raw_path()).unwrap_or("/");
    let uri = Uri::builder()
        .scheme(if is_tls { "https" } else { "http" })
        .authority(authority)
        .path_and_query(path)
        .build()
        .or_err(
            ErrorType::InvalidHTTPHeader,
            "the outgoing target cannot be written",
        )?;
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = head.headers.clone();
    request.headers_mut().remove(HOST);
    Ok(request)
}

struct Held {
    sender: SendRequest<Bytes>,
    request: Request<()>,
    reply: oneshot::Sender<ResponseFuture>,
}

/// The writing side; like its HTTP/1.1 sibling it leaves every verdict to the reading side.
struct H2Writer {
    held: Option<Held>,
    stream: Option<SendStream<Bytes>>,
    link: Arc<RequestLink>,
    attempt: Arc<Attempt>,
    is_broken: bool,
}

impl H2Writer {
    /// Sends a held head with the length that is known now.
    fn release(&mut self, length: usize) {
        let Some(Held {
            mut sender,
            mut request,
            reply,
        }) = self.held.take()
        else {
            return;
        };
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        self.attempt.head_leaves();
        match sender.send_request(request, length == 0) {
            Ok((future, stream)) => {
                self.stream = (length > 0).then_some(stream);
                self.is_broken = reply.send(future).is_err();
            }
            Err(_) => {
                self.attempt
                    .fail_unprocessed(Outcome::Transport(TransportKind::Reset));
                self.is_broken = true;
            }
        }
    }

    async fn send(&mut self, data: Bytes, is_end: bool) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.is_broken) else {
            return;
        };
        let limit = self.attempt.facts.target.idle_timeout;
        let work = write_body(stream, data, is_end, Some(limit));
        self.is_broken = self.link.body().paused(work).await.is_err();
    }
}

#[async_trait]
impl BodyWrite for H2Writer {
    async fn write_all_buf(&mut self, data: &mut Bytes) -> Result<()> {
        let piece = std::mem::take(data);
        if self.held.is_some() {
            self.release(piece.len());
        }
        if !piece.is_empty() {
            self.send(piece, false).await;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        if self.held.is_some() {
            self.release(0);
        }
        self.send(Bytes::new(), true).await;
        self.stream = None;
        Ok(())
    }

    async fn cleanup(&mut self) -> Result<()> {
        Ok(())
    }

    fn upgrade_body_writer(&mut self) {}
}
