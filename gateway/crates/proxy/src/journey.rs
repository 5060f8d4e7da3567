//! One request between Pingora and the hall: every step the callbacks take, in the hall's words.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, UPGRADE};
use http::{HeaderValue, StatusCode, Version};
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::body::BodyPlan;
use portcullis_pipeline::{Admission, Ending, Exchange, Gateway, LocalAnswer, Observation, RawHead};
use portcullis_routing::attempt::{Failure, Outcome, TransportKind};
use tokio::time::{Instant, timeout};

use crate::link::RequestLink;
use crate::respond;
use crate::upstream::{Attempt, AttemptFacts};
use crate::view;

/// How long an HTTP/2 client that was answered early may go on sending before its stream is reset.
const LINGER: Duration = Duration::from_secs(1);
/// How much it may send in that time: an ordinary JSON body, not an upload.
const LINGER_BYTES: usize = 64 * 1024;

/// One request's journey.
pub(crate) struct Journey {
    link: Arc<RequestLink>,
    exchange: Exchange,
    plan: BodyPlan,
    respond_by: Instant,
    /// Body bytes that Pingora gives out again at this attempt, although they were judged already.
    repeated: u64,
    is_body_over: bool,
    /// The endpoint's answer was dropped for another endpoint's.
    is_asked_again: bool,
    ending: Ending,
}

impl Journey {
    /// A request whose head has arrived.
    pub(crate) fn begin(gateway: &Arc<Gateway>, link: Arc<RequestLink>) -> Self {
        let exchange = gateway.begin(Arc::clone(&link.connection.facts));
        link.begin();
        Self {
            link,
            exchange,
            plan: BodyPlan::Stream,
            respond_by: Instant::now(),
            repeated: 0,
            is_body_over: false,
            is_asked_again: false,
            ending: Ending::Complete,
        }
    }

    /// Stages up to `authorize`; `true` when the request was answered here.
    pub(crate) async fn admit(&mut self, session: &mut Session) -> Result<bool> {
        if self.link.connection.is_ending() {
            session.set_keepalive(None);
        }
        let answer = match self.admission(session).await {
            Ok(Admission::Forward) => {
                self.forward(session);
                return Ok(false);
            }
            Ok(Admission::Answer(answer)) => answer,
            Ok(Admission::NeedsBody { .. }) => self.exchange.reject(&Rejection::new(Reason::Internal)),
            Err(rejection) => self.exchange.reject(&rejection),
        };
        self.answer(session, &answer).await;
        Ok(true)
    }

    async fn admission(&mut self, session: &mut Session) -> std::result::Result<Admission, Rejection> {
        let has_body = !session.is_body_empty();
        let head = session.req_header();
        if head.headers.len() > self.link.connection.limits.max_headers {
            return Err(Rejection::new(Reason::HeadTooLarge));
        }
        let expects = has_body && head.version == Version::HTTP_11 && is_continue_expected(head);
        let (target, authority) = view::target(head);
        let upgrade = view::upgrade(session.as_downstream());
        let raw = RawHead {
            method: &head.method,
            target,
            authority,
            headers: &head.headers,
            version: head.version,
            upgrade,
            has_body,
        };
        let admission = self.exchange.admit(raw).await?;
        if has_body && !matches!(admission, Admission::Answer(_)) {
            self.link.body().start();
            if expects {
                invite_body(session).await;
            }
        }
        let Admission::NeedsBody { max } = admission else {
            return Ok(admission);
        };
        let body = self.read_whole(session, max).await?;
        self.exchange.admit_with_body(&body)
    }

    /// Reads a body that a policy judges; Pingora gives it out again to the endpoint.
    async fn read_whole(&mut self, session: &mut Session, max: u64) -> std::result::Result<Bytes, Rejection> {
        session.as_downstream_mut().enable_retry_buffering();
        let mut body = BytesMut::new();
        loop {
            let piece = tokio::select! {
                piece = session.as_downstream_mut().read_request_body() => piece,
                () = self.link.ended() => return Err(self.link.refusal().unwrap_or(Reason::BodyTimeout.into())),
            };
            match piece {
                Ok(Some(piece)) => {
                    self.link.body().count(piece.len());
                    if (body.len() + piece.len()) as u64 > max {
                        return Err(Rejection::new(Reason::BodyTooLarge));
                    }
                    body.extend_from_slice(&piece);
                }
                Ok(None) => break,
                Err(_) => return Err(self.link.refusal().unwrap_or(Reason::BodyIncomplete.into())),
            }
        }
        self.body_ends();
        Ok(body.freeze())
    }

    fn body_ends(&mut self) {
        self.is_body_over = true;
        self.link.body().finish();
    }

