//! The way of an admitted request to an endpoint and back: one attempt after another, one piece of evidence each.

use std::time::SystemTime;

use http::{HeaderMap, StatusCode};
use portcullis_model::{Reason, Rejection, Stage};
use portcullis_routing::attempt::Failure;

use super::{Exchange, Observation, Progress};
use crate::snapshot::Action;
use crate::stages;
use crate::stages::admitted::Admitted;
use crate::stages::prepare_upstream::UpstreamHead;
use crate::stages::select_endpoint::Target;

impl Exchange {
    /// `select_endpoint`: the endpoint of the next attempt.
    ///
    /// # Errors
    /// Returns the rejection when no allowed endpoint can serve.
    pub fn select_endpoint(&mut self) -> Result<Target, Rejection> {
        self.now.mono = self.gateway.mono();
        let outcome = match &mut self.progress {
            Progress::Admitted(admitted) => {
                admitted.restart_body();
                let draw = stages::select_endpoint::Draw {
                    roll: self.roll,
                    now: self.now.mono,
                    assume_healthy: self.is_offline,
                };
                stages::select_endpoint::select_endpoint(admitted, &mut self.attempts, draw)
            }
            Progress::Started | Progress::AwaitingBody(_) | Progress::Answered => {
                Err(Rejection::new(Reason::Internal).with_private("select_endpoint before authorize"))
            }
        };
        match outcome {
            Ok(target) => {
                self.context()
                    .note(Stage::SelectEndpoint, Some(&target.origin), || target.describe());
                Ok(target)
            }
            Err(rejection) => Err(self.refuse(rejection)),
        }
    }

    /// `prepare_upstream`: the head that leaves, built from parsed parts.
    ///
    /// # Errors
    /// Returns `internal` when called for a request that was not admitted.
    pub fn prepare_upstream(&self, target: &Target) -> Result<UpstreamHead, Rejection> {
        let admitted = self.admitted().ok_or_else(|| Rejection::new(Reason::Internal))?;
        let mut head = stages::prepare_upstream::prepare_upstream(
            admitted,
            target,
            self.connection.peer.ip(),
            (&self.record.request_id, &self.trace),
        )?;
        self.forward_identity(admitted, &mut head.headers)?;
        Ok(head)
    }

    /// Writes what the pool's endpoints are told of the principal, after everything that a route or a policy sets. An
    /// attempt may come long after the request, so the time is read anew.
    fn forward_identity(&self, admitted: &Admitted, headers: &mut HeaderMap) -> Result<(), Rejection> {
        let Action::Forward {
            forwarding: Some(forwarding),
            ..
        } = &admitted.route.action
        else {
            return Ok(());
        };
        let now = self.gateway.wall();
        let connection = &self.connection;
        let at = (&connection.listener, connection.sni());
        let peer = connection.peer_identity().filter(|peer| {
            // A rehearsal made no handshake that could have verified it.
            forwarding.tells_certificate()
                && (self.is_offline
                    || self.is_vouched_for(admitted, now)
                    || self.snapshot.identity.vouches_for(at, peer, now))
        });
        let principal = &admitted.principal;
        match self.is_offline {
            true => forwarding.rehearse(principal, peer, now, headers),
            false => forwarding.write(principal, peer, now, headers),
        }
    }

    /// True while what was found of the certificate when the request came cannot have changed.
    fn is_vouched_for(&self, admitted: &Admitted, now: SystemTime) -> bool {
        let until = admitted.canonical.vouched_until;
        until.is_some_and(|until| now < until) && self.beats() == self.pulse().count()
    }

    /// `retry`: an attempt ended without an answer, and why. `Ok`: call `select_endpoint` again.
    ///
    /// # Errors
    /// Returns the rejection to answer with when there is no further attempt.
    pub fn attempt_failed(
        &mut self,
        failure: &Failure,
        is_replayable: bool,
        why: &'static str,
    ) -> Result<(), Rejection> {
        let now = self.gateway.mono();
        let Progress::Admitted(admitted) = &self.progress else {
            return Err(self.refuse(Rejection::new(Reason::Internal)));
        };
        let outcome = self.attempts.failed(
            admitted,
            &self.gateway.boards().routing,
            failure,
            is_replayable,
            now,
        );
        outcome.map_err(|reason| self.refuse(Rejection::new(reason).with_private(why)))
    }

    /// `observe`: an endpoint's response head arrived; its fields are made ours.
    pub fn observe(
        &mut self,
        status: StatusCode,
        headers: &mut HeaderMap,
        is_replayable: bool,
    ) -> Observation {
        let now = self.gateway.mono();
        let Progress::Admitted(admitted) = &self.progress else {
            return Observation::Pass;
        };
        let again = self.attempts.answered(
            admitted,
            &self.gateway.boards().routing,
            (status, headers),
            is_replayable,
            now,
        );
        if again {
            return Observation::Again;
        }
        self.record.first_byte = Some(now.saturating_duration_since(self.begun.mono));
        stages::observe::observe(admitted, &self.record.request_id, headers);
        Observation::Pass
    }

    /// The endpoint's answer broke off after its head, and why: evidence, and no further attempt.
    pub fn answer_broke(&mut self, why: &'static str) {
        self.record.private.get_or_insert_with(|| why.to_owned());
        let now = self.gateway.mono();
        self.attempts.broke(now);
    }
}
