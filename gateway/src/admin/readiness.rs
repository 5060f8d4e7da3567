//! Whether traffic should come, and if not, what is missing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use portcullis_identity::{CrlStatus, IssuerStatus};
use portcullis_pipeline::Gateway;
use portcullis_telemetry::timestamp::rfc3339;
use serde::Serialize;

/// How long after the start a gateway waits for the first answer of an issuer. Beyond, and for an issuer that came
/// with a reload, one who does not answer refuses its own tokens and takes nobody else's traffic away.
const FIRST_KEYS: Duration = Duration::from_secs(10);

/// Facts that only the app knows.
#[derive(Debug, Default)]
pub struct Readiness {
    serving_since: OnceLock<Instant>,
    is_draining: AtomicBool,
}

/// The answer of `/readyz`.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    ready: bool,
    /// What keeps traffic away.
    waiting_for: Vec<String>,
    /// What is not as it should be, but serves.
    stale: Vec<String>,
}

impl Readiness {
    /// The listeners accept connections.
    pub fn serving(&self) {
        // Called a second time it changes nothing: the first answers are waited for once.
        let _ = self.serving_since.set(Instant::now());
    }

    /// The gateway is going: from now on it is never ready again.
    pub fn draining(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// What holds now.
    #[must_use]
    pub fn report(&self, gateway: &Gateway) -> Report {
        let mut report = Report::default();
        if self.is_draining.load(Ordering::Acquire) {
            report
                .waiting_for
                .push("draining: this gateway is shutting down".to_owned());
        }
        let serving_since = self.serving_since.get();
        if serving_since.is_none() {
            report
                .waiting_for
                .push("listeners: they do not accept connections yet".to_owned());
        }
        let snapshot = gateway.snapshot();
        let is_early = serving_since.is_none_or(|since| since.elapsed() < FIRST_KEYS);
        for issuer in snapshot.identity.issuers_status() {
            report.note_issuer(&issuer, is_early);
        }
        let now = gateway.boards().identity.clock.wall();
        for list in gateway.boards().identity.crls.status() {
            report.note_list(&list, now);
        }
        if gateway.boards().identity.denied.metrics().is_failing() {
            report.stale.push(
                "deny list: the file on disk cannot be used, the last good list holds (see /deny)".to_owned(),
            );
        }
        if snapshot.plan.identity.workload_api {
            let identity = &gateway.boards().identity;
            let status = identity
                .workload
                .status(identity.clock.wall(), identity.clock.instant());
            match status.lack {
                Some(lack) => report.waiting_for.push(format!("workload API: {lack}")),
                None if status.is_connected => {}
                None => report.stale.push(format!(
                    "workload API: no agent, what it delivered serves for {} s",
                    status.expires_in.as_secs()
                )),
            }
        }
        for pool in snapshot.routing.pools().filter(|pool| !pool.was_checked()) {
            report.waiting_for.push(format!(
                "pool {}: not every endpoint was probed or resolved once",
                pool.id()
            ));
        }
        report.ready = report.waiting_for.is_empty();
        report
    }
}

impl Report {
    /// An issuer without usable keys refuses its own tokens with 503. To take the whole gateway out of rotation for
    /// it would make one dead provider everybody's outage, on every replica at once.
    fn note_issuer(&mut self, issuer: &IssuerStatus, is_early: bool) {
        let id = &issuer.id;
        match (issuer.usable, &issuer.last_fault) {
            (true, None) => {}
            (true, Some(fault)) => {
                self.stale.push(format!(
                    "issuer {id}: the last fetch of its keys failed ({fault})"
                ));
            }
            (false, None) if issuer.generation == 0 && is_early => {
                self.waiting_for
                    .push(format!("issuer {id}: its keys were not loaded yet"));
            }
            (false, fault) => {
                let fault = fault.as_ref().map(|fault| format!(" ({fault})"));
                let what = match (issuer.generation, issuer.keys) {
                    (0, _) => "its keys were never loaded",
                    (_, 0) => "its key set has no usable key",
                    _ => "its keys are too old to be used",
                };
                self.stale.push(format!(
                    "issuer {id}: {what}, its tokens are refused{}",
                    fault.unwrap_or_default()
                ));
            }
        }
    }

    fn note_list(&mut self, list: &CrlStatus, now: SystemTime) {
        let name = &list.name;
        if !list.was_tried {
            if list.is_named {
                self.waiting_for
                    .push(format!("revocation list {name}: it was not asked for yet"));
            }
            return;
        }
        if let Some(fault) = &list.last_fault {
            self.stale
                .push(format!("revocation list {name}: the last fetch failed ({fault})"));
        }
        if let Some(ended) = list.next_update.filter(|ended| *ended <= now) {
            self.stale.push(format!(
                "revocation list {name}: overdue, its next update was {}",
                rfc3339(ended)
            ));
        }
    }

    /// True when traffic may come.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// What is missing, in one line.
    #[must_use]
    pub fn missing(&self) -> String {
        self.waiting_for.join("; ")
    }
}
