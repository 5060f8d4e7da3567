//! One request from its head to its record: every step in the hall's words, and the only caller of the hall.
//!
//! `admit` → the body's verdict where one is needed → for every attempt: an endpoint, a connection, the head, and the
//! relay → one answer, one record. Nothing of a request, not even its head, leaves before the verdict stands.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use http::StatusCode;
use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::body::BodyPlan;
use portcullis_pipeline::{Admission, Ending, Exchange, Gateway, LocalAnswer, RawHead};
use portcullis_routing::attempt::{Failure, Outcome, TransportKind};
use tokio::time::Instant;

use crate::body::{BodyFault, Collected, RequestBody};
use crate::client::h1::Exchanges;
use crate::client::{self, Client, ClientFault};
use crate::connection::Connection;
use crate::deadline::{BodyClock, Timer};
use crate::endpoint::{AttemptFacts, DialFault, Mesh, Upstream};
use crate::lease::Lease;
use crate::listener::Doors;
use crate::lock;
use crate::message::Length;
use crate::relay::{Deadlines, Relay, Relayed, Told};

/// Timers kept for a connection's next requests.
const SPARE_TIMERS: usize = 16;

/// What the loops of a connection ask for.
pub(crate) struct Requests<'a> {
    doors: &'a Doors,
    connection: &'a Arc<Connection>,
    /// Timers of requests that are over: one that is armed already costs the next request nothing.
    timers: Mutex<Vec<Timer>>,
}

impl<'a> Requests<'a> {
    /// The requests of one connection.
    pub(crate) const fn new(doors: &'a Doors, connection: &'a Arc<Connection>) -> Self {
        Self {
            doors,
            connection,
            timers: Mutex::new(Vec::new()),
        }
    }

    async fn serve(&self, client: &mut Client) {
        let mut journey = Journey::begin(self.doors, client, self.connection);
        journey.timer = lock(&self.timers).pop().unwrap_or_default();
        if let Some(stop) = journey.travel(client).await {
            journey.end(client, stop).await;
        }
        journey.record(journey.ending);
        let mut timers = lock(&self.timers);
        if timers.len() < SPARE_TIMERS {
            timers.push(std::mem::take(&mut journey.timer));
        }
    }
}

impl Exchanges for Requests<'_> {
    fn gateway(&self) -> &Arc<Gateway> {
        &self.doors.gateway
    }

    async fn exchange(&self, client: &mut Client, _: &Arc<Connection>) {
        // Apart, so that an idle connection does not carry it.
        Box::pin(self.serve(client)).await;
    }
}

impl client::h2::Requests for Requests<'_> {
    async fn run(&self, client: &mut Client) {
        self.serve(client).await;
    }

    fn refused(&self, reason: Reason, status: Option<StatusCode>) {
        let mut exchange = self.doors.gateway.begin(Arc::clone(&self.connection.facts));
        // Whatever was answered, the protocol's engine has written it already.
        let _ = exchange.reject(&Rejection::new(reason));
        exchange.finish(status, (0, 0), Ending::Complete);
    }
}

/// Why there is no connection, for the record.
const fn why_not_open(kind: TransportKind) -> &'static str {
    match kind {
        TransportKind::Refused => "refused the connection, or did not take it in time",
        TransportKind::Reset => "closed the connection",
        TransportKind::Tls => "the TLS handshake failed",
        TransportKind::Identity => "proved another identity than the expected one",
        TransportKind::Protocol => "does not speak HTTP/2",
    }
}

/// Why the way to an endpoint ended early.
enum Stop {
    /// Answered here.
    Answer(LocalAnswer),
    /// Refused.
    Refused(Rejection),
    /// Nobody listens any more.
    ClientLeft,
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<BodyFault> for Stop {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Refused(rejection) => Self::Refused(rejection),
            BodyFault::ClientLeft => Self::ClientLeft,
        }
    }
}

/// One request's journey.
struct Journey<'a> {
    mesh: &'a Mesh,
    connection: &'a Connection,
    exchange: Exchange,
    body: RequestBody,
    timer: Timer,
    lease: Lease<'a>,
    told: Told,
    ending: Ending,
}

impl<'a> Journey<'a> {
    fn begin(doors: &'a Doors, client: &mut Client, connection: &'a Arc<Connection>) -> Self {
        let limits = &connection.limits;
        if connection.is_ending() {
            client.close_after();
        }
        Self {
            mesh: &doors.mesh,
            connection,
            exchange: doors.gateway.begin(Arc::clone(&connection.facts)),
            body: RequestBody::new(
                client.head().length,
                BodyClock::new(limits.header_timeout, limits.body_rate),
            ),
            timer: Timer::default(),
            lease: Lease::new(&doors.metrics),
            told: Told::default(),
            ending: Ending::Complete,
        }
    }

