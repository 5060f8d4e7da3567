//! All limits of one point, all or nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{Guard, Mode, Origin, Reason, Rejection};

use super::buckets::{Admitted, Buckets};
use super::definition::Limit;
use super::fields::{RateLimitFields, Standing, whole_seconds};
use super::key::LimitFacts;
use super::table::LimitTable;
use crate::observed::Observed;

/// A limit as a listener or a route refers to it.
#[derive(Clone, Debug)]
pub struct LimitRef {
    /// The limit.
    pub limit: Arc<Limit>,
    /// The mode that counts here: the definition's, narrowed by the reference.
    pub guard: Guard,
    /// Where it is referred to.
    pub origin: Origin,
}

impl LimitRef {
    /// A reference that may narrow the limit's own guard.
    #[must_use]
    pub fn new(limit: Arc<Limit>, reference: Option<Guard>, origin: Origin) -> Self {
        let guard = limit.guard().narrowed_by(reference);
        Self { limit, guard, origin }
    }
}

/// What is charged, and when.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    /// The point's own reason to refuse: of the listener, early, or of the route.
    pub reason: Reason,
    /// Drawn once per request: decides each guard's share and spreads long waits.
    pub roll: u64,
    /// The time.
    pub now: Instant,
}

/// One limit's part in an outcome; `explain` prints them.
#[derive(Clone, Debug)]
pub struct LimitDecision {
    /// The limit.
    pub limit: Arc<Limit>,
    /// Where it is referred to.
    pub origin: Origin,
    /// The mode it had for this request.
    pub mode: Mode,
    /// Whether its bucket admitted the request.
    pub is_allowed: bool,
    /// Requests that fit after this one.
    pub remaining: u32,
}

/// What the limits of one point decided.
#[derive(Clone, Debug)]
pub struct LimitOutcome {
    /// Whether the request may go on.
    pub verdict: Result<(), Rejection>,
    /// Limits in observe mode that would have refused.
    pub observed: Vec<Observed>,
    /// What the answer tells about the limits. A rejection carries its own already; these are for an admitted
    /// request's answer.
    pub fields: Option<RateLimitFields>,
    /// Every limit that was asked, in order.
    pub decisions: Vec<LimitDecision>,
}

/// What was taken and may have to be given back.
struct Taken {
    buckets: Arc<Buckets>,
    key: u128,
    admitted: Admitted,
}

/// Asks all limits of one point. When one refuses, whatever the others took is given back: a refused request pays
/// nothing at this point.
///
/// Limits in observe mode count in their own buckets, are given back like the others, and never refuse.
#[must_use]
pub fn check(
    table: &LimitTable,
    limits: &[LimitRef],
    facts: &LimitFacts<'_>,
    charge: Charge,
) -> LimitOutcome {
    let Charge { reason, roll, now } = charge;
    let mut outcome = LimitOutcome {
        verdict: Ok(()),
        observed: Vec::new(),
        fields: None,
        decisions: Vec::with_capacity(limits.len()),
    };
    let mut taken: Vec<Taken> = Vec::with_capacity(limits.len());
    let mut standings: Vec<Standing<'_>> = Vec::with_capacity(limits.len());
    for reference in limits {
        let mode = reference.guard.mode_for(roll);
        if mode == Mode::Off {
            continue;
        }
        let limit = &reference.limit;
        let buckets = table.buckets(limit, now);
        let key = table.hash().key(limit.key(), facts);
        let answer = buckets.take(key, now);
        if let Some(metrics) = table.metrics() {
            metrics.count_limit(limit.id(), mode, answer.is_ok());
        }
        outcome.decisions.push(LimitDecision {
            limit: Arc::clone(limit),
            origin: reference.origin.clone(),
            mode,
            is_allowed: answer.is_ok(),
            remaining: answer.as_ref().map_or(0, |admitted| admitted.remaining),
        });
        match answer {
            Ok(admitted) => {
                if mode == Mode::Enforce {
                    let Admitted {
                        remaining, full_in, ..
                    } = admitted;
                    standings.push(Standing {
                        limit,
                        key,
                        remaining,
                        wait: full_in,
                    });
                }
                taken.push(Taken {
                    buckets,
                    key,
                    admitted,
                });
            }
            Err(_) if mode == Mode::Observe => outcome.observed.push(observed(reference, reason)),
            Err(wait) => {
                for Taken {
                    buckets,
                    key,
                    admitted,
                } in taken
                {
                    buckets.refund(key, &admitted);
                }
                let refused = Standing {
                    limit,
                    key,
                    remaining: 0,
                    wait,
                };
                outcome.fields = RateLimitFields::of(&[refused], roll);
                outcome.verdict = Err(rejection(reference, charge, wait, outcome.fields.as_ref()));
                return outcome;
            }
        }
    }
    outcome.fields = RateLimitFields::of(&standings, roll);
    outcome
}

fn observed(reference: &LimitRef, reason: Reason) -> Observed {
    Observed {
        guard: format!("limit:{}", reference.limit.id()),
        origin: reference.origin.clone(),
        reason,
        text: Some(used_up(&reference.limit)),
    }
}

fn rejection(
    reference: &LimitRef,
    charge: Charge,
    wait: Duration,
    fields: Option<&RateLimitFields>,
) -> Rejection {
    let mut rejection = Rejection::new(charge.reason)
        .with_public(used_up(&reference.limit))
        .with_retry_after(Duration::from_secs(whole_seconds(wait, charge.roll)))
        .decided_by(&reference.origin);
    if let Some(fields) = fields {
        rejection.detail_mut().headers.extend(fields.headers());
    }
    rejection
}

fn used_up(limit: &Limit) -> String {
    format!("rate limit \"{}\" is used up", limit.id())
}
