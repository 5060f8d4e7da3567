//! One endpoint's state, from probes and from what attempts showed.
//!
//! The two kinds of evidence have a side each, and an endpoint is usable when both agree. No event of one side
//! touches the other: that a probe never ends a passive ejection holds because there is no code that could.
//!
//! ```text
//! probes:   warming --first pass--> passing <--fall / rise--> failing
//! passive:  clear --evidence--> ejected --time, one request--> trial --ok--> clear
//!                                  ^------------- failed ---------'
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Cause, EndpointState, Part, Rules, Urgency};
use crate::attempt::{Outcome, TransportKind};

/// Weight of the newest attempt in the share of successes.
const WEIGHT: f64 = 0.12;
/// Below this share of successes an endpoint is ejected.
const EJECT_BELOW: f64 = 0.45;
/// Attempts before the share of successes means anything.
const LEAST_SAMPLES: u32 = 8;
/// Failed connections or silences in a row that eject without waiting for the share.
const FAILED_IN_A_ROW: u32 = 3;
/// The first ejection; each further one lasts twice as long.
const EJECT_BASE: Duration = Duration::from_secs(5);
/// The longest ejection.
const EJECT_MOST: Duration = Duration::from_secs(160);
/// Ejections are forgotten after this long without one.
const FORGET_AFTER: Duration = Duration::from_secs(120);
/// Between last-resort trials of an endpoint.
const TRICKLE: Duration = Duration::from_secs(1);
/// A probe's error is kept up to this many bytes.
const LONGEST_ERROR: usize = 200;

