//! Whether traffic should come, and if not, what is missing.

use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_pipeline::Gateway;
use serde::Serialize;

/// Facts that only the app knows.
#[derive(Debug, Default)]
pub struct Readiness {
    is_serving: AtomicBool,
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
        self.is_serving.store(true, Ordering::Release);
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
        if !self.is_serving.load(Ordering::Acquire) {
            report
                .waiting_for
                .push("listeners: they do not accept connections yet".to_owned());
        }
        let snapshot = gateway.snapshot();
        for issuer in snapshot.identity.issuers_status() {
            match (issuer.usable, issuer.last_fault) {
                (true, None) => {}
                (true, Some(fault)) => {
                    report.stale.push(format!(
                        "issuer {}: the last fetch of its keys failed ({fault})",
                        issuer.id
                    ));
                }
                (false, fault) => {
                    let fault = fault.map(|fault| format!(" ({fault})")).unwrap_or_default();
                    let what = match issuer.generation {
                        0 => "were never loaded",
                        _ => "are too old to be used",
                    };
                    report
                        .waiting_for
                        .push(format!("issuer {}: its keys {what}{fault}", issuer.id));
                }
            }
        }
        for list in gateway.boards().identity.crls.status() {
            match (list.was_tried, list.last_fault) {
                (true, None) => {}
                (true, Some(fault)) => report.stale.push(format!(
                    "revocation list {}: the last fetch failed ({fault})",
                    list.name
                )),
                (false, _) if list.is_named => report
                    .waiting_for
                    .push(format!("revocation list {}: it was not asked for yet", list.name)),
                (false, _) => {}
            }
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
