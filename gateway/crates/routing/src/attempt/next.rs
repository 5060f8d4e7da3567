//! Second attempts: what matters is whether the request may have been processed, and where the next attempt goes.
//!
//! | what failed | who may try again | where | paid |
//! |---|---|---|---|
//! | not processed: no connection, wrong identity, stream refused | any method | another endpoint, then another region | free |
//! | 503, 429 and their like | safe | another region | free |
//! | 502, 504, reset after the head, silence | safe | another region; else the same one | free; else from the budget |
//! | 500 | safe | another endpoint or region | from the budget |
//! | anything else | nobody | | |
//!
//! At most two more attempts in all, and never outside residency: [`Pool::select`] applies the allowed regions again.

use std::time::Instant;

use http::StatusCode;
use portcullis_model::{EndpointId, Reason, RegionId};
use smallvec::SmallVec;

use super::budget::RetryBudgets;
use super::outcome::{Failure, Outcome, TransportKind};
use crate::plan::{RetryPlan, RetryScope};
use crate::pool::Pool;
use crate::residency::AllowedRegions;

/// Attempts beyond the first, whatever they cost: more of them only add load and latency.
const MOST_MORE: usize = 2;

/// One attempt that was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Where.
    pub endpoint: EndpointId,
    /// How it ended.
    pub failure: Failure,
}

/// What of the request decides about another attempt.
#[derive(Clone, Copy, Debug)]
pub struct AttemptRequest<'a> {
    /// True for a safe method (RFC 9110 section 9.2.1) or with an `Idempotency-Key`.
    pub safe: bool,
    /// True while everything the client sent of the body can be sent again; a request without a body always can.
    pub replayable: bool,
    /// Where it may be processed.
    pub allowed: &'a AllowedRegions,
    /// Every attempt so far, the one that failed just now last.
    pub tried: &'a [Attempt],
}

/// What to do after a failed attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Select again, this far.
    Again(Reach),
    /// The endpoint's own answer goes to the client.
    PassOn,
    /// There is no answer to pass on: refuse.
    GiveUp(Reason),
}

/// How far a selection may reach, within residency.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// Every region of the preference.
    #[default]
    Anywhere,
    /// Every region but these.
    Beyond(SmallVec<[RegionId; 3]>),
    /// This region only.
    Within(RegionId),
}

impl Reach {
    /// True when the selection may look there.
    #[must_use]
    pub fn admits(&self, region: &RegionId) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Beyond(regions) => !regions.contains(region),
            Self::Within(only) => only == region,
        }
    }
}

/// What a failure means for another attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lesson {
    NotProcessed,
    Full,
    Broken,
    Failed,
    Final,
}

/// Whether and how far another attempt may go.
///
/// A granted [`Next::Again`] that costs something has already been taken out of the pool's budget.
pub fn next_attempt(
    plan: &RetryPlan,
    budgets: &RetryBudgets,
    pool: &Pool,
    request: &AttemptRequest<'_>,
    failure: &Failure,
    now: Instant,
) -> Next {
    let asked = Asked {
        plan,
        budgets,
        pool,
        request,
        now,
    };
    let lesson = lesson_of(failure);
    if lesson == Lesson::Final {
        return end(failure);
    }
    let granted = asked.grant(lesson, failure);
    pool.metrics()
        .second_attempt(pool.id(), kind(lesson), granted.is_some());
    granted.map_or_else(|| end(failure), Next::Again)
}

struct Asked<'a> {
    plan: &'a RetryPlan,
    budgets: &'a RetryBudgets,
    pool: &'a Pool,
    request: &'a AttemptRequest<'a>,
    now: Instant,
}

