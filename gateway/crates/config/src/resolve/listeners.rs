//! `listeners`, apart from their TLS side.

use portcullis_model::{ListenerId, Origin};
use portcullis_pipeline::plan::{ConnectionLimits, ListenerPlan, ListenerRole};

use super::Resolver;
use crate::file::GatewayFile;
use crate::file::listeners::{ConnectionBounds, Listener, ProxyProtocol, Redirection};
use crate::file::section::{At, entries, items};
use crate::resolve::routes::guard_ref;

pub(super) fn plan(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> Vec<ListenerPlan> {
    entries(&file.listeners)
        .filter_map(|entry| Some(listener(&entry.name, entry.value.get()?, resolver)))
        .collect()
}

fn listener(name: &At<String>, listener: &Listener, resolver: &mut Resolver<'_, '_>) -> ListenerPlan {
    // No PROXY header is read so far; reading one has to be carried into the plan.
    let ProxyProtocol::Off = listener.proxy_protocol.or(ProxyProtocol::Off);
    ListenerPlan {
        id: ListenerId::from(name.value.as_str()),
        origin: name.origin.clone(),
        role: match listener.redirect_to_https.get() {
            Some(Redirection::To(port)) => ListenerRole::RedirectToHttps { port: *port },
            Some(Redirection::Off) | None => ListenerRole::Serve,
        },
        tls: !listener.tls.is_absent(),
        limits: listener
            .limits
            .get()
            .map_or_else(ConnectionLimits::default, |written| limits(written, resolver)),
        rate_limits: items(&listener.rate_limits).map(guard_ref).collect(),
    }
}

fn limits(bounds: &ConnectionBounds, resolver: &mut Resolver<'_, '_>) -> ConnectionLimits {
    let default = ConnectionLimits::default();
    let mut limits = default;
    let period = |key: &crate::file::section::Key<crate::file::units::Period>, default| {
        key.get().map_or(default, |period| period.0)
    };
    limits.header_timeout = period(&bounds.header_timeout, default.header_timeout);
    limits.handshake_timeout = period(&bounds.handshake_timeout, default.handshake_timeout);
    limits.idle_timeout = period(&bounds.idle_timeout, default.idle_timeout);
    limits.connection_age = period(&bounds.connection_age, default.connection_age);
    limits.body_rate = bounds.body_rate.get().map_or(default.body_rate, |rate| rate.0);
    if let Some(size) = bounds.max_header_bytes.at() {
        limits.max_header_bytes = header_bytes(size.value.0, &size.origin, resolver);
    }
    limits.max_headers = count(bounds.max_headers.get().map(|n| n.0), default.max_headers);
    limits.max_connections = count(bounds.max_connections.get().map(|n| n.0), default.max_connections);
    limits.per_address = count(bounds.per_address.get().map(|n| n.0), default.per_address);
    if let Some(requests) = bounds.requests_per_connection.get() {
        limits.requests_per_connection = u32::try_from(requests.0).unwrap_or(u32::MAX);
    }
    if let Some(rate) = bounds.handshakes_per_address.at() {
        if rate.value.per.as_secs() != 1 {
            let message = "handshakes are counted per second";
            resolver.error_with_hint("bad-unit", &rate.origin, message, "write one like \"50/s\"");
        }
        limits.handshakes_per_address = rate.value.count.get();
    }
    limits
}

fn count(number: Option<u64>, default: usize) -> usize {
    number
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(default)
}

/// A head below 1 KiB fits no browser's request; one above 1 MiB is a way to exhaust memory.
fn header_bytes(size: u64, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> usize {
    if !(1024..=1 << 20).contains(&size) {
        resolver.error(
            "out-of-range",
            origin,
            "a request head is bounded between 1KiB and 1MiB",
        );
    }
    usize::try_from(size).unwrap_or(usize::MAX)
}
