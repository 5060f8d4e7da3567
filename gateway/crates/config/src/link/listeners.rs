//! Listeners: addresses, plaintext, what is paid before the route is known.

use std::net::SocketAddr;

use portcullis_admission::plan::KeyPart;
use portcullis_identity::plan::ClientCertificates;
use portcullis_model::{Origin, Problem, Problems};

use super::{has_workload_api, is_written, redirects};
use crate::file::GatewayFile;
use crate::file::listeners::{ClientCertificateRules, Listener};
use crate::file::section::{At, entries, items, one_or_many};
use crate::resolve::admin;

pub(super) fn check(file: &GatewayFile, problems: &mut Problems) {
    addresses(file, problems);
    admin_port(file, problems);
    trust(file, problems);
    if file
        .listeners
        .get()
        .is_some_and(|listeners| listeners.0.is_empty())
        && let Some(at) = file.listeners.at()
    {
        problems.push(Problem::error("bad-value", &at.origin, "there is no listener"));
    }
    for entry in entries(&file.listeners) {
        let Some(listener) = entry.value.get() else {
            continue;
        };
        plaintext(listener, &entry.name, problems);
        redirection(listener, &entry.name, problems);
        rate_limits(file, listener, problems);
        client_certificates(listener, problems);
        if let (Some(at), false) = (listener.protocols.at(), is_written(&listener.tls)) {
            let message = "`protocols` are negotiated under TLS, and this listener has none";
            problems.push(Problem::error("conflicting-keys", &at.origin, message));
        }
        if let Some(at) = listener.listen.at()
            && at.value.0.items.is_empty()
            && !at.value.0.broken
        {
            problems.push(Problem::error("bad-value", &at.origin, "no address is named"));
        }
    }
}

/// No two sockets want the same port of the same address; 0 is any free port.
fn addresses(file: &GatewayFile, problems: &mut Problems) {
    let mut seen: Vec<(SocketAddr, &Origin)> = Vec::new();
    let admin_origin = admin_at(file).map(|at| &at.origin);
    let admin_keys = file.gateway.get().and_then(|gateway| gateway.admin.get());
    let is_default_admin = admin_keys.is_none_or(|keys| keys.listen.is_absent());
    let listening = entries(&file.listeners)
        .filter_map(|entry| entry.value.get())
        .flat_map(|listener| one_or_many(&listener.listen))
        .map(|at| (at.value, &at.origin));
    let all = listening.chain(admin_origin.map(|origin| (admin(file), origin)));
    for (address, origin) in all {
        if address.port() != 0
            && let Some((taken, first)) = seen.iter().find(|(other, _)| overlap(*other, address))
        {
            let message = format!("{address} is taken by {taken} already");
            let hint = format!("{} on line {}", first.path, first.line);
            problems.push(Problem::error("duplicate-address", origin, message).with_hint(hint));
        }
        if is_default_admin && overlap(admin(file), address) {
            let message = format!("{address} is taken by the admin port");
            let hint = "move one of them: `gateway: { admin: { listen: \"127.0.0.1:9902\" } }`";
            problems.push(Problem::error("duplicate-address", origin, message).with_hint(hint));
        }
        seen.push((address, origin));
    }
}

fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    let is_wild = left.ip().is_unspecified() || right.ip().is_unspecified();
    left.port() == right.port() && (left.ip() == right.ip() || (is_wild && left.is_ipv4() == right.is_ipv4()))
}

fn admin_at(file: &GatewayFile) -> Option<&At<SocketAddr>> {
    file.gateway.get()?.admin.get()?.listen.at()
}

fn admin_port(file: &GatewayFile, problems: &mut Problems) {
    if let Some(at) = admin_at(file)
        && !at.value.ip().is_loopback()
    {
        let message = "an admin port outside loopback is not supported yet: it would need credentials";
        let problem = Problem::error("not-supported-yet", &at.origin, message);
        problems.push(problem.with_hint(format!("write \"127.0.0.1:{}\"", at.value.port())));
    }
}

fn plaintext(listener: &Listener, name: &At<String>, problems: &mut Problems) {
    let is_plain = !is_written(&listener.tls) && !redirects(listener);
    if is_plain && !listener.danger_plaintext.or(false) {
        for address in one_or_many(&listener.listen).filter(|at| !at.value.ip().is_loopback()) {
            let message = format!(
                "listener {:?} would serve plain HTTP outside loopback",
                name.value
            );
            let hint = "give it `tls`, listen on 127.0.0.1, or write `danger_plaintext: true`";
            problems.push(Problem::error("plaintext", &address.origin, message).with_hint(hint));
        }
    }
    if let (false, Some(At { value: true, origin })) = (is_plain, listener.danger_plaintext.at()) {
        let message = "`danger_plaintext` does nothing here: the listener serves nothing in plaintext";
        problems.push(Problem::warning("unused", origin, message));
    }
}

