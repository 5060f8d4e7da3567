//! What one attempt is told, and the words in which it says how it went.

use http::{HeaderMap, StatusCode};
use portcullis_pipeline::Target;
use portcullis_routing::attempt::{Failure, Outcome, TransportKind};

use crate::message::Length;

/// What decides about the connection of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptFacts {
    /// Where it goes.
    pub(crate) target: Target,
    /// True when the client speaks HTTP/2.
    pub(crate) is_h2_client: bool,
    /// True when a switch to another protocol is asked for and allowed.
    pub(crate) is_upgrade: bool,
}

/// An endpoint's response head, an interim one or the final one.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    /// The status; 1xx for an interim head.
    pub(crate) status: StatusCode,
    /// The fields without those of the connection and of the framing.
    pub(crate) headers: HeaderMap,
    /// What the endpoint says of the body's length. For the answer to `HEAD` and for 304 it is the length of the
    /// body that is not sent.
    pub(crate) length: Length,
}

/// How an attempt broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EndpointFault {
    /// The evidence about the endpoint.
    pub(crate) outcome: Outcome,
    /// True when the endpoint certainly did not act on the request.
    pub(crate) is_unprocessed: bool,
    /// What exactly happened; for the log, never sent.
    pub(crate) why: &'static str,
}

impl EndpointFault {
    /// The connection broke.
    pub(crate) const fn reset(why: &'static str) -> Self {
        Self::transport(TransportKind::Reset, why)
    }

    /// What came back is not HTTP.
    pub(crate) const fn protocol(why: &'static str) -> Self {
        Self::transport(TransportKind::Protocol, why)
    }

    const fn transport(kind: TransportKind, why: &'static str) -> Self {
        Self {
            outcome: Outcome::Transport(kind),
            is_unprocessed: false,
            why,
        }
    }

    /// The same, of a request of which the endpoint certainly took nothing.
    pub(crate) const fn unprocessed(mut self) -> Self {
        self.is_unprocessed = true;
        self
    }

    /// The failure that decides about another attempt.
    pub(crate) const fn failure(&self) -> Failure {
        if self.is_unprocessed {
            Failure::unprocessed(self.outcome)
        } else {
            Failure::of(self.outcome)
        }
    }
}
