//! A forwarded request under way: both directions moved by one task, every deadline looked at once per wake-up.
//!
//! Nothing is written before everything that can move has moved: a head and its first bytes leave in one send.

use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, StatusCode};
use portcullis_model::Rejection;
use portcullis_pipeline::{Ending, Exchange, Observation};
use portcullis_routing::attempt::Failure;
use tokio::time::Instant;

use crate::body::{BodyFault, RequestBody};
use crate::client::{Client, ClientFault};
use crate::deadline::Timer;
use crate::endpoint::{EndpointFault, ResponseHead, Upstream};
use crate::lease::Lease;
use crate::message::Piece;

mod farewell;
mod waits;

use farewell::Tunnel;

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// The answer was sent whole.
    Complete,
    /// The endpoint's answer was dropped: ask another one.
    Again,
    /// There was no answer, and why.
    Failed(Failure, &'static str),
    /// The request may not go on; nothing was answered yet.
    Refused(Rejection),
    /// The answer broke off; the reason is there when it was the endpoint's doing.
    Broken(Ending, Option<&'static str>),
    /// The client left before its answer began.
    ClientLeft,
    /// What the request rested on ended. What had begun of an answer was ended; otherwise this is the answer.
    LeaseEnded(Rejection),
}

/// What the client was told so far; it outlives a request that is dropped with its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// The final status.
    pub(crate) status: Option<StatusCode>,
    /// Content.
    pub(crate) bytes: u64,
}

/// The deadlines of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// For the final response head, whoever it is that is waited for.
    pub(crate) respond_by: Instant,
    /// For an endpoint that has all there is to say something.
    pub(crate) first_byte: Duration,
    /// Without anything moving after it, and for a client to make room.
    pub(crate) idle: Duration,
}

enum Answer {
    /// No final head yet.
    Awaited,
    /// The head was passed on.
    Body,
    /// All of it was passed on.
    Ended,
}

/// One attempt under way.
pub(crate) struct Relay<'a, 'm> {
    exchange: &'a mut Exchange,
    client: &'a mut Client,
    upstream: &'a mut Upstream,
    body: &'a mut RequestBody,
    timer: &'a mut Timer,
    lease: &'a mut Lease<'m>,
    deadlines: Deadlines,
    answer: Answer,
    /// Nothing further goes to the endpoint.
    is_sent: bool,
    /// Both directions, after a switch of protocols.
    tunnel: Option<Box<Tunnel>>,
    last_move: Instant,
    /// Since when the client makes no room.
    blocked_since: Option<Instant>,
    told: &'a mut Told,
}