fn redirection(listener: &Listener, name: &At<String>, problems: &mut Problems) {
    if redirects(listener)
        && let Some(tls) = listener.tls.at()
    {
        let message = format!("listener {:?} redirects to HTTPS and is HTTPS itself", name.value);
        problems.push(Problem::error("conflicting-keys", &tls.origin, message));
    }
}

fn rate_limits(file: &GatewayFile, listener: &Listener, problems: &mut Problems) {
    for reference in items(&listener.rate_limits) {
        let named = |name: &str| entries(&file.rate_limits).find(|entry| entry.name.value == name);
        let Some(limit) = named(&reference.value.name.value).and_then(|entry| entry.value.get()) else {
            continue;
        };
        let mut parts = limit.key.get().into_iter().flat_map(|key| key.0.iter());
        if let Some(part) = parts.find(|part| !part.value.is_known_before_the_route()) {
            let message = format!(
                "the limit {:?} is keyed by {}, which a listener does not know",
                reference.value.name.value,
                describe(&part.value)
            );
            let hint = "a listener's limits are keyed by client.address, client.sni or request.host; \
                        refer to this one from routes";
            problems.push(Problem::error("limit-key", &reference.origin, message).with_hint(hint));
        }
    }
}

fn describe(part: &KeyPart) -> &'static str {
    match part {
        KeyPart::Principal | KeyPart::Tenant | KeyPart::Claim(_) => "the principal",
        KeyPart::Route => "the route",
        KeyPart::Header(_) => "a request field",
        KeyPart::ClientAddress | KeyPart::Sni | KeyPart::Host => "the connection",
    }
}

fn client_certificates(listener: &Listener, problems: &mut Problems) {
    let Some(tls) = listener.tls.get() else { return };
    let hosts = entries(&tls.hosts).filter_map(|entry| entry.value.get()?.client_certificates.at());
    for rules in tls.client_certificates.at().into_iter().chain(hosts) {
        let ClientCertificateRules {
            mode,
            trust,
            crl,
            on_stale_crl,
            has_refused_keys: _,
        } = &rules.value;
        // Wherever one of these is written, its reader refused it.
        let _refused_by_their_reader = (crl, on_stale_crl);
        let names_nobody = trust.is_absent()
            || trust
                .get()
                .is_some_and(|list| list.items.is_empty() && !list.broken);
        match mode.get() {
            Some(ClientCertificates::Request | ClientCertificates::Require) if names_nobody => {
                let message =
                    "client certificates are asked for, but `trust` does not say by whose anchors they count";
                let problem = Problem::error("missing-key", &rules.origin, message);
                problems.push(problem.with_hint("add `trust: [ … ]` with names under `trust`"));
            }
            Some(ClientCertificates::Off | ClientCertificates::Request | ClientCertificates::Require)
            | None => {}
        }
    }
}

/// What a trust domain vouches with comes from a file or from the Workload API: certificates and JWT authorities.
fn trust(file: &GatewayFile, problems: &mut Problems) {
    for entry in entries(&file.trust) {
        let Some(trust) = entry.value.get() else { continue };
        let has_file = is_written(&trust.pem) || is_written(&trust.bundle);
        if !has_file && is_written(&trust.spiffe) && !has_workload_api(file) {
            let message = format!("nobody gives the trust bundle of {:?}", entry.name.value);
            let hint = "add `pem: …` or `bundle: …`, or `gateway: { workload_api: unix:///… }`";
            problems.push(Problem::error("missing-bundle", &entry.name.origin, message).with_hint(hint));
        }
    }
    for entry in entries(&file.issuers) {
        let Some(issuer) = entry.value.get() else { continue };
        let has_bundle = || {
            let trusts = entries(&file.trust).filter_map(|trust| trust.value.get());
            let mut bundles = trusts.filter(|trust| is_written(&trust.bundle));
            bundles.any(|trust| trust.spiffe.get() == issuer.spiffe.get())
        };
        let has_keys = is_written(&issuer.jwks) || has_bundle();
        if !has_keys && is_written(&issuer.spiffe) && !has_workload_api(file) {
            let message = format!("nobody gives the JWT authorities of {:?}", entry.name.value);
            let hint =
                "add `jwks: { file: … }`, a `bundle` to its trust, or `gateway: { workload_api: unix:///… }`";
            problems.push(Problem::error("missing-bundle", &entry.name.origin, message).with_hint(hint));
        }
    }
}