    fn forward(&mut self, session: &mut Session) {
        self.plan = self.exchange.body_plan();
        let timeouts = self.exchange.timeouts();
        self.respond_by = Instant::now() + timeouts.request;
        let idle = (!self.exchange.is_websocket()).then_some(timeouts.idle);
        session.set_read_timeout(idle);
        session.set_write_timeout(idle);
        if session.is_body_empty() {
            self.body_ends();
        }
    }

    /// `select_endpoint`, once per attempt.
    pub(crate) fn start_attempt(&mut self, session: &mut Session) -> Result<std::net::SocketAddr> {
        let is_first = self.link.attempt().is_none();
        if self.plan == BodyPlan::Cork && self.is_body_over && is_first {
            // There is no body, or it was read already: the verdict must stand before anything leaves.
            self.exchange
                .gate_finish()
                .map_err(|rejection| self.refused(rejection))?;
        }
        let target = self
            .exchange
            .select_endpoint()
            .map_err(|rejection| self.refused(rejection))?;
        let seen = self.link.body().bytes();
        self.repeated = seen;
        let address = target.endpoint.address;
        let head = session.req_header();
        let facts = AttemptFacts {
            respond_by: self.respond_by.min(Instant::now() + target.first_byte_timeout),
            is_h2_client: head.version == Version::HTTP_2,
            is_corked: self.plan == BodyPlan::Cork,
            is_upgrade: self.exchange.is_websocket(),
            is_empty: self.is_body_over && seen == 0,
            length: head
                .headers
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok()?.parse().ok()),
            target,
        };
        self.link.start_attempt(Arc::new(Attempt::new(facts)));
        Ok(address)
    }

    /// `prepare_upstream`: the outgoing head.
    pub(crate) fn outgoing_head(&mut self) -> Result<RequestHeader> {
        let attempt = self
            .link
            .attempt()
            .ok_or_else(|| Error::new(ErrorType::InternalError))?;
        let prepared = self.exchange.prepare_upstream(&attempt.facts.target);
        let prepared = prepared.map_err(|rejection| self.refused(rejection))?;
        let size = prepared.headers.len() + 3;
        let mut head =
            RequestHeader::build_no_case(prepared.method, prepared.path_and_query.as_bytes(), Some(size))?;
        head.set_version(Version::HTTP_11);
        head.insert_header(HOST, prepared.authority)?;
        for (name, value) in &prepared.headers {
            if name != HOST && name != CONTENT_LENGTH {
                head.append_header(name.clone(), value.clone())?;
            }
        }
        if prepared.is_websocket {
            head.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"))?;
            head.insert_header(UPGRADE, HeaderValue::from_static("websocket"))?;
        }
        Ok(head)
    }

    /// A piece of the body on its way: judged, counted, and held where a contract says so.
    pub(crate) fn body_piece(&mut self, body: &mut Option<Bytes>, is_end: bool) -> Result<()> {
        if body.is_none() && !is_end && !self.link.is_tunnel() {
            // Pingora cannot read the trailers of an HTTP/2 request and would ask for more of the body for ever.
            let trailers = Rejection::new(Reason::FrameMalformed).with_private("trailers after the body");
            self.link.abort(trailers);
            return Error::e_explain(ErrorType::InternalError, "the body has trailers");
        }
        let piece = body.take().unwrap_or_default();
        if self.link.is_tunnel() {
            self.link.body().count(piece.len());
            *body = Some(piece);
            return Ok(());
        }
        let known = usize::try_from(self.repeated)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        self.repeated -= known as u64;
        self.link.body().count(piece.len() - known);
        if is_end {
            self.body_ends();
        }
        match self.judge(piece, is_end) {
            Ok(passed) => {
                *body = passed;
                Ok(())
            }
            Err(rejection) => {
                self.link.abort(rejection);
                Error::e_explain(ErrorType::InternalError, "the body was refused")
            }
        }
    }

    /// The hall forgets at every attempt what it saw of the body before; it is shown all of it again.
    fn judge(&mut self, piece: Bytes, is_end: bool) -> std::result::Result<Option<Bytes>, Rejection> {
        match self.plan {
            BodyPlan::Stream => {
                self.exchange.stream_push(piece.len())?;
                Ok((!piece.is_empty() || !is_end).then_some(piece))
            }
            BodyPlan::Cork => {
                if !piece.is_empty() {
                    self.exchange.gate_push(&piece)?;
                }
                if is_end {
                    self.exchange.gate_finish().map(Some)
                } else {
                    Ok(Some(Bytes::new()))
                }
            }
        }
    }

    /// `observe`: an endpoint's response head.
    pub(crate) fn response_head(&mut self, session: &mut Session, head: &mut ResponseHeader) -> Result<()> {
        let status = head.status;
        let mut fields = head.headers.clone();
        let observation = self.exchange.observe(status, &mut fields, is_replayable(session));
        if observation == Observation::Again {
            let mut again = Error::explain(ErrorType::HTTPStatus(status.as_u16()), "asked elsewhere");
            again.set_retry(true);
            self.is_asked_again = true;
            return Err(again);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            self.body_ends();
            self.link.open_tunnel();
        }
        *head = respond::response_head(status, &fields)?;
        if self.link.connection.is_ending() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    /// `retry`: an attempt broke; decides whether there is another one.
    pub(crate) fn attempt_broke(&mut self, session: &mut Session, mut error: Box<Error>) -> Box<Error> {
        // Never `error.retry()`: it panics while Pingora has not decided.
        let is_asked_again = std::mem::take(&mut self.is_asked_again);
        error.set_retry(is_asked_again);
        if is_asked_again {
            return error;
        }
        let failure = self.link.attempt().and_then(|attempt| attempt.failure());
        if self.link.refusal().is_some() {
            return error;
        }
        if is_answered(session) {
            self.ending = match failure.map(|failure| failure.outcome) {
                None => Ending::ClientClosed,
                Some(Outcome::Silence) => Ending::DeadlinePassed,
                Some(_) => Ending::EndpointBroke,
            };
            if failure.is_some() {
                self.exchange.answer_broke();
            }
            return error;
        }
        if failure.is_none() && *error.esource() == ErrorSource::Downstream {
            self.ending = Ending::ClientClosed;
            return error;
        }
        let failure = failure.unwrap_or(Failure::of(Outcome::Transport(TransportKind::Reset)));
        match self.exchange.attempt_failed(&failure, is_replayable(session)) {
            Ok(()) => error.set_retry(true),
            Err(rejection) => self.link.refuse(rejection),
        }
        error
    }

    /// Answers what could not be forwarded; the status, or 0 when nobody listens any more.
    pub(crate) async fn give_up(&mut self, session: &mut Session) -> u16 {
        if is_answered(session) || (self.ending == Ending::ClientClosed && self.link.refusal().is_none()) {
            return 0;
        }
        let rejection = self.link.refusal().unwrap_or(Reason::Internal.into());
        let answer = self.exchange.reject(&rejection);
        self.answer(session, &answer).await;
        if session.is_body_done() && session.get_keepalive().is_some() && self.ending == Ending::Complete {
            self.link.set_answered();
        }
        answer.status.as_u16()
    }

    async fn answer(&mut self, session: &mut Session, answer: &LocalAnswer) {
        if respond::answer(session, answer).await.is_err() {
            self.ending = Ending::ClientClosed;
        }
    }

    /// `record`.
    pub(crate) fn record(&mut self, session: &Session, error: Option<&Error>) {
        let status = session.response_written().map(|head| head.status);
        if error.is_some() && status.is_none() && self.ending == Ending::Complete {
            self.ending = Ending::ClientClosed;
        }
        if error.is_some()
            && self.ending == Ending::Complete
            && self.link.refusal().is_none()
            && self.has_endpoint_answer()
        {
            self.ending = Ending::ClientClosed;
        }
        let bytes = (self.link.body().bytes(), session.body_bytes_sent() as u64);
        self.exchange.write_record(status, bytes, self.ending);
    }

    /// Lets an HTTP/2 client that was answered early finish a small body, unread: some clients (curl up to 8) drop
    /// the answer when the reset of the stream arrives while they still send.
    pub(crate) async fn linger(&self, session: &mut Session) {
        let downstream = session.as_downstream_mut();
        if self.ending != Ending::Complete || !downstream.is_http2() || downstream.is_body_done() {
            return;
        }
        // Whatever ends this, the stream ends next.
        let _ = timeout(LINGER, async {
            let mut left = LINGER_BYTES;
            while let Ok(Some(piece)) = downstream.read_request_body().await {
                left = left.saturating_sub(piece.len());
                if left == 0 {
                    return;
                }
            }
        })
        .await;
    }

    fn has_endpoint_answer(&self) -> bool {
        self.exchange.record().first_byte.is_some()
    }

    /// Remembers the rejection that ends the request.
    fn refused(&self, rejection: Rejection) -> Box<Error> {
        self.link.refuse(rejection);
        Error::explain(ErrorType::InternalError, "the request was refused")
    }
}

/// True when everything of the body that was read can be given out again.
fn is_replayable(session: &Session) -> bool {
    !session.as_downstream().retry_buffer_truncated()
}

/// True when a final response head was written.
fn is_answered(session: &Session) -> bool {
    session
        .response_written()
        .is_some_and(|head| !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS)
}

fn is_continue_expected(head: &RequestHeader) -> bool {
    head.headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Tells a waiting client to send its body. Pingora takes any head before the body's end for a reason to close.
async fn invite_body(session: &mut Session) {
    let downstream = session.as_downstream_mut();
    downstream.set_close_on_response_before_downstream_finish(false);
    // A client that cannot be told is gone; reading its body shows that.
    let _ = downstream.write_continue_response().await;
    downstream.set_close_on_response_before_downstream_finish(true);
}
