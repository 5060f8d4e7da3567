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

    /// When what was proven ends; `None` when nothing ends by itself.
    #[must_use]
    pub fn end_of_proof(&self) -> Option<Instant> {
        let admitted = self.admitted()?;
        lease::end_of_proof(&admitted.principal, self.connection.peer_identity(), self.now)
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
            })
        } else {
            let route = self.lease.route.clone();
            let route = route.as_ref().unwrap_or(&admitted.route);
            lease::judge_proof(&self.context(), &admitted, route)
        };
        self.progress = Progress::Admitted(admitted);
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
        let tls = self.attempts.endpoint().and_then(|endpoint| {
            let tls = self.snapshot.identity.upstream_tls(&endpoint.pool)?;
            Some((tls, endpoint.address))
        });
        let Some((tls, address)) = tls else {
            // The pool is gone, or speaks plaintext by now: no trust has changed.
            return Ok(proof.generation);
        };
        tls.still_accepts(proof, address)
            .map_err(|why| self.refuse(Rejection::new(Reason::EndpointIdentity).with_private(why)))
    }
}