/// The state machine.
#[derive(Clone, Debug)]
pub struct Machine {
    rules: Rules,
    probing: Probing,
    probes: u64,
    error: Option<Arc<str>>,
    passive: Passive,
    success: f64,
    samples: u32,
    failed_in_a_row: u32,
    ejections: u32,
    cleared_at: Option<Instant>,
    trials: u64,
    tried_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Probing {
    Warming { failures: u32 },
    Passing { failures: u32 },
    Failing { failures: u32, passes: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Passive {
    Clear,
    Ejected {
        cause: Cause,
        until: Instant,
    },
    /// `early`: it began before its time, and the ejection goes on until then unless the trial ends it.
    Trial {
        cause: Cause,
        number: u64,
        early: Option<Instant>,
    },
}

impl Machine {
    /// A new endpoint: warming when it is probed, otherwise up.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        let probing = if rules.probed {
            Probing::Warming { failures: 0 }
        } else {
            Probing::Passing { failures: 0 }
        };
        Self {
            rules,
            probing,
            probes: 0,
            error: None,
            passive: Passive::Clear,
            success: 1.0,
            samples: 0,
            failed_in_a_row: 0,
            ejections: 0,
            cleared_at: None,
            trials: 0,
            tried_at: None,
        }
    }

    /// Takes on changed rules. An endpoint that serves keeps serving when probes are switched on, and one that
    /// probes keep out comes back when they are switched off.
    pub const fn adopt(&mut self, rules: Rules) {
        if !rules.probed {
            self.probing = Probing::Passing { failures: 0 };
        }
        self.rules = rules;
    }

    /// True when it was probed once, or never will be.
    #[must_use]
    pub const fn was_checked(&self) -> bool {
        !self.rules.probed || self.probes > 0
    }

    /// True when it is sent ordinary requests.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        matches!(
            (self.probing, self.passive),
            (Probing::Passing { .. }, Passive::Clear)
        )
    }

    /// True while ejected or on trial.
    #[must_use]
    pub const fn is_ejected(&self) -> bool {
        !matches!(self.passive, Passive::Clear)
    }

    /// True when [`Machine::begin_trial`] would give a number.
    #[must_use]
    pub fn may_try(&self, urgency: Urgency, now: Instant) -> bool {
        let Passive::Ejected { until, .. } = self.passive else {
            return false;
        };
        let is_time = match urgency {
            Urgency::Due => now >= until,
            Urgency::LastResort => {
                now >= until
                    || self
                        .tried_at
                        .is_none_or(|last| now.saturating_duration_since(last) >= TRICKLE)
            }
        };
        is_time && matches!(self.probing, Probing::Passing { .. })
    }

    /// Makes the caller's request the one trial; `None` when there may be none now.
    pub fn begin_trial(&mut self, urgency: Urgency, now: Instant) -> Option<u64> {
        if !self.may_try(urgency, now) {
            return None;
        }
        let Passive::Ejected { cause, until } = self.passive else {
            return None;
        };
        self.trials += 1;
        self.tried_at = Some(now);
        let early = (now < until).then_some(until);
        self.passive = Passive::Trial {
            cause,
            number: self.trials,
            early,
        };
        Some(self.trials)
    }

    /// Gives a trial back that showed nothing; the next request may try, or in an early trial the ejection goes on.
    pub fn release_trial(&mut self, number: u64, now: Instant) {
        if let Passive::Trial {
            cause,
            number: out,
            early,
        } = self.passive
            && out == number
        {
            self.passive = Passive::Ejected {
                cause,
                until: early.unwrap_or(now),
            };
        }
    }

    /// A probe ended.
    pub fn on_probe(&mut self, result: Result<(), &str>) {
        self.probes = self.probes.saturating_add(1);
        self.error = result.err().map(|error| {
            error
                .get(..error.floor_char_boundary(LONGEST_ERROR))
                .unwrap_or(error)
                .into()
        });
        self.probing = match (self.probing, result.is_ok()) {
            (Probing::Warming { .. } | Probing::Passing { .. }, true) => Probing::Passing { failures: 0 },
            (Probing::Warming { failures }, false) => Probing::Warming {
                failures: failures.saturating_add(1),
            },
            (Probing::Passing { failures }, false) if failures + 1 < u32::from(self.rules.fall) => {
                Probing::Passing {
                    failures: failures + 1,
                }
            }
            (Probing::Passing { failures }, false) => Probing::Failing {
                failures: failures + 1,
                passes: 0,
            },
            (Probing::Failing { failures, passes }, true) if passes + 1 < u32::from(self.rules.rise) => {
                Probing::Failing {
                    failures,
                    passes: passes + 1,
                }
            }
            (Probing::Failing { .. }, true) => Probing::Passing { failures: 0 },
            (Probing::Failing { failures, .. }, false) => Probing::Failing {
                failures: failures.saturating_add(1),
                passes: 0,
            },
        };
    }

    /// An attempt ended. Gives the cause when the endpoint should be ejected (again): the caller asks whether the
    /// pool can spare it and then calls [`Machine::eject`].
    pub fn on_attempt(&mut self, outcome: Outcome, part: Part, now: Instant) -> Option<Cause> {
        match self.passive {
            Passive::Clear => self.weigh(outcome),
            Passive::Ejected { .. } | Passive::Trial { .. } if self.speaks_for_trial(part, now) => {
                self.end_trial(outcome, now)
            }
            Passive::Ejected { .. } | Passive::Trial { .. } => None,
        }
    }

    /// An attempt that was recorded as `Ok` by its answer's head failed afterwards: the success is turned into a
    /// failure of the same weight. Gives the cause when the endpoint should be ejected.
    pub fn on_broken_answer(&mut self) -> Option<Cause> {
        if self.is_ejected() {
            return None;
        }
        self.success = (self.success - WEIGHT).max(0.0);
        (self.samples >= LEAST_SAMPLES && self.success < EJECT_BELOW).then_some(Cause::Success)
    }

    /// Ejects for 5 s, doubled with each ejection in a row up to 160 s, give or take 20 % as `jitter` says.
    pub fn eject(&mut self, cause: Cause, jitter: u64, now: Instant) {
        let is_forgotten = !self.is_ejected()
            && self
                .cleared_at
                .is_some_and(|then| now.saturating_duration_since(then) >= FORGET_AFTER);
        self.ejections = if is_forgotten {
            1
        } else {
            self.ejections.saturating_add(1)
        };
        let doublings = self.ejections.saturating_sub(1).min(16);
        let planned = EJECT_BASE.saturating_mul(1 << doublings).min(EJECT_MOST);
        self.passive = Passive::Ejected {
            cause,
            until: now + planned.mul_f64(jittered(jitter)),
        };
    }

    /// The state to show.
    #[must_use]
    pub fn state(&self, now: Instant) -> EndpointState {
        match (self.probing, self.passive) {
            (Probing::Warming { failures }, _) => EndpointState::Warming {
                failures,
                error: self.error.clone(),
            },
            (Probing::Failing { failures, .. }, _) => EndpointState::Down {
                failures,
                error: self.error.clone(),
            },
            (Probing::Passing { .. }, Passive::Clear) => EndpointState::Up,
            (Probing::Passing { .. }, Passive::Trial { .. }) => EndpointState::Trial,
            (Probing::Passing { .. }, Passive::Ejected { cause, until }) => EndpointState::Ejected {
                cause,
                success: self.success,
                samples: self.samples,
                trial_in: until.saturating_duration_since(now),
            },
        }
    }

    /// The share of successes among recent attempts and how many attempts it stands on.
    #[must_use]
    pub const fn success(&self) -> (f64, u32) {
        (self.success, self.samples)
    }

    fn weigh(&mut self, outcome: Outcome) -> Option<Cause> {
        let is_success = match outcome {
            Outcome::Ok => true,
            Outcome::Correctness | Outcome::Transport(_) | Outcome::Silence => false,
            // Being full is about the size of a region, not about this endpoint, but the connection works.
            Outcome::Capacity => {
                self.failed_in_a_row = 0;
                return None;
            }
            Outcome::Abandoned => return None,
        };
        self.success += WEIGHT * (f64::from(u8::from(is_success)) - self.success);
        self.samples = self.samples.saturating_add(1);
        let is_cut = matches!(outcome, Outcome::Transport(_) | Outcome::Silence);
        self.failed_in_a_row = if is_cut {
            self.failed_in_a_row.saturating_add(1)
        } else {
            0
        };

        if outcome == Outcome::Transport(TransportKind::Identity) {
            return Some(Cause::Identity);
        }
        if self.failed_in_a_row >= FAILED_IN_A_ROW {
            return Some(Cause::Transport);
        }
        (!is_success && self.samples >= LEAST_SAMPLES && self.success < EJECT_BELOW).then_some(Cause::Success)
    }

    fn speaks_for_trial(&self, part: Part, now: Instant) -> bool {
        match (part, self.passive) {
            (Part::Trial(mine), Passive::Trial { number, .. }) => mine == number,
            (Part::Unknown, Passive::Trial { .. }) => true,
            (Part::Unknown, Passive::Ejected { until, .. }) => now >= until,
            (Part::Ordinary | Part::Trial(_) | Part::Unknown, _) => false,
        }
    }

    fn end_trial(&mut self, outcome: Outcome, now: Instant) -> Option<Cause> {
        let (cause, early) = match self.passive {
            Passive::Clear => return None,
            Passive::Ejected { cause, .. } => (cause, None),
            Passive::Trial { cause, early, .. } => (cause, early),
        };
        let again = match outcome {
            Outcome::Ok => {
                self.passive = Passive::Clear;
                self.success = 1.0;
                self.samples = 0;
                self.failed_in_a_row = 0;
                self.cleared_at = Some(now);
                return None;
            }
            // It is there but full: no more of it for a while, and nothing held against it.
            Outcome::Capacity => {
                let until = early.map_or(now + EJECT_BASE, |until| until.max(now + EJECT_BASE));
                self.passive = Passive::Ejected { cause, until };
                return None;
            }
            Outcome::Abandoned => {
                self.passive = Passive::Ejected {
                    cause,
                    until: early.unwrap_or(now),
                };
                return None;
            }
            Outcome::Transport(TransportKind::Identity) => Cause::Identity,
            Outcome::Transport(_) | Outcome::Silence => Cause::Transport,
            Outcome::Correctness => Cause::Success,
        };
        if let Some(until) = early {
            // Last resorts come once a second: were each a new ejection, they would drive it to its longest.
            self.passive = Passive::Ejected { cause: again, until };
            return None;
        }
        Some(again)
    }
}

/// A factor from 0.8 to 1.2.
fn jittered(jitter: u64) -> f64 {
    let thousandth = u16::try_from(jitter % 1_001).unwrap_or(500);
    0.8 + 0.4 * f64::from(thousandth) / 1_000.0
}

#[cfg(test)]
mod tests;