impl Asked<'_> {
    fn grant(&self, lesson: Lesson, failure: &Failure) -> Option<Reach> {
        if self.request.tried.len() > MOST_MORE {
            return None;
        }
        match lesson {
            Lesson::NotProcessed => self.after_nothing_processed(failure),
            Lesson::Final => None,
            Lesson::Full | Lesson::Broken | Lesson::Failed if !self.may_repeat() => None,
            Lesson::Full => self.elsewhere(),
            Lesson::Broken => self.elsewhere().or_else(|| self.paid(self.same_region())),
            Lesson::Failed => self.paid(self.another_endpoint()),
        }
    }

    /// Free for any method. Without a connection not a byte of the body has left, so it need not be replayable.
    fn after_nothing_processed(&self, failure: &Failure) -> Option<Reach> {
        if !never_connected(failure.outcome) && !self.request.replayable {
            return None;
        }
        self.usable(self.another_endpoint())
    }

    /// True when a request that may have been processed may be sent again at all.
    fn may_repeat(&self) -> bool {
        let processed = self.processed().count();
        self.request.safe && self.request.replayable && processed <= usize::from(self.plan.attempts)
    }

    /// Another region: free, because it does not load the place that failed.
    fn elsewhere(&self) -> Option<Reach> {
        match self.plan.scope {
            RetryScope::Region => None,
            RetryScope::Any => {
                let tried = self
                    .request
                    .tried
                    .iter()
                    .map(|attempt| attempt.endpoint.region.clone());
                self.usable(Reach::Beyond(tried.collect()))
            }
        }
    }

    fn same_region(&self) -> Reach {
        self.last_region().map_or(Reach::Anywhere, Reach::Within)
    }

    /// Another endpoint as near as may be. A region in which the request may have been processed is left alone by
    /// a free attempt, and one that said it is full by every attempt.
    fn another_endpoint(&self) -> Reach {
        match self.plan.scope {
            RetryScope::Region => self.same_region(),
            RetryScope::Any => {
                let last = self.request.tried.len().saturating_sub(1);
                let earlier = self
                    .request
                    .tried
                    .iter()
                    .take(last)
                    .filter(|attempt| is_processed(&attempt.failure));
                let closed: SmallVec<_> = earlier.map(|attempt| attempt.endpoint.region.clone()).collect();
                if closed.is_empty() {
                    Reach::Anywhere
                } else {
                    Reach::Beyond(closed)
                }
            }
        }
    }

    fn paid(&self, reach: Reach) -> Option<Reach> {
        let reach = self.usable(reach)?;
        let budget = self.budgets.of(self.pool.id());
        budget
            .withdraw(&self.pool.plan().retry, self.now)
            .then_some(reach)
    }

    /// The reach, when an endpoint within it is usable, was not tried, and no capacity signal closed its only region.
    fn usable(&self, reach: Reach) -> Option<Reach> {
        if let Reach::Within(region) = &reach
            && self.request.tried.iter().any(|attempt| {
                attempt.endpoint.region == *region && attempt.failure.outcome == Outcome::Capacity
            })
        {
            return None;
        }
        self.pool
            .has_usable(self.request.allowed, &reach, self.request.tried)
            .then_some(reach)
    }

    fn last_region(&self) -> Option<RegionId> {
        self.request
            .tried
            .last()
            .map(|attempt| attempt.endpoint.region.clone())
    }

    fn processed(&self) -> impl Iterator<Item = &Attempt> {
        self.request
            .tried
            .iter()
            .filter(|attempt| is_processed(&attempt.failure))
    }
}

const fn never_connected(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Transport(TransportKind::Refused | TransportKind::Tls | TransportKind::Identity)
    )
}

const fn is_processed(failure: &Failure) -> bool {
    !failure.not_processed && !never_connected(failure.outcome)
}

fn lesson_of(failure: &Failure) -> Lesson {
    match failure.outcome {
        Outcome::Ok | Outcome::Abandoned => Lesson::Final,
        _ if !is_processed(failure) => Lesson::NotProcessed,
        Outcome::Capacity => Lesson::Full,
        Outcome::Transport(_) | Outcome::Silence => Lesson::Broken,
        Outcome::Correctness => match failure.status {
            Some(StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) => Lesson::Broken,
            Some(StatusCode::INTERNAL_SERVER_ERROR) => Lesson::Failed,
            Some(_) | None => Lesson::Final,
        },
    }
}

const fn kind(lesson: Lesson) -> &'static str {
    match lesson {
        Lesson::NotProcessed => "not-processed",
        Lesson::Full => "full",
        Lesson::Broken => "broken",
        Lesson::Failed => "failed",
        Lesson::Final => "final",
    }
}

const fn end(failure: &Failure) -> Next {
    if failure.status.is_some() {
        return Next::PassOn;
    }
    Next::GiveUp(match failure.outcome {
        Outcome::Transport(TransportKind::Refused) => Reason::EndpointConnect,
        Outcome::Transport(TransportKind::Tls) => Reason::EndpointTls,
        Outcome::Transport(TransportKind::Identity) => Reason::EndpointIdentity,
        Outcome::Transport(TransportKind::Reset) => Reason::EndpointReset,
        Outcome::Silence => Reason::EndpointTimeout,
        Outcome::Abandoned => Reason::ClientClosed,
        // An outcome that only an answer can show, without one.
        Outcome::Ok
        | Outcome::Correctness
        | Outcome::Capacity
        | Outcome::Transport(TransportKind::Protocol) => Reason::EndpointProtocol,
    })
}

#[cfg(test)]
mod tests;