impl<'a, 'm> Relay<'a, 'm> {
    /// An attempt whose head is queued.
    pub(crate) fn new(
        exchange: &'a mut Exchange,
        (client, upstream): (&'a mut Client, &'a mut Upstream),
        (body, told): (&'a mut RequestBody, &'a mut Told),
        (timer, lease): (&'a mut Timer, &'a mut Lease<'m>),
        deadlines: Deadlines,
    ) -> Self {
        Self {
            exchange,
            client,
            upstream,
            body,
            timer,
            lease,
            deadlines,
            answer: Answer::Awaited,
            is_sent: false,
            tunnel: None,
            last_move: Instant::now(),
            blocked_since: None,
            told,
        }
    }

    /// Moves everything until the attempt ends.
    pub(crate) async fn run(mut self) -> Relayed {
        let ended = std::future::poll_fn(|context| self.poll(context)).await;
        self.body.clock.stand_still(Instant::now());
        if let Relayed::LeaseEnded(rejection) = &ended {
            self.say_farewell(rejection.reason).await;
        }
        ended
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Relayed> {
        let now = Instant::now();
        if let Err(rejection) = self.lease.poll((self.exchange, self.upstream), now, context) {
            return Poll::Ready(Relayed::LeaseEnded(rejection));
        }
        loop {
            let has_moved = match self.advance(now, context) {
                Ok(has_moved) => has_moved,
                Err(ended) => return Poll::Ready(ended),
            };
            match self.flush(now, context) {
                Ok(true) => return Poll::Ready(Relayed::Complete),
                Ok(false) => {}
                Err(ended) => return Poll::Ready(ended),
            }
            if !has_moved {
                return self.poll_deadlines(now, context);
            }
            self.last_move = now;
        }
    }

    /// Moves what can be moved without writing; true when anything did.
    fn advance(&mut self, now: Instant, context: &mut Context<'_>) -> Result<bool, Relayed> {
        let mut has_moved = false;
        while self.request_side(now, context)? | self.response_side(now, context)? {
            has_moved = true;
        }
        Ok(has_moved)
    }

    /// Writes; true when that was all.
    fn flush(&mut self, now: Instant, context: &mut Context<'_>) -> Result<bool, Relayed> {
        let sent = self.upstream.poll_flush(context);
        if let Poll::Ready(Err(_)) = sent {
            // It may have answered already; what it said decides.
            self.stop_sending(now);
        }
        let is_owed = self.tunnel.is_some() && sent.is_pending();
        match self.client.poll_flush(context) {
            Poll::Ready(Ok(())) => {
                // What a client said last in a tunnel is still to arrive.
                if matches!(self.answer, Answer::Ended) && !is_owed {
                    return Ok(true);
                }
            }
            Poll::Ready(Err(_)) => return Err(self.client_left()),
            Poll::Pending if matches!(self.answer, Answer::Ended) => {
                self.blocked_since.get_or_insert(now);
            }
            Poll::Pending => {}
        }
        Ok(false)
    }

    fn stop_sending(&mut self, now: Instant) {
        self.is_sent = true;
        self.body.clock.stand_still(now);
    }

    fn request_side(&mut self, now: Instant, context: &mut Context<'_>) -> Result<bool, Relayed> {
        if self.is_sent {
            return match self.client.poll_gone(context) {
                Poll::Ready(()) => Err(self.client_left()),
                Poll::Pending => Ok(false),
            };
        }
        match self.upstream.poll_room(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                self.stop_sending(now);
                return Ok(false);
            }
            Poll::Pending => {
                self.body.clock.stand_still(now);
                return match self.client.poll_gone(context) {
                    Poll::Ready(()) => Err(self.client_left()),
                    Poll::Pending => Ok(false),
                };
            }
        }
        let next = if self.tunnel.is_some() {
            self.client.poll_piece(context).map_err(BodyFault::from)
        } else {
            self.body.poll_next(self.client, self.exchange, context)
        };
        match next {
            Poll::Pending => {
                if self.tunnel.is_none() {
                    self.body.clock.wait(now);
                }
                Ok(false)
            }
            Poll::Ready(Ok(Piece::Data(data))) => {
                self.body.clock.stand_still(now);
                if let Some(tunnel) = &mut self.tunnel {
                    tunnel.to_endpoint.pass(&data);
                    self.body.clock.count(data.len());
                }
                self.upstream.push(data);
                Ok(true)
            }
            Poll::Ready(Ok(Piece::End(trailers))) => {
                self.stop_sending(now);
                self.upstream.finish(trailers);
                if self.tunnel.is_some() {
                    // Whoever closes a tunnel has said everything: the other side is told and nobody waited for.
                    self.end_tunnel();
                }
                Ok(true)
            }
            Poll::Ready(Err(BodyFault::Refused(rejection))) => Err(self.refused(rejection)),
            Poll::Ready(Err(BodyFault::ClientLeft)) => Err(self.client_left()),
        }
    }

    fn end_tunnel(&mut self) {
        self.answer = Answer::Ended;
    }

    fn response_side(&mut self, now: Instant, context: &mut Context<'_>) -> Result<bool, Relayed> {
        match self.answer {
            Answer::Awaited => match self.upstream.poll_head(context) {
                Poll::Pending => Ok(false),
                Poll::Ready(Ok(head)) => self.response_head(head).map(|()| true),
                Poll::Ready(Err(fault)) => Err(self.endpoint_broke(&fault)),
            },
            Answer::Body => self.response_piece(now, context),
            Answer::Ended => Ok(false),
        }
    }

    fn response_head(&mut self, mut head: ResponseHead) -> Result<(), Relayed> {
        let status = head.status;
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
        if status.is_informational() && !is_switch {
            // Our own invitation is enough; other interim responses are passed on (RFC 9110 section 15.2).
            if status != StatusCode::CONTINUE {
                self.client.interim(status, &head.headers);
            }
            return Ok(());
        }
        let is_replayable = self.body.is_replayable();
        let observation = self.exchange.observe(status, &mut head.headers, is_replayable);
        if observation == Observation::Again {
            return Err(Relayed::Again);
        }
        self.body.forget();
        if is_switch {
            let headers = &mut head.headers;
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            self.client.switch(head.headers);
            self.upstream.switch();
            self.tunnel = Some(Box::default());
            self.is_sent = false;
            self.body.clock.stand_still(self.last_move);
        } else {
            let started = self.client.start(status, head.headers, head.length);
            started.map_err(|_| Relayed::Broken(Ending::ClientClosed, None))?;
        }
        self.told.status = Some(status);
        self.answer = Answer::Body;
        Ok(())
    }

    fn response_piece(&mut self, now: Instant, context: &mut Context<'_>) -> Result<bool, Relayed> {
        match self.client.poll_room(context) {
            Poll::Ready(Ok(())) => self.blocked_since = None,
            Poll::Ready(Err(_)) => return Err(self.client_left()),
            Poll::Pending => {
                self.blocked_since.get_or_insert(now);
                return Ok(false);
            }
        }
        let pushed = match self.upstream.poll_piece(context) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(Piece::Data(data))) => {
                self.told.bytes += data.len() as u64;
                if let Some(tunnel) = &mut self.tunnel {
                    tunnel.to_client.pass(&data);
                }
                self.client.push(data)
            }
            Poll::Ready(Ok(Piece::End(trailers))) => {
                self.answer = Answer::Ended;
                self.client.finish(trailers)
            }
            Poll::Ready(Err(fault)) => return Err(self.endpoint_broke(&fault)),
        };
        match pushed {
            Ok(()) => Ok(true),
            Err(ClientFault::Gone | ClientFault::Io(_) | ClientFault::Frame(_)) => Err(self.client_left()),
        }
    }

    fn endpoint_broke(&mut self, fault: &EndpointFault) -> Relayed {
        match self.answer {
            Answer::Awaited => Relayed::Failed(fault.failure(), fault.why),
            Answer::Body | Answer::Ended => Relayed::Broken(Ending::EndpointBroke, Some(fault.why)),
        }
    }

    fn refused(&self, rejection: Rejection) -> Relayed {
        match self.answer {
            Answer::Awaited => Relayed::Refused(rejection),
            Answer::Body | Answer::Ended => Relayed::Broken(Ending::ClientClosed, None),
        }
    }

    fn client_left(&self) -> Relayed {
        match self.answer {
            Answer::Awaited => Relayed::ClientLeft,
            Answer::Body | Answer::Ended => Relayed::Broken(Ending::ClientClosed, None),
        }
    }
}
