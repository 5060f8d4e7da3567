//! Routes: openness is spelt out, what is asked can be given, bodies fit.

use std::collections::BTreeSet;

use portcullis_identity::plan::ClientCertificates;
use portcullis_model::{Problem, Problems};
use portcullis_routing::plan::PathPattern;

use super::{is_written, policy_reading_body, redirects, serving_listeners};
use crate::file::GatewayFile;
use crate::file::listeners::{ClientCertificateRules, Listener};
use crate::file::routes::{Demand, Route};
use crate::file::section::{At, entries, items, one_or_many};
use crate::resolve::MAX_BODY_FOR_POLICY;

/// More routes than this are a generator gone wrong.
const MAX_ROUTES: usize = 10_000;

pub(super) fn check(file: &GatewayFile, problems: &mut Problems) {
    let count = items(&file.routes).count();
    if let (true, Some(at)) = (count > MAX_ROUTES, file.routes.at()) {
        let message = format!("{count} routes are more than {MAX_ROUTES}");
        problems.push(Problem::error("too-large", &at.origin, message));
        return;
    }
    if serving_listeners(file).next().is_none()
        && count > 0
        && file.listeners.get().is_some()
        && let Some(at) = file.routes.at()
    {
        problems.push(Problem::error(
            "missing-listener",
            &at.origin,
            "no listener serves these routes",
        ));
    }
    if count == 0 && !matches!(&file.routes, crate::file::section::Key::Broken) {
        let origin = file.routes.at().or(None).map(|at| at.origin.clone());
        let origin = origin
            .or_else(|| file.version.at().map(|at| at.origin.clone()))
            .unwrap_or_default();
        problems.push(Problem::warning(
            "unused",
            &origin,
            "there is no route: every request is answered 404",
        ));
    }
    for route in items(&file.routes) {
        openness(route, problems);
        schemes(file, route, problems);
        principals(file, route, problems);
        listeners(file, route, problems);
        bodies(file, route, problems);
        residency(file, route, problems);
        rewrite(&route.value, problems);
    }
}

fn describe(route: &At<Route>) -> String {
    route
        .value
        .name
        .get()
        .map_or_else(|| "a route".to_owned(), |name| format!("route {name:?}"))
}

/// A route states both `authenticate` and `authorize`, or `public: true`.
fn openness(at: &At<Route>, problems: &mut Problems) {
    let route = &at.value;
    let is_public = route.public.or(false);
    let is_empty = |is_written: bool, count: Option<usize>| !is_written || count == Some(0);
    let authenticates = !is_empty(
        is_written(&route.authenticate),
        route
            .authenticate
            .get()
            .filter(|list| !list.broken)
            .map(|list| list.items.len()),
    );
    let authorizes = !is_empty(
        is_written(&route.authorize),
        route
            .authorize
            .get()
            .filter(|list| !list.broken)
            .map(|list| list.items.len()),
    );
    if is_public {
        if authenticates {
            let origin = route.authenticate.at().map_or(&at.origin, |list| &list.origin);
            let message = format!("{} is public and asks who is there", describe(at));
            let hint = "remove `public: true`, or `authenticate`";
            problems.push(Problem::error("conflicting-keys", origin, message).with_hint(hint));
        }
        return;
    }
    // Whether it was meant to be public is not known when the key is broken.
    if is_written(&route.public) && route.public.get().is_none() {
        return;
    }
    let (message, hint) = match (authenticates, authorizes) {
        (true, true) => return,
        (true, false) => (
            "says who may ask, but not what they may do",
            "add `authorize: [authenticated]` or a stricter rule",
        ),
        (false, true) => (
            "says what may be done, but not who is asking",
            "add `authenticate: [ … ]`",
        ),
        (false, false) => (
            "is open to everybody without saying so",
            "add `authenticate` and `authorize`, or write `public: true`",
        ),
    };
    let message = format!("{} {message}", describe(at));
    problems.push(Problem::error("openness", &at.origin, message).with_hint(hint));
}

