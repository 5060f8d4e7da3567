//! One request's journey: what the traffic's door calls, in order.
//!
//! `admit` (or `admit`, then `admit_with_body`) → for a forwarded request `select_endpoint` → `prepare_upstream` →
//! the body through `stream_push` or `gate_push`/`gate_finish` → `observe` at the response head, or
//! `attempt_failed` → `finish`. An exchange that is dropped before `finish` still leaves its record.

mod body;
mod forward;
mod lease;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use portcullis_model::{Origin, Reason, Rejection};

use crate::answer::{self, LocalAnswer};
use crate::connection::{ConnectionFacts, RawHead};
use crate::context::{Context, Now, StageReport};
use crate::gateway::Gateway;
use crate::lease::Lease;
use crate::plan::{ConnectionLimits, RouteTimeouts};
use crate::record::{DecisionRecord, Ending};
use crate::snapshot::{RouteBundle, Snapshot};
use crate::stages;
use crate::stages::admitted::Admitted;
use crate::stages::retry::Attempts;
use crate::stages::validate_head::Checked;
use crate::trace::TraceContext;

/// What becomes of an admitted request.
#[derive(Debug)]
pub enum Admission {
    /// It goes to an endpoint.
    Forward,
    /// It is answered here.
    Answer(LocalAnswer),
    /// A policy reads the body: read it whole, at most `max` bytes, then call `admit_with_body`.
    NeedsBody {
        /// The most that may be read.
        max: u64,
    },
}

/// What an endpoint's response head leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Observation {
    /// The answer goes to the client.
    Pass,
    /// Drop this answer and ask another endpoint.
    Again,
}

/// How far the request has come.
enum Progress {
    Started,
    AwaitingBody(Box<Checked>),
    Admitted(Box<Admitted>),
    Answered,
}

/// One request's journey.
pub struct Exchange {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    connection: Arc<ConnectionFacts>,
    roll: u64,
    begun: Now,
    /// What the stages go by: read again where time may have passed.
    now: Now,
    trace: TraceContext,
    progress: Progress,
    attempts: Attempts,
    lease: Lease,
    record: DecisionRecord,
    steps: Option<Vec<StageReport>>,
    is_offline: bool,
    is_recorded: bool,
}

impl Exchange {
    pub(crate) fn begin(gateway: Arc<Gateway>, connection: Arc<ConnectionFacts>) -> Self {
        // Before the snapshot: a beat that announces another one is not missed.
        let lease = Lease::begun(gateway.boards().identity.pulse.count());
        let snapshot = gateway.snapshot();
        let begun = gateway.now();
        let (high, low) = (gateway.random(), gateway.random());
        let trace = TraceContext::start(high, low, gateway.random());
        let record = stages::record::blank(&snapshot, &connection, begun, &trace);
        Self {
            roll: gateway.random(),
            gateway,
            snapshot,
            connection,
            begun,
            now: begun,
            trace,
            progress: Progress::Started,
            attempts: Attempts::default(),
            lease,
            record,
            steps: None,
            is_offline: false,
            is_recorded: false,
        }
    }

    /// Turns the journey into a rehearsal for `explain`: every stage reports, nothing is fetched, endpoints are
    /// taken for healthy, and no record is written.
    pub fn rehearse(&mut self) {
        self.steps = Some(Vec::new());
        self.is_offline = true;
        self.is_recorded = true;
    }

    /// What every stage reported; empty unless rehearsed.
    #[must_use]
    pub fn steps(&self) -> &[StageReport] {
        self.steps.as_deref().unwrap_or_default()
    }

    /// The record so far.
    #[must_use]
    pub const fn record(&self) -> &DecisionRecord {
        &self.record
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.record.request_id
    }

    /// The configuration that decides this request: the one it began with, or, when it lived on, the one that judged it
    /// last.
    #[must_use]
    pub const fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The listener's bounds.
    #[must_use]
    pub fn connection_limits(&self) -> ConnectionLimits {
        self.snapshot
            .listener(&self.connection.listener)
            .map_or_else(ConnectionLimits::default, |one| one.limits)
    }

    /// Stages `normalize` to `authorize`, by the clock that [`Gateway::begin`] read: a door begins when it has the
    /// head, and goes on at once.
    ///
    /// # Errors
    /// Returns the rejection to answer with.
    pub async fn admit(&mut self, raw: RawHead<'_>) -> Result<Admission, Rejection> {
        self.record.method = raw.method.clone();
        self.record.protocol = stages::record::protocol(raw.version);
        let outcome = stages::admit(&mut self.context(), raw).await;
        self.settle(outcome)
    }

