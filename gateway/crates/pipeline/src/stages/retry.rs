//! `observe` and `retry`: every attempt ends in exactly one piece of evidence, and perhaps in another attempt.

use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};
use portcullis_model::{EndpointId, Reason};
use portcullis_routing::Boards;
use portcullis_routing::attempt::{
    Attempt, AttemptRequest, Failure, Next, Outcome, Reach, TransportKind, next_attempt,
};
use portcullis_routing::pool::{Permit, Pool, Selection};
use smallvec::SmallVec;

use crate::record::AttemptRecord;
use crate::snapshot::Action;
use crate::stages::admitted::Admitted;

/// Every attempt of one request.
#[derive(Default)]
pub(crate) struct Attempts {
    tried: Vec<Attempt>,
    reach: Reach,
    current: Option<Current>,
    /// The last attempt, when its answer broke off.
    broken: Option<(EndpointId, &'static str)>,
}

/// The attempt under way.
struct Current {
    endpoint: EndpointId,
    /// A place in flight; given back when the attempt or the request ends.
    permit: Permit,
    /// What the response head showed, once there is one.
    answered: Option<&'static str>,
}

impl Attempts {
    /// The attempts that failed.
    pub(crate) fn tried(&self) -> &[Attempt] {
        &self.tried
    }

    /// How far the next attempt may go.
    pub(crate) const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// An attempt begins.
    pub(crate) fn started(&mut self, selection: Selection) {
        let Selection { endpoint, permit, .. } = selection;
        self.current = Some(Current {
            endpoint,
            permit,
            answered: None,
        });
    }

    /// The endpoint of the attempt under way.
    pub(crate) fn endpoint(&self) -> Option<&EndpointId> {
        self.current.as_ref().map(|current| &current.endpoint)
    }

    /// The attempt ended without an answer. `Ok`: there may be another one.
    pub(crate) fn failed(
        &mut self,
        admitted: &Admitted,
        boards: &Boards,
        failure: &Failure,
        is_replayable: bool,
        now: Instant,
    ) -> Result<(), Reason> {
        let Some(mut current) = self.current.take() else {
            return Err(Reason::Internal);
        };
        current.permit.record(failure.outcome, now);
        match self.next(admitted, boards, current.endpoint, failure, (is_replayable, now)) {
            Next::Again(reach) => {
                self.reach = reach;
                Ok(())
            }
            Next::GiveUp(reason) => Err(reason),
            Next::PassOn => Err(Reason::EndpointProtocol),
        }
    }

    /// A response head arrived. True: another endpoint is asked instead.
    pub(crate) fn answered(
        &mut self,
        admitted: &Admitted,
        boards: &Boards,
        (status, headers): (StatusCode, &HeaderMap),
        is_replayable: bool,
        now: Instant,
    ) -> bool {
        let Some(current) = self.current.as_mut() else {
            return false;
        };
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return false;
        }
        let failure = Failure::of_answer(status, headers);
        current.permit.record(failure.outcome, now);
        current.answered = Some(failure.outcome.as_str());
        if failure.outcome == Outcome::Ok {
            return false;
        }
        let endpoint = current.endpoint.clone();
        match self.next(admitted, boards, endpoint, &failure, (is_replayable, now)) {
            Next::Again(reach) => {
                self.reach = reach;
                self.current = None;
                true
            }
            Next::PassOn | Next::GiveUp(_) => {
                self.tried.pop();
                false
            }
        }
    }

    /// The answer broke off after its head.
    pub(crate) fn broke(&mut self, now: Instant) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let outcome = Outcome::Transport(TransportKind::Reset);
        current.permit.record(outcome, now);
        self.broken = Some((current.endpoint, outcome.as_str()));
    }

    /// The request is over: every attempt, for the record. One that never ended is no evidence.
    pub(crate) fn conclude(&mut self, now: Instant) -> SmallVec<[AttemptRecord; 1]> {
        let last = self.current.take().map(|mut current| {
            let outcome = current.answered.unwrap_or_else(|| {
                current.permit.record(Outcome::Abandoned, now);
                Outcome::Abandoned.as_str()
            });
            (current.endpoint, outcome)
        });
        let failed = self
            .tried
            .drain(..)
            .map(|attempt| (attempt.endpoint, attempt.failure.outcome.as_str()));
        failed
            .chain(self.broken.take())
            .chain(last)
            .map(|(endpoint, outcome)| AttemptRecord { endpoint, outcome })
            .collect()
    }

    fn next(
        &mut self,
        admitted: &Admitted,
        boards: &Boards,
        endpoint: EndpointId,
        failure: &Failure,
        (is_replayable, now): (bool, Instant),
    ) -> Next {
        self.tried.push(Attempt {
            endpoint,
            failure: *failure,
        });
        let Some(pool) = pool_of(admitted) else {
            return Next::GiveUp(Reason::Internal);
        };
        let request = AttemptRequest {
            safe: is_safe(admitted),
            replayable: is_replayable,
            allowed: &admitted.allowed,
            tried: &self.tried,
        };
        next_attempt(
            &admitted.route.plan.retry,
            &boards.budgets,
            pool,
            &request,
            failure,
            now,
        )
    }
}

fn pool_of(admitted: &Admitted) -> Option<&Pool> {
    match &admitted.route.action {
        Action::Forward { pool, .. } => Some(pool),
        Action::Answer { .. } | Action::KeySet => None,
    }
}

/// A safe method (RFC 9110 section 9.2.1), or a client that promises idempotency for this request.
fn is_safe(admitted: &Admitted) -> bool {
    let canonical = &admitted.canonical;
    matches!(canonical.method, Method::GET | Method::HEAD | Method::OPTIONS)
        || canonical.headers.contains_key("idempotency-key")
}