    /// Everything up to the end of an endpoint's answer; `Some` when there is none.
    async fn travel(&mut self, client: &mut Client) -> Option<Stop> {
        match self.admit(client).await {
            Ok(()) => {}
            Err(stop) => return Some(stop),
        }
        self.lease.begin(&self.exchange);
        let mut now = Instant::now();
        let respond_by = now + self.exchange.timeouts().request;
        loop {
            match self.attempt(client, now, respond_by).await {
                Ok(Relayed::Complete) => return None,
                Ok(Relayed::Again) => {}
                Ok(Relayed::Failed(failure, why)) => {
                    let replayable = self.body.is_replayable();
                    if let Err(rejection) = self.exchange.attempt_failed(&failure, replayable, why) {
                        return Some(Stop::Refused(rejection));
                    }
                }
                Ok(Relayed::Refused(rejection)) => return Some(Stop::Refused(rejection)),
                Ok(Relayed::ClientLeft) => return Some(Stop::ClientLeft),
                Ok(Relayed::LeaseEnded(rejection)) => return self.lease_ended(rejection),
                Ok(Relayed::Broken(ending, why)) => {
                    self.ending = ending;
                    if let Some(why) = why {
                        self.exchange.answer_broke(why);
                    }
                    return None;
                }
                Err(stop) => return Some(stop),
            }
            now = Instant::now();
        }
    }

    /// The answer, when none has begun.
    fn lease_ended(&mut self, rejection: Rejection) -> Option<Stop> {
        self.ending = Ending::LeaseEnded;
        self.told.status.is_none().then_some(Stop::Refused(rejection))
    }

    /// Stages up to `authorize`, then the verdict on a body that needs one.
    async fn admit(&mut self, client: &mut Client) -> Result<(), Stop> {
        let head = client.head();
        if head.headers.len() > self.connection.limits.max_headers {
            return Err(Rejection::new(Reason::HeadTooLarge).into());
        }
        let has_body = head.length != Length::None;
        let expects = has_body && head.expects_continue;
        let raw = RawHead {
            method: &head.method,
            target: &head.target,
            authority: head.authority.as_deref(),
            headers: &head.headers,
            version: head.version,
            upgrade: head.upgrade.as_ref().and_then(|value| value.to_str().ok()),
            has_body,
        };
        let admission = self.exchange.admit(raw).await?;
        if expects && !matches!(admission, Admission::Answer(_)) {
            client.invite();
        }
        match admission {
            Admission::Answer(answer) => return Err(Stop::Answer(answer)),
            Admission::NeedsBody { max } => {
                let mut collected = Collected::new(max);
                self.body
                    .read_whole(client, |piece| collected.push(piece))
                    .await?;
                let bytes = collected.whole();
                self.body.replace(bytes.clone());
                match self.exchange.admit_with_body(&bytes)? {
                    Admission::Forward => {}
                    Admission::Answer(answer) => return Err(Stop::Answer(answer)),
                    Admission::NeedsBody { .. } => return Err(Rejection::new(Reason::Internal).into()),
                }
            }
            Admission::Forward => {}
        }
        self.judge_body(client).await
    }

    /// `validate_body`: where a contract judges the body, it is read whole before an endpoint is chosen.
    async fn judge_body(&mut self, client: &mut Client) -> Result<(), Stop> {
        if self.exchange.body_plan() != BodyPlan::Cork {
            return Ok(());
        }
        let Self { exchange, body, .. } = self;
        body.show_known(|piece| exchange.gate_push(piece))?;
        body.read_whole(client, |piece| exchange.gate_push(piece)).await?;
        let released = exchange.gate_finish()?;
        body.replace(released);
        Ok(())
    }

