//! A request that lives on: when its door has to ask again, and the verdict.

use std::sync::Arc;
use std::time::Instant;

use portcullis_identity::Pulse;
use portcullis_model::Rejection;

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

    /// When its principal's proof ends; `None` when nothing ends by itself.
    #[must_use]
    pub fn end_of_proof(&self) -> Option<Instant> {
        let admitted = self.admitted()?;
        lease::end_of_proof(&admitted.principal, self.now)
    }

    /// A fresh random number.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.gateway.random()
    }

    /// Judges a request under way again: by its proof, and, when another configuration serves, by that one.
    ///
    /// # Errors
    /// Returns the rejection that ends it; it is in the record then.
    pub fn judge_lease(&mut self) -> Result<(), Rejection> {
        // Read before anything that a beat announces: one more that comes meanwhile is not missed.
        let beats = self.pulse().count();
        self.now = self.gateway.now();
        let snapshot = self.gateway.snapshot();
        let is_other = !Arc::ptr_eq(&snapshot, &self.snapshot);
        self.snapshot = snapshot;
        let progress = std::mem::replace(&mut self.progress, Progress::Started);
        let Progress::Admitted(mut admitted) = progress else {
            self.progress = progress;
            return Ok(());
        };
        let verdict = if is_other {
            let region = self.attempts.region().cloned();
            let verdict = lease::judge_anew(&self.context(), &admitted, region.as_ref());
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
        self.lease.beats = beats;
        verdict.map_err(|rejection| self.refuse(rejection))
    }
}