fn route_listeners<'a>(file: &'a GatewayFile, route: &'a Route) -> impl Iterator<Item = &'a Listener> {
    entries(&file.listeners)
        .filter(|entry| {
            !is_written(&route.listeners)
                || items(&route.listeners).any(|name| name.value == entry.name.value)
        })
        .filter_map(|entry| entry.value.get())
        .filter(|listener| !redirects(listener))
}

/// The same scheme twice, and certificates that no listener asks for.
fn schemes(file: &GatewayFile, at: &At<Route>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for scheme in items(&at.value.authenticate) {
        let key = (scheme.value.jwt.get(), scheme.value.mtls.get());
        if !seen.insert(key) {
            problems.push(Problem::error(
                "duplicate-name",
                &scheme.origin,
                "the scheme stands here twice",
            ));
        }
        let Some(trust) = scheme.value.mtls.at() else {
            continue;
        };
        if !entries(&file.trust).any(|entry| entry.name.value == trust.value) {
            continue;
        }
        let is_asked = route_listeners(file, &at.value).any(|listener| asks_for(listener, &trust.value));
        if !is_asked {
            let message = format!(
                "no listener of {} asks for certificates under {:?}",
                describe(at),
                trust.value
            );
            let hint = "add `client_certificates: { mode: request, trust: [ … ] }` to the listener's `tls`";
            problems.push(Problem::warning("unreachable-scheme", &trust.origin, message).with_hint(hint));
        }
    }
}

fn asks_for(listener: &Listener, trust: &str) -> bool {
    let Some(tls) = listener.tls.get() else {
        return false;
    };
    let asks = |rules: &ClientCertificateRules| {
        rules
            .mode
            .get()
            .is_some_and(|mode| *mode != ClientCertificates::Off)
            && items(&rules.trust).any(|name| name.value == trust)
    };
    tls.client_certificates.get().is_some_and(asks)
        || entries(&tls.hosts)
            .filter_map(|entry| entry.value.get()?.client_certificates.get())
            .any(asks)
}

/// Rules and keys that need a principal, on a route that never has one.
fn principals(file: &GatewayFile, at: &At<Route>, problems: &mut Problems) {
    let route = &at.value;
    if !route.public.or(false) {
        return;
    }
    for rule in items(&route.authorize) {
        match rule.value.demand {
            Demand::Policy(_) => {}
            Demand::Authenticated | Demand::Scope(_) | Demand::Role(_) | Demand::Spiffe(_) => {
                let message = format!("{} is public, so this rule would refuse everybody", describe(at));
                problems.push(Problem::error("never-allowed", &rule.origin, message));
            }
        }
    }
    for reference in items(&route.rate_limits) {
        let named = |name: &str| entries(&file.rate_limits).find(|entry| entry.name.value == name);
        let limit = named(&reference.value.name.value).and_then(|entry| entry.value.get());
        let mut parts = limit
            .and_then(|limit| limit.key.get())
            .into_iter()
            .flat_map(|key| key.0.iter());
        if parts.any(|part| part.value.needs_principal()) {
            let message = format!(
                "{} is public, so everybody would share one bucket of {:?}",
                describe(at),
                reference.value.name.value
            );
            let hint = "key it by client.address";
            problems.push(Problem::error("limit-key", &reference.origin, message).with_hint(hint));
        }
    }
}

fn listeners(file: &GatewayFile, at: &At<Route>, problems: &mut Problems) {
    let Some(list) = at.value.listeners.at() else {
        return;
    };
    if list.value.items.is_empty() && !list.value.broken {
        let problem = Problem::error("bad-value", &list.origin, "the route stands on no listener");
        problems.push(problem.with_hint("leave `listeners` out for every listener"));
    }
    let mut seen = BTreeSet::new();
    for name in list.value.iter() {
        if !seen.insert(name.value.as_str()) {
            let message = format!("listener {:?} stands here twice", name.value);
            problems.push(Problem::error("duplicate-name", &name.origin, message));
        }
        let listener = entries(&file.listeners).find(|entry| entry.name.value == name.value);
        if listener
            .and_then(|entry| entry.value.get())
            .is_some_and(redirects)
        {
            let message = format!("listener {:?} redirects to HTTPS and serves no route", name.value);
            problems.push(Problem::error("bad-value", &name.origin, message));
        }
    }
}

