//! One attempt at an endpoint: what the callbacks tell the connector, and what the connector tells them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_pipeline::Target;
use portcullis_routing::attempt::{Failure, Outcome, TransportKind};
use tokio::time::Instant;

use crate::link::lock;

/// What is known when an attempt starts.
#[derive(Debug)]
pub(crate) struct AttemptFacts {
    /// Where it goes.
    pub(crate) target: Target,
    /// True when the client speaks HTTP/2.
    pub(crate) is_h2_client: bool,
    /// True when the head must wait for the body's verdict.
    pub(crate) is_corked: bool,
    /// True when a switch to another protocol was asked for and is allowed.
    pub(crate) is_upgrade: bool,
    /// True when there is no body, or it was read already and is empty.
    pub(crate) is_empty: bool,
    /// The body's length, when the client said it.
    pub(crate) length: Option<u64>,
    /// When the response head must be here.
    pub(crate) respond_by: Instant,
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What is known of it.
    pub(crate) facts: AttemptFacts,
    has_left: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Attempt {
    /// An attempt that starts now.
    pub(crate) const fn new(facts: AttemptFacts) -> Self {
        Self {
            facts,
            has_left: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// The head is about to leave: from now on the endpoint may have acted on it.
    pub(crate) fn head_leaves(&self) {
        self.has_left.store(true, Ordering::Release);
    }

    /// Notes how the attempt failed; the first cause stays.
    pub(crate) fn fail(&self, outcome: Outcome) {
        let failure = if self.has_left.load(Ordering::Acquire) {
            Failure::of(outcome)
        } else {
            Failure::unprocessed(outcome)
        };
        lock(&self.failure).get_or_insert(failure);
    }

    /// Notes a failure of which the endpoint said itself that it took nothing.
    pub(crate) fn fail_unprocessed(&self, outcome: Outcome) {
        lock(&self.failure).get_or_insert(Failure::unprocessed(outcome));
    }

    /// The same for the connection.
    pub(crate) fn fail_transport(&self, kind: TransportKind) {
        self.fail(Outcome::Transport(kind));
    }

    /// How it failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        *lock(&self.failure)
    }
}