    /// The rest of the way for a request whose policy reads the body.
    ///
    /// # Errors
    /// Returns the rejection to answer with.
    pub fn admit_with_body(&mut self, body: &[u8]) -> Result<Admission, Rejection> {
        let Progress::AwaitingBody(checked) = std::mem::replace(&mut self.progress, Progress::Started) else {
            return Err(Rejection::new(Reason::Internal).with_private("no policy waits for a body"));
        };
        self.now = self.gateway.now();
        let outcome = stages::admit_with_body(&mut self.context(), *checked, body);
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Result<stages::Outcome, Rejection>) -> Result<Admission, Rejection> {
        match outcome {
            Ok(stages::Outcome::Forward(admitted)) => {
                self.progress = Progress::Admitted(admitted);
                Ok(Admission::Forward)
            }
            Ok(stages::Outcome::Answer(mut answer)) => {
                self.progress = Progress::Answered;
                if let Ok(id) = http::HeaderValue::from_str(&self.record.request_id) {
                    answer.headers.insert(answer::REQUEST_ID, id);
                }
                Ok(Admission::Answer(answer))
            }
            Ok(stages::Outcome::NeedsBody(checked)) => {
                let max = checked.body_max();
                self.progress = Progress::AwaitingBody(checked);
                Ok(Admission::NeedsBody { max })
            }
            Err(rejection) => Err(self.refuse(rejection)),
        }
    }

    /// Notes a rejection decided elsewhere (a fault of the door, a deadline) and gives the answer to write.
    pub fn reject(&mut self, rejection: &Rejection) -> LocalAnswer {
        let noted = self.refuse(rejection.clone());
        let mut answer = answer::problem(&noted, &self.record.request_id);
        if let Some(admitted) = self.admitted() {
            stages::observe::cors_fields(admitted.route(), admitted.canonical(), &mut answer.headers);
        }
        answer
    }

    /// A route's deadlines; the defaults before a route is known.
    #[must_use]
    pub fn timeouts(&self) -> RouteTimeouts {
        self.admitted()
            .map_or_else(RouteTimeouts::default, |admitted| admitted.route.plan.timeouts)
    }

    /// True when the client asked for a WebSocket and the route allows it.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.admitted()
            .is_some_and(|admitted| admitted.canonical.wants_websocket)
    }

    /// True when another attempt may be made with any method: no body, or one that can be given out again.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.admitted()
            .is_some_and(|admitted| admitted.canonical.has_body)
    }

    /// The route, once it is known to be admitted.
    #[must_use]
    pub fn route(&self) -> Option<&RouteBundle> {
        self.admitted().map(|admitted| &*admitted.route)
    }

    /// `record`: exactly once, whatever happened.
    pub fn finish(mut self, status: Option<StatusCode>, bytes: (u64, u64), ending: Ending) {
        self.write_record(status, bytes, ending);
    }

    /// The same for a door that cannot give the exchange away.
    pub fn write_record(
        &mut self,
        status: Option<StatusCode>,
        (bytes_in, bytes_out): (u64, u64),
        ending: Ending,
    ) {
        if std::mem::replace(&mut self.is_recorded, true) {
            return;
        }
        let now = self.gateway.mono();
        self.record.attempts = self.attempts.conclude(now);
        self.record.status = status;
        self.record.bytes_in = bytes_in;
        self.record.bytes_out = bytes_out;
        self.record.ending = ending;
        self.record.duration = now.saturating_duration_since(self.begun.mono);
        self.gateway.sink().record(&self.record);
    }

    /// How long the request has been under way.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.gateway.mono().saturating_duration_since(self.begun.mono)
    }

    fn admitted(&self) -> Option<&Admitted> {
        match &self.progress {
            Progress::Admitted(admitted) => Some(admitted),
            Progress::Started | Progress::AwaitingBody(_) | Progress::Answered => None,
        }
    }

    fn admitted_mut(&mut self) -> Option<&mut Admitted> {
        match &mut self.progress {
            Progress::Admitted(admitted) => Some(admitted),
            Progress::Started | Progress::AwaitingBody(_) | Progress::Answered => None,
        }
    }

    fn context(&mut self) -> Context<'_> {
        Context {
            snapshot: &self.snapshot,
            boards: self.gateway.boards(),
            connection: &self.connection,
            roll: self.roll,
            now: self.now,
            is_offline: self.is_offline,
            trace: &mut self.trace,
            record: &mut self.record,
            steps: self.steps.as_mut(),
        }
    }

    /// Writes a rejection into the record and the steps; the first one counts.
    fn refuse(&mut self, rejection: Rejection) -> Rejection {
        if self.record.reason.is_none() {
            self.record.stage = Some(rejection.stage());
            self.record.reason = Some(rejection.reason);
            let detail = rejection.detail.as_deref();
            self.record.private =
                detail.and_then(|detail| detail.private.clone().or_else(|| detail.public.clone()));
            let origin: Option<Origin> = detail.and_then(|detail| detail.decided_by.clone());
            self.record.decided_by.clone_from(&origin);
            let stage = rejection.stage();
            self.context()
                .note_as("refused", stage, origin.as_ref(), || explain_text(&rejection));
        }
        rejection
    }
}

/// A rejection in one sentence for an operator.
fn explain_text(rejection: &Rejection) -> String {
    let mut text = format!("{} {}", rejection.status().as_u16(), rejection.reason.code());
    if let Some(detail) = rejection.detail.as_deref() {
        for part in [detail.public.as_deref(), detail.private.as_deref()]
            .into_iter()
            .flatten()
        {
            text.push_str(": ");
            text.push_str(part);
        }
        for violation in &detail.violations {
            text.push_str(&format!(
                "; {} {} {}",
                violation.location, violation.pointer, violation.expected
            ));
        }
    }
    text
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.write_record(None, (0, 0), Ending::Dropped);
    }
}