/// What a policy reads of a body is bounded, so a route that it decides may not allow more.
fn bodies(file: &GatewayFile, at: &At<Route>, problems: &mut Problems) {
    let Some(max) = at.value.body.get().and_then(|body| body.max.at()) else {
        return;
    };
    if let Some(policy) = policy_reading_body(file, &at.value)
        && max.value.0 > MAX_BODY_FOR_POLICY
    {
        let message = format!("policy {policy:?} reads the body, so no more than 64KiB may be allowed");
        problems.push(Problem::error("body-limit", &max.origin, message).with_hint("write \"64KiB\""));
    }
    let gateway = file.gateway.get();
    let held = gateway.and_then(|gateway| gateway.memory.get()?.held_bodies.get());
    if let Some(held) = held
        && is_written(&at.value.contract)
        && max.value.0 > held.0
    {
        let message =
            "one body of this size is more than `gateway.memory.held_bodies` allows for all of them";
        problems.push(Problem::error("body-limit", &max.origin, message));
    }
}

fn residency(file: &GatewayFile, at: &At<Route>, problems: &mut Problems) {
    let Some(residency) = at.value.residency.at() else {
        return;
    };
    let keys = &residency.value;
    if keys.from.is_absent()
        && one_or_many(&keys.default).next().is_none()
        && keys.default.get().is_none_or(|many| !many.0.broken)
    {
        let message = "residency needs `from`, `default` or both";
        problems.push(Problem::error("missing-key", &residency.origin, message));
    }
    if is_written(&keys.from) && file.jurisdictions.is_absent() {
        let message = "residency is told by jurisdiction, and none is defined";
        let hint = "add `jurisdictions: { EU: [ … ] }`";
        problems.push(Problem::error("missing-key", &residency.origin, message).with_hint(hint));
    }
    if is_written(&keys.from) && at.value.public.or(false) {
        let message = format!(
            "{} is public, so no verified identity says where it may go",
            describe(at)
        );
        problems.push(Problem::error("conflicting-keys", &residency.origin, message));
    }
    unservable(file, at, problems);
}

/// A default jurisdiction in which the pool has no site: every such request would be refused.
fn unservable(file: &GatewayFile, at: &At<Route>, problems: &mut Problems) {
    let pool = at
        .value
        .pool
        .get()
        .and_then(|name| entries(&file.pools).find(|entry| entry.name.value == *name));
    let Some(pool) = pool
        .and_then(|entry| entry.value.get())
        .filter(|pool| is_written(&pool.sites))
    else {
        return;
    };
    let sites: Vec<&str> = entries(&pool.sites)
        .map(|site| site.name.value.as_str())
        .collect();
    let defaults = at
        .value
        .residency
        .get()
        .into_iter()
        .flat_map(|residency| one_or_many(&residency.default));
    for name in defaults {
        let regions = entries(&file.jurisdictions).find(|entry| entry.name.value == name.value);
        let Some(regions) = regions.and_then(|entry| entry.value.get()) else {
            continue;
        };
        if !regions
            .iter()
            .any(|region| sites.contains(&region.value.as_str()))
        {
            let message = format!("the pool of {} has no site in {}", describe(at), name.value);
            problems.push(Problem::warning("residency-unservable", &name.origin, message));
        }
    }
}

/// A prefix is replaced only where there is one.
fn rewrite(route: &Route, problems: &mut Problems) {
    let Some(prefix) = route.rewrite.get().and_then(|rewrite| rewrite.prefix.at()) else {
        return;
    };
    let Some(path) = route.matches.get().and_then(|matches| matches.path.get()) else {
        return;
    };
    match &path.0 {
        PathPattern::Segments { .. } => {}
        PathPattern::Regex(_) => {
            let message = "a regular expression has no literal prefix that could be replaced";
            problems.push(Problem::error("conflicting-keys", &prefix.origin, message));
        }
    }
}
