//! Keys that would do nothing where they stand: nothing is accepted and ignored.

use portcullis_identity::plan::ClientCertificates;
use portcullis_model::{Origin, Problem, Problems};

use super::is_written;
use crate::file::GatewayFile;
use crate::file::listeners::Listener;
use crate::file::routes::Route;
use crate::file::section::{At, Key, entries, items};

pub(super) fn check(file: &GatewayFile, problems: &mut Problems) {
    for route in items(&file.routes) {
        about_endpoints(&route.value, problems);
    }
    for listener in entries(&file.listeners).filter_map(|entry| entry.value.get()) {
        handshakes(listener, problems);
        trust_of_nobody(listener, problems);
    }
}

fn written_at<T>(key: &Key<T>) -> Option<&Origin> {
    key.at().map(|at| &at.origin)
}

/// What is said about endpoints, on a route that answers by itself.
fn about_endpoints(route: &Route, problems: &mut Problems) {
    if is_written(&route.pool) || !(is_written(&route.respond) || is_written(&route.redirect)) {
        return;
    }
    let keys = [
        ("residency", written_at(&route.residency)),
        ("timeouts", written_at(&route.timeouts)),
        ("retry", written_at(&route.retry)),
        ("upgrade", written_at(&route.upgrade)),
        ("rewrite", written_at(&route.rewrite)),
        ("request_headers", written_at(&route.request_headers)),
    ];
    for (key, origin) in keys {
        let Some(origin) = origin else { continue };
        let message = format!("`{key}` is about endpoints, and this route has none");
        let problem = Problem::error("conflicting-keys", origin, message);
        problems.push(problem.with_hint("remove it, or give the route a `pool`"));
    }
}

/// Bounds on handshakes, on a listener that makes none.
fn handshakes(listener: &Listener, problems: &mut Problems) {
    let Some(limits) = listener.limits.get().filter(|_| !is_written(&listener.tls)) else {
        return;
    };
    let keys = [
        ("handshake_timeout", written_at(&limits.handshake_timeout)),
        (
            "handshakes_per_address",
            written_at(&limits.handshakes_per_address),
        ),
    ];
    for (key, origin) in keys {
        let Some(origin) = origin else { continue };
        let message = format!("`{key}` does nothing here: the listener has no `tls`");
        problems.push(Problem::warning("unused", origin, message));
    }
}

/// Anchors for certificates that are not asked for.
fn trust_of_nobody(listener: &Listener, problems: &mut Problems) {
    let Some(tls) = listener.tls.get() else { return };
    let hosts = entries(&tls.hosts).filter_map(|entry| entry.value.get()?.client_certificates.get());
    for rules in tls.client_certificates.get().into_iter().chain(hosts) {
        if let (Some(At { value, origin: _ }), Some(trust)) = (rules.mode.at(), rules.trust.at())
            && *value == ClientCertificates::Off
        {
            let message = "`trust` does nothing here: with `mode: off` no certificate is asked for";
            problems.push(Problem::warning("unused", &trust.origin, message));
        }
    }
}
