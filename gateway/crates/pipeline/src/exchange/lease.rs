//! A request that lives on: when its door has to ask again, and the verdict.

use std::sync::Arc;
use std::time::Instant;

use portcullis_identity::{EndpointProof, Pulse};
use portcullis_model::{Reason, Rejection};

use super::{Exchange, Progress};
use crate::lease;

impl Exchange {
    /// What beats when the lease has to be judged again.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.gateway.boards().identity.pulse
    }

    /// The beats of the pulse under which this exchange was judged last: more of them since mean that it has to be
    /// judged.
    #[must_use]
    pub const fn beats(&self) -> u64 {
        self.lease.beats
    }

    /// When the exchange began.
    #[must_use]
    pub const fn begun(&self) -> Instant {
        self.begun.mono
    }

    /// When what was proven ends, or is not waited for any more; `None` when nothing ends by itself.
    #[must_use]
    pub fn end_of_proof(&self) -> Option<Instant> {
        let admitted = self.admitted()?;
        let proof = lease::end_of_proof(&admitted.principal, self.connection.peer_identity(), self.now);
        proof.into_iter().chain(self.lease.awaits_until).min()
    }

    /// True when another configuration than the one that it began with judged it.
    #[must_use]
    pub const fn is_renewed(&self) -> bool {
        self.lease.route.is_some()
    }

    /// A fresh random number.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.gateway.random()
    }

    /// Judges a request under way again: by its proof, and, when another configuration serves, by that one. A policy
    /// that could not be asked is asked a few times more: then this is `Ok`, and there are still more beats than
    /// [`Self::beats`] says.
    ///
    /// # Errors
    /// Returns the rejection that ends it; it is in the record then.
    pub fn judge_lease(&mut self) -> Result<(), Rejection> {
        // Read before anything that a beat announces: one more that comes meanwhile is not missed.
        let beats = self.pulse().count();
        self.now = self.gateway.now();
        let before = std::mem::replace(&mut self.snapshot, self.gateway.snapshot());
        let is_other = !Arc::ptr_eq(&before, &self.snapshot);
        let progress = std::mem::replace(&mut self.progress, Progress::Started);
        let Progress::Admitted(mut admitted) = progress else {
            self.progress = progress;
            return Ok(());
        };
        // What was found of the certificate was found under other beats.
        admitted.canonical.vouched_until = None;
        let verdict = if is_other {
            let endpoint = self.attempts.endpoint().cloned();
            let region = endpoint.as_ref().map(|endpoint| &endpoint.region);
            let verdict = lease::judge_anew(&self.context(), &admitted, region);
            verdict.map(|renewed| {
                admitted.allowed = renewed.allowed;
                self.lease.route = Some(renewed.route);
                renewed.patience
            })
        } else {
            let route = self.lease.route.clone();
            let route = route.as_ref().unwrap_or(&admitted.route);
            lease::judge_proof(&self.context(), &admitted, route)
        };
        self.progress = Progress::Admitted(admitted);
        let verdict = verdict.and_then(|patience| self.lease.await_keys(patience, self.now.mono));
        match verdict {
            Err(rejection) if self.lease.may_ask_again(&rejection) => {
                // Nothing was judged: the beat still stands out, and so does the other configuration.
                self.snapshot = before;
                Ok(())
            }
            Err(rejection) => Err(self.refuse(rejection)),
            Ok(()) => {
                self.lease.beats = beats;
                self.lease.unanswered = 0;
                Ok(())
            }
        }
    }

    /// Judges what the endpoint of the attempt under way proved when its connection was made; gives the generation
    /// that the proof holds for.
    ///
    /// # Errors
    /// Returns the rejection that ends the exchange; it is in the record then.
    pub fn judge_endpoint(&mut self, proof: &EndpointProof<'_>) -> Result<u64, Rejection> {
        let endpoint = self.attempts.endpoint();
        let tls = endpoint.and_then(|endpoint| {
            let renewed = self.snapshot.identity.upstream_tls(&endpoint.pool);
            // A pool that is gone, or speaks plaintext by now: what the connection was made by goes on to judge it.
            let tls = renewed.or_else(|| self.admitted()?.route.action.tls().cloned())?;
            Some((tls, endpoint.address))
        });
        let Some((tls, address)) = tls else {
            let private = "nothing is left to judge the endpoint by";
            return Err(self.refuse(Rejection::new(Reason::EndpointIdentity).with_private(private)));
        };
        tls.still_accepts(proof, address)
            .map_err(|why| self.refuse(Rejection::new(Reason::EndpointIdentity).with_private(why)))
    }
}
