//! Why an endpoint or region was not taken: stable codes that logs, listings and `explain` share.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::RegionId;

use crate::health::{Cause, EndpointState};

/// The reasons of one selection, in the order they were met.
pub type Why = Vec<CandidateReason>;

/// Reasons kept of one selection; a pool of hundreds of endpoints must not make every refusal long.
const MOST_REASONS: usize = 32;

/// Why one candidate was passed over, or taken although it is not simply up.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateReason {
    /// Its region.
    pub region: RegionId,
    /// The endpoint; `None` when it holds for the region as a whole.
    pub endpoint: Option<SocketAddr>,
    /// Why.
    pub code: Code,
}

/// A stable reason code with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub enum Code {
    /// The region lies outside the request's residency.
    Residency,
    /// It was tried already, or a failed attempt rules its region out.
    Tried,
    /// It has not passed a probe yet.
    Warming {
        /// Failed probes so far.
        failures: u32,
    },
    /// It fails its probes.
    ProbeFail {
        /// Failed probes in a row.
        failures: u32,
        /// The last one's error.
        error: Option<Arc<str>>,
    },
    /// Attempts showed that it fails.
    PassiveEject {
        /// Share of successes when it was ejected.
        success: f64,
        /// Attempts that share stands on.
        samples: u32,
        /// Until one request may try it.
        trial_in: Duration,
    },
    /// It proved another identity than the expected one.
    IdentityMismatch {
        /// Until one request may try it.
        trial_in: Duration,
    },
    /// One request is trying it already; on the endpoint that was taken: this request is that one.
    Trial,
    /// Its name has no address.
    NoAddress {
        /// The name.
        host: Arc<str>,
    },
}

impl Code {
    /// The stable code alone.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Residency => "RESIDENCY",
            Self::Tried => "TRIED",
            Self::Warming { .. } => "WARMING",
            Self::ProbeFail { .. } => "PROBE_FAIL",
            Self::PassiveEject { .. } => "PASSIVE_EJECT",
            Self::IdentityMismatch { .. } => "IDENTITY_MISMATCH",
            Self::Trial => "TRIAL",
            Self::NoAddress { .. } => "NO_ADDRESS",
        }
    }

    /// What keeps an endpoint in this state from being used; `None` when nothing does.
    #[must_use]
    pub fn of(state: EndpointState) -> Option<Self> {
        match state {
            EndpointState::Up => None,
            EndpointState::Warming { failures, .. } => Some(Self::Warming { failures }),
            EndpointState::Down { failures, error } => Some(Self::ProbeFail { failures, error }),
            EndpointState::Trial => Some(Self::Trial),
            EndpointState::Ejected {
                cause: Cause::Identity,
                trial_in,
                ..
            } => Some(Self::IdentityMismatch { trial_in }),
            EndpointState::Ejected {
                cause: Cause::Success | Cause::Transport,
                success,
                samples,
                trial_in,
            } => Some(Self::PassiveEject {
                success,
                samples,
                trial_in,
            }),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Residency | Self::Tried | Self::Trial => Ok(()),
            Self::Warming { failures: 0 } | Self::ProbeFail { failures: 0, .. } => Ok(()),
            Self::Warming { failures }
            | Self::ProbeFail {
                failures,
                error: None,
            } => write!(f, "({failures})"),
            Self::ProbeFail {
                failures,
                error: Some(error),
            } => write!(f, "({failures}, {error})"),
            Self::PassiveEject {
                success,
                samples,
                trial_in,
            } => {
                write!(
                    f,
                    "(success {success:.2}, n {samples}, trial in {:.1} s)",
                    trial_in.as_secs_f64()
                )
            }
            Self::IdentityMismatch { trial_in } => write!(f, "(trial in {:.1} s)", trial_in.as_secs_f64()),
            Self::NoAddress { host } => write!(f, "({host})"),
        }
    }
}

impl fmt::Display for CandidateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.region)?;
        if let Some(endpoint) = self.endpoint {
            write!(f, "/{endpoint}")?;
        }
        write!(f, " {}", self.code)
    }
}

/// Collects the reasons, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Reasons(Why);

impl Reasons {
    pub(super) fn push(&mut self, region: &RegionId, endpoint: Option<SocketAddr>, code: Code) {
        if self.0.len() < MOST_REASONS {
            self.0.push(CandidateReason {
                region: region.clone(),
                endpoint,
                code,
            });
        }
    }

    pub(super) fn into_why(self) -> Why {
        self.0
    }

    /// One line for the log.
    pub(super) fn line(&self) -> String {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        all.join("; ")
    }
}