    /// One attempt: `select_endpoint`, a connection, `prepare_upstream`, the relay.
    async fn attempt(
        &mut self,
        client: &mut Client,
        now: Instant,
        respond_by: Instant,
    ) -> Result<Relayed, Stop> {
        if let Err(rejection) = self.lease.check(&mut self.exchange, now) {
            return Ok(Relayed::LeaseEnded(rejection));
        }
        let target = self.exchange.select_endpoint()?;
        let facts = AttemptFacts {
            is_h2_client: client.head().version == http::Version::HTTP_2,
            is_upgrade: self.exchange.is_websocket(),
            target,
        };
        let opened = match self.mesh.take(&facts) {
            Some(kept) => Some(Ok(kept)),
            None => self.open(client, &facts).await,
        };
        let mut upstream = match opened {
            Some(Ok(upstream)) => upstream,
            None => return Ok(Relayed::ClientLeft),
            Some(Err(fault)) => {
                // Our own want says nothing about the endpoint, and would be the same at the next one.
                match &fault {
                    DialFault::Local(_) => {
                        let rejection = Rejection::new(Reason::NoEndpoint).with_private(fault.to_string());
                        return Err(rejection.into());
                    }
                    DialFault::Material(cause) => {
                        let detail = format!("{fault}: {cause}");
                        return Err(Rejection::new(Reason::EndpointTls).with_private(detail).into());
                    }
                    DialFault::Refused(_)
                    | DialFault::Late
                    | DialFault::Tls(_)
                    | DialFault::Identity(_)
                    | DialFault::Protocol => {}
                }
                let failure = Failure::unprocessed(Outcome::Transport(fault.kind()));
                return Ok(Relayed::Failed(failure, why_not_open(fault.kind())));
            }
        };
        if let Err(rejection) = self.lease.check_endpoint(&mut self.exchange, &upstream) {
            return Ok(Relayed::LeaseEnded(rejection));
        }
        let head = self.exchange.prepare_upstream(&facts.target)?;
        if let Err(fault) = upstream.send_head(&head, self.body.length) {
            return Ok(Relayed::Failed(fault.failure(), fault.why));
        }
        self.body.rewind();
        let deadlines = Deadlines {
            respond_by,
            first_byte: facts.target.first_byte_timeout,
            idle: facts.target.idle_timeout,
        };
        let halves = (&mut *client, &mut upstream);
        let account = (&mut self.body, &mut self.told);
        let watches = (&mut self.timer, &mut self.lease);
        let relay = Relay::new(&mut self.exchange, halves, account, watches, deadlines);
        let relayed = relay.run().await;
        if matches!(relayed, Relayed::Complete) {
            upstream.release();
        }
        Ok(relayed)
    }

    /// A new connection to the endpoint; `None` when the client leaves meanwhile.
    async fn open(&self, client: &mut Client, facts: &AttemptFacts) -> Option<Result<Upstream, DialFault>> {
        let mut opening = pin!(self.mesh.open(facts));
        std::future::poll_fn(|context| {
            if let Poll::Ready(opened) = opening.as_mut().poll(context) {
                return Poll::Ready(Some(opened));
            }
            client.poll_gone(context).map(|()| None)
        })
        .await
    }

    /// Answers what no endpoint answered.
    async fn end(&mut self, client: &mut Client, stop: Stop) {
        let answer = match stop {
            Stop::Answer(answer) => answer,
            Stop::Refused(rejection) => self.exchange.reject(&rejection),
            Stop::ClientLeft => {
                self.ending = Ending::ClientClosed;
                return;
            }
        };
        let is_bodiless = client.head().method == http::Method::HEAD;
        self.told = Told {
            status: Some(answer.status),
            bytes: if is_bodiless { 0 } else { answer.body.len() as u64 },
        };
        if self.write(client, answer).await.is_err() {
            self.ending = Ending::ClientClosed;
        }
    }

    async fn write(&mut self, client: &mut Client, answer: LocalAnswer) -> Result<(), ClientFault> {
        client.start(answer.status, answer.headers, Length::of(answer.body.len()))?;
        if !answer.body.is_empty() {
            client.push(answer.body)?;
        }
        client.finish(None)?;
        let due = Instant::now() + self.exchange.timeouts().idle;
        let timer = &mut self.timer;
        std::future::poll_fn(|context| {
            if let Poll::Ready(written) = client.poll_flush(context) {
                return Poll::Ready(written);
            }
            let late = timer.poll_due(due, Instant::now(), context);
            late.map(|()| Err(ClientFault::Gone))
        })
        .await
    }

    fn record(&mut self, ending: Ending) {
        let bytes = (self.body.clock.bytes(), self.told.bytes);
        self.exchange.write_record(self.told.status, bytes, ending);
    }
}

impl Drop for Journey<'_> {
    /// Streams of a connection that is gone are dropped with it: that is a client that left, unless it is a defect or
    /// the end of the gateway. What was recorded before stays.
    fn drop(&mut self) {
        let is_ours = std::thread::panicking() || self.connection.is_draining();
        self.record(if is_ours {
            Ending::Dropped
        } else {
            Ending::ClientClosed
        });
    }
}
