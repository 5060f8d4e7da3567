//! While nothing moves: who is waited for, until when, and what it means when the time is over.

use std::task::{Context, Poll};

use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::Ending;
use portcullis_routing::attempt::{Failure, Outcome};
use tokio::time::Instant;

use super::{Answer, Relay, Relayed};

/// Who is waited for while nothing moves.
#[derive(Clone, Copy)]
enum Wait {
    /// The client, to send more of its body.
    Upload,
    /// The endpoint, to begin its answer.
    Head,
    /// The client, to read; since then.
    Reader(Instant),
    /// The endpoint, to go on.
    Piece,
}

impl Relay<'_, '_> {
    pub(super) fn poll_deadlines(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<Relayed> {
        let wait = self.wait();
        let due = match wait {
            Wait::Upload => self.deadlines.respond_by,
            Wait::Head => {
                let patience = self.last_move + self.deadlines.first_byte;
                patience.min(self.deadlines.respond_by)
            }
            Wait::Reader(since) => since + self.deadlines.idle,
            Wait::Piece => self.last_move + self.deadlines.idle,
        };
        let body_due = self.body.clock.due();
        let first = body_due.map_or(due, |body_due| body_due.min(due));
        if let Some(lease_due) = self.lease.due().filter(|lease_due| *lease_due < first) {
            if self.timer.poll_due(lease_due, now, context).is_ready() {
                // Time passed meanwhile; the next turn judges.
                context.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        if self.timer.poll_due(first, now, context).is_pending() {
            return Poll::Pending;
        }
        if body_due == Some(first) {
            return Poll::Ready(self.refused(Rejection::new(Reason::BodyTimeout)));
        }
        Poll::Ready(match wait {
            // The endpoint cannot answer what it has not got.
            Wait::Upload => Relayed::Refused(Rejection::new(Reason::BodyTimeout)),
            Wait::Head => self.silence(now),
            Wait::Reader(_) => Relayed::Broken(Ending::DeadlinePassed, None),
            // In a tunnel, and while a body is still sent, it may as well be the client that says nothing.
            Wait::Piece => {
                let is_endpoints = self.is_sent && self.tunnel.is_none();
                let why = is_endpoints.then_some("silent in its answer");
                Relayed::Broken(Ending::DeadlinePassed, why)
            }
        })
    }

    /// Who is waited for.
    fn wait(&self) -> Wait {
        match (&self.answer, self.blocked_since) {
            (Answer::Awaited, _) if !self.is_sent && self.body.clock.due().is_some() => Wait::Upload,
            (Answer::Awaited, _) => Wait::Head,
            (_, Some(since)) => Wait::Reader(since),
            (_, None) => Wait::Piece,
        }
    }

    /// The endpoint said nothing. What the client's upload left of the time is evidence only when it was enough.
    fn silence(&self, now: Instant) -> Relayed {
        let waited = now.saturating_duration_since(self.last_move);
        if self.body.clock.bytes() > 0 && waited < self.deadlines.first_byte / 2 {
            return Relayed::Refused(Rejection::new(Reason::EndpointTimeout));
        }
        let failure = if self.upstream.has_left() {
            Failure::of(Outcome::Silence)
        } else {
            Failure::unprocessed(Outcome::Silence)
        };
        Relayed::Failed(failure, "silent before its answer")
    }
}
