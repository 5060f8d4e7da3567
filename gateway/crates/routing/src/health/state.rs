//! The words of an endpoint's health: what goes into its machine and what is shown of it.

use std::sync::Arc;
use std::time::Duration;

use crate::plan::HealthPlan;

/// What the configuration says about an endpoint's health.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Whether it is probed; one that is not starts up.
    pub probed: bool,
    /// Failed probes in a row that take it down; at least 1.
    pub fall: u8,
    /// Passed probes in a row that bring it back; at least 1.
    pub rise: u8,
}

impl Rules {
    /// The rules of a pool's plan.
    #[must_use]
    pub fn of(plan: &HealthPlan) -> Self {
        Self {
            probed: plan.probe.is_some(),
            fall: plan.fall.max(1),
            rise: plan.rise.max(1),
        }
    }
}

/// An endpoint's state, as shown to operators.
#[derive(Clone, Debug, PartialEq)]
pub enum EndpointState {
    /// Never passed a probe yet; not used.
    Warming {
        /// Failed probes so far.
        failures: u32,
        /// The last one's error.
        error: Option<Arc<str>>,
    },
    /// Used.
    Up,
    /// Failed its probes.
    Down {
        /// Failed probes in a row.
        failures: u32,
        /// The last one's error.
        error: Option<Arc<str>>,
    },
    /// Taken out by what attempts showed.
    Ejected {
        /// What showed it.
        cause: Cause,
        /// Share of successes when it was ejected.
        success: f64,
        /// Attempts that share stands on.
        samples: u32,
        /// Until one request may try it.
        trial_in: Duration,
    },
    /// Ejected, and one request is trying it.
    Trial,
}

impl EndpointState {
    /// The word used in metrics, logs and listings.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Warming { .. } => "warming",
            Self::Up => "up",
            Self::Down { .. } => "down",
            Self::Ejected { .. } => "ejected",
            Self::Trial => "trial",
        }
    }
}

/// What ejected an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Its share of successes.
    Success,
    /// Connections that failed, or silences, in a row.
    Transport,
    /// It proved another identity than the expected one.
    Identity,
}

/// Which request an attempt's evidence comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// An ordinary one: cannot end an ejection, not even when it started before it.
    Ordinary,
    /// The trial with this number.
    Trial(u64),
    /// Unknown: taken for the trial when one is out or due.
    Unknown,
}

/// How urgently a trial is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// When its time has come.
    Due,
    /// Now, at most once a second: nothing else can serve the request.
    LastResort,
}
