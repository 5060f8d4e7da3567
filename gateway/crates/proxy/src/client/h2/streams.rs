//! The streams of an HTTP/2 connection: every one is a future of the connection's own task.
//!
//! A wake-up polls what was woken, streams and engine in turn, until nothing has anything to do, and then writes
//! once. GOAWAY ends a connection gracefully; a spent budget ends it with an error.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use h2::server::SendResponse;
use h2::{Ping, PingPong, Reason as Code, RecvStream};
use http::Request;
use portcullis_model::Reason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::cause::Cause;
use super::connection::{Ended, Engine, Requests};
use super::deadlines::{Clocks, Due};
use super::fields::head_cost;
use super::meter::{Meter, Refused};
use super::settings::MAX_HEADS;
use super::stream::H2Client;
use super::wake::{Part, Sleeper};
use super::wire::Wire;
use crate::client::Client;
use crate::connection::Connection;
use crate::deadline::Timer;
use crate::metrics::Metrics;

/// Turns of the parts in one wake-up; what is left then waits until others had theirs.
const MAX_TURNS: usize = 32;

/// Serves the streams of a connection until it ends; gives the engine back, so that the last word can be said on it.
pub(crate) async fn run<S, R>(
    wire: &Wire<S>,
    mut engine: Engine<S>,
    (connection, metrics, requests): (&Connection, &Metrics, &R),
) -> (Engine<S>, Option<Ended>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
    R: Requests,
{
    let sleeper = Arc::new(Sleeper::default());
    let pings = engine.ping_pong();
    let mut streams = Streams {
        wire,
        engine,
        connection,
        metrics,
        requests,
        // In a box of its own: a request's state is five kilobytes, and would be copied three times on its way into
        // the set.
        carry: |requests, client, cost| Box::pin(carry::<R>(requests, client, cost)),
        open: FuturesUnordered::new(),
        engine_part: Part::new(&sleeper),
        streams_part: Part::new(&sleeper),
        drain_part: Part::new(&sleeper),
        timer: Timer::default(),
        pings,
        pinged: None,
        heads: 0,
        opened: Instant::now(),
        idle_since: Some(Instant::now()),
        is_leaving: false,
    };
    let mut drained = pin!(connection.drained());
    let ended = std::future::poll_fn(|context| {
        sleeper.rise(context);
        let ended = streams.turn(drained.as_mut(), context);
        sleeper.rest();
        if ended.is_pending() && streams.is_woken() {
            context.waker().wake_by_ref();
        }
        ended
    })
    .await;
    (streams.engine, ended)
}

/// One request, from its head to the end of its stream.
async fn carry<R: Requests>(requests: &R, client: H2Client, cost: usize) -> Done {
    let mut client = Client::H2(client);
    let outcome = AssertUnwindSafe(requests.run(&mut client)).catch_unwind().await;
    if let Client::H2(client) = &mut client {
        match outcome {
            Ok(()) => client.end().await,
            Err(_) => client.fail(Code::INTERNAL_ERROR),
        }
    }
    Done {
        cost,
        has_panicked: outcome.is_err(),
    }
}

/// What is left of a request.
struct Done {
    /// What its head cost.
    cost: usize,
    has_panicked: bool,
}

/// The streams of a connection and what drives them.
struct Streams<'a, S, R, F> {
    wire: &'a Wire<S>,
    engine: Engine<S>,
    connection: &'a Connection,
    metrics: &'a Metrics,
    requests: &'a R,
    carry: fn(&'a R, H2Client, usize) -> F,
    open: FuturesUnordered<F>,
    engine_part: Part,
    streams_part: Part,
    drain_part: Part,
    timer: Timer,
    pings: Option<PingPong>,
    pinged: Option<Instant>,
    /// Cost of the heads in flight.
    heads: usize,
    opened: Instant,
    idle_since: Option<Instant>,
    is_leaving: bool,
}

impl<S, R, F> Streams<'_, S, R, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Requests,
    F: Future<Output = Done>,
{
    /// One wake-up; `None` when the connection ended by agreement.
    fn turn(
        &mut self,
        drained: Pin<&mut impl Future<Output = ()>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Ended>> {
        if !self.is_leaving && self.drain_part.take() {
            let woken = drained.poll(&mut Context::from_waker(self.drain_part.waker()));
            if woken.is_ready() {
                self.leave();
            }
        }
        for _ in 0..MAX_TURNS {
            if self.streams_part.take() {
                self.poll_streams();
            }
            if self.engine_part.take() {
                if let Poll::Ready(ended) = self.poll_engine() {
                    return Poll::Ready(ended);
                }
            } else if !self.streams_part.is_woken() {
                break;
            }
        }
        let waker = self.engine_part.waker().clone();
        match self.wire.poll_drain(&mut Context::from_waker(&waker)) {
            Poll::Ready(Err(_)) => return Poll::Ready(Some(Ended::Lost)),
            Poll::Ready(Ok(())) if self.open.is_empty() => self.wire.shrink(),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        self.poll_deadlines(context)
    }

    fn is_woken(&self) -> bool {
        let is_draining = !self.is_leaving && self.drain_part.is_woken();
        is_draining || self.engine_part.is_woken() || self.streams_part.is_woken()
    }

    fn poll_streams(&mut self) {
        let Self {
            open, streams_part, ..
        } = self;
        let mut context = Context::from_waker(streams_part.waker());
        while let Poll::Ready(Some(done)) = open.poll_next_unpin(&mut context) {
            self.heads = self.heads.saturating_sub(done.cost);
            if done.has_panicked {
                self.metrics.h2_stream_ended("panicked");
            }
        }
        if self.open.is_empty() && self.idle_since.is_none() {
            self.idle_since = Some(Instant::now());
        }
    }

    /// Reads frames, takes the streams they open and lets h2 write.
    fn poll_engine(&mut self) -> Poll<Option<Ended>> {
        self.wire.refresh();
        let waker = self.engine_part.waker().clone();
        let mut context = Context::from_waker(&waker);
        let ended = loop {
            match self.engine.poll_accept(&mut context) {
                Poll::Ready(Some(Ok((request, respond)))) => self.accept(request, respond),
                Poll::Ready(Some(Err(error))) => break Poll::Ready(Some(Ended::of(&error))),
                Poll::Ready(None) => break Poll::Ready(None),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.note_refused();
        if ended.is_pending() {
            self.wire.reset_overflowed();
        }
        if let Some(cause) = self.wire.cause() {
            return Poll::Ready(Some(Ended::ByUs(cause)));
        }
        if self.pinged.is_some()
            && let Some(pings) = &mut self.pings
        {
            // That anything came at all is the sign of life; this only makes the next PING possible.
            let _ = pings.poll_pong(&mut context);
        }
        ended
    }

    fn accept(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.connection.count_request();
        let stream = respond.stream_id().as_u32();
        let has_fragment = self.wire.with_meter(|meter| meter.accepted(stream));
        let cost = head_cost(&request);
        let mut client = H2Client::new(request, respond);
        if has_fragment {
            client.restore_fragment();
            // The path may stand in the table of this connection now, where it is not seen again.
            self.leave();
        }
        if client.head().target.is_empty() {
            // RFC 9113 section 8.3.1; h2 misses a `:path` only beside an `:authority`.
            client.fail(Code::PROTOCOL_ERROR);
            self.metrics.h2_stream_ended("malformed");
            self.requests.refused(Reason::FrameMalformed, None);
        } else if self.heads + cost > MAX_HEADS {
            client.fail(Code::REFUSED_STREAM);
            self.metrics.h2_stream_ended("heads-in-flight");
            self.requests.refused(Reason::HeadTooLarge, None);
        } else {
            self.heads += cost;
            self.idle_since = None;
            self.open.push((self.carry)(self.requests, client, cost));
            self.streams_part.mark();
        }
        if self.connection.is_ending() {
            self.leave();
        }
    }

    /// Counts and records what h2 answered by itself.
    fn note_refused(&mut self) {
        for refused in self.wire.with_meter(Meter::take_refused) {
            match refused {
                Refused::Answered => {
                    self.metrics.h2_stream_ended("head-too-large");
                    let status = Reason::HeadTooLarge.status();
                    self.requests.refused(Reason::HeadTooLarge, Some(status));
                }
                // More streams than we allow: the client is told to try again, nothing was asked yet.
                Refused::Reset(code) if Code::from(code) == Code::REFUSED_STREAM => {
                    self.metrics.h2_stream_ended("too-many");
                }
                Refused::Reset(_) => {
                    self.metrics.h2_stream_ended("malformed");
                    self.requests.refused(Reason::FrameMalformed, None);
                }
            }
        }
    }

    /// GOAWAY: streams under way finish, new ones go elsewhere.
    fn leave(&mut self) {
        if self.is_leaving {
            return;
        }
        self.is_leaving = true;
        if self.idle_since.is_some() {
            self.idle_since = Some(Instant::now());
        }
        self.engine.graceful_shutdown();
        self.engine_part.mark();
    }

    fn poll_deadlines(&mut self, context: &mut Context<'_>) -> Poll<Option<Ended>> {
        loop {
            let now = Instant::now();
            let (at, due) = self.clocks().next();
            if self.timer.poll_due(at, now, context).is_pending() {
                return Poll::Pending;
            }
            match due {
                Due::End(cause) => {
                    if cause == Cause::HeadTimeout {
                        self.requests.refused(Reason::HeadTimeout, None);
                    }
                    return Poll::Ready(Some(Ended::ByUs(cause)));
                }
                Due::Close => return Poll::Ready(None),
                Due::Leave => self.leave(),
                Due::Ping => {
                    self.pinged = Some(now);
                    if let Some(pings) = &mut self.pings {
                        // One that is still unanswered serves as well.
                        let _ = pings.send_ping(Ping::opaque());
                    }
                }
            }
        }
    }

    fn clocks(&self) -> Clocks {
        let limits = &self.connection.limits;
        let heard = self.wire.heard();
        // The last answers may still be on their way to a slow client: as long as it takes some, it is not idle.
        let idle_since = self.idle_since.map(|since| {
            if heard.is_behind || self.engine.has_streams() {
                since.max(heard.last_write)
            } else {
                since
            }
        });
        Clocks {
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            opened: self.opened,
            end_of_age: self.connection.end_of_age(),
            last_read: heard.last_read,
            amid_since: heard.amid_since,
            pinged: self.pinged,
            idle_since,
            is_greeted: heard.is_greeted,
            is_acknowledged: heard.is_acknowledged,
            is_leaving: self.is_leaving,
        }
    }
}
