//! What an operator sees of a configuration and of the boards, as JSON: the admin port and the lists share it.

use std::time::Instant;

use portcullis_model::{EndpointId, Origin};
use portcullis_pipeline::plan::{ActionPlan, PathOddity, RoutePlan, SchemeKind};
use portcullis_pipeline::snapshot::Snapshot;
use portcullis_routing::health::EndpointState;
use portcullis_routing::plan::{
    EndpointAddress, HostPattern, MatchPlan, PathPattern, ProbePlan, Protocol, SegmentPattern,
};
use portcullis_routing::pool::{EndpointReport, Pool};
use serde_json::{Value, json};

/// Every route in the order written.
#[must_use]
pub fn routes(snapshot: &Snapshot) -> Value {
    let routes: Vec<Value> = snapshot
        .routes
        .iter()
        .map(|route| route_view(&route.plan))
        .collect();
    json!({ "revision": snapshot.revision, "routes": routes })
}

/// One route.
#[must_use]
pub fn route_view(plan: &RoutePlan) -> Value {
    let authenticate: Vec<String> = plan
        .authenticate
        .iter()
        .map(|scheme| match &scheme.scheme {
            SchemeKind::Jwt(issuer) => format!("jwt:{issuer}"),
            SchemeKind::Mtls(trust) => format!("mtls:{trust}"),
        })
        .collect();
    json!({
        "name": plan.id,
        "hosts": hosts(&plan.matches),
        "path": path_text(&plan.matches.path),
        "path_allow": path_allow(plan),
        "methods": plan.matches.methods.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "listeners": plan.listeners,
        "public": plan.public,
        "authenticate": authenticate,
        "authorize": plan.authorize.iter().map(|rule| rule_text(&rule.rule)).collect::<Vec<_>>(),
        "rate_limits": plan.rate_limits.iter().map(|limit| limit.id.as_str()).collect::<Vec<_>>(),
        "contract": plan.contract.as_ref().map(|contract| contract.id.as_str()),
        "class": plan.class.as_str(),
        "action": action(&plan.action),
        "written": place(&plan.origin),
    })
}

/// What the route lets into a path, in the words of the configuration.
fn path_allow(plan: &RoutePlan) -> Vec<&'static str> {
    let allowed = PathOddity::ALL
        .into_iter()
        .filter(|oddity| plan.path_allow.contains(*oddity));
    allowed.map(PathOddity::as_str).collect()
}

/// Every pool with what is known of its endpoints.
#[must_use]
pub fn pools(snapshot: &Snapshot, now: Instant) -> Value {
    let pools: Vec<Value> = snapshot
        .routing
        .pools()
        .map(|pool| pool_view(pool, now))
        .collect();
    json!({ "revision": snapshot.revision, "local": snapshot.routing.local(), "pools": pools })
}

fn pool_view(pool: &Pool, now: Instant) -> Value {
    let endpoints: Vec<Value> = pool.reports(now).iter().map(endpoint_view).collect();
    json!({
        "name": pool.id(),
        "protocol": protocol(pool.protocol()),
        "tls": pool.tls(),
        "probe": probe(pool),
        "in_flight": pool.in_flight(),
        "regions": pool.preference().regions(),
        "endpoints": endpoints,
        "names": names(pool),
        "written": place(&pool.plan().origin),
    })
}

/// The names that stand for endpoints.
fn names(pool: &Pool) -> Vec<Value> {
    let endpoints = pool
        .plan()
        .sites
        .iter()
        .flat_map(|site| site.endpoints.iter().map(move |one| (site, one)));
    let named = endpoints.filter_map(|(site, endpoint)| match &endpoint.address {
        EndpointAddress::Dns { host, port } => {
            Some(json!({ "region": site.region, "dns": format!("{host}:{port}"), "weight": endpoint.weight }))
        }
        EndpointAddress::Socket(_) => None,
    });
    named.collect()
}

/// One endpoint with its state and the evidence for it.
#[must_use]
pub fn endpoint_view(report: &EndpointReport) -> Value {
    let EndpointId {
        pool,
        region,
        address,
    } = &report.endpoint;
    let (success, samples) = report.success;
    json!({
        "pool": pool,
        "region": region,
        "address": address,
        "dns": report.dns,
        "weight": report.weight,
        "state": report.state.as_str(),
        "why": state_text(&report.state),
        "success": success,
        "samples": samples,
    })
}

/// Why an endpoint is in its state, in a sentence.
#[must_use]
pub fn state_text(state: &EndpointState) -> String {
    match state {
        EndpointState::Up => "usable".to_owned(),
        EndpointState::Trial => "one request is trying it after an ejection".to_owned(),
        EndpointState::Warming { failures: 0, .. } => "not probed yet".to_owned(),
        EndpointState::Warming { failures, error } => {
            format!(
                "never passed a probe, {failures} failed{}",
                because(error.as_deref())
            )
        }
        EndpointState::Down { failures, error } => {
            format!("{failures} probes in a row failed{}", because(error.as_deref()))
        }
        EndpointState::Ejected {
            cause,
            success,
            samples,
            trial_in,
        } => format!(
            "ejected by its answers ({cause:?}, {:.0} % of {samples} succeeded), next trial in {} ms",
            success * 100.0,
            trial_in.as_millis()
        ),
    }
}

fn because(error: Option<&str>) -> String {
    error.map(|error| format!(": {error}")).unwrap_or_default()
}

/// Where something is written, or nothing.
#[must_use]
pub fn place(origin: &Origin) -> Option<String> {
    (!origin.path.is_empty() || !origin.file.is_empty()).then(|| origin.to_string())
}

fn hosts(matches: &MatchPlan) -> Vec<String> {
    let text = |host: &HostPattern| match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(domain) => format!("*.{domain}"),
    };
    matches.hosts.iter().map(text).collect()
}

/// A path pattern as the configuration writes it.
#[must_use]
pub fn path_text(path: &PathPattern) -> String {
    match path {
        PathPattern::Regex(pattern) => format!("~ {pattern}"),
        PathPattern::Segments { segments, prefix } => {
            let mut text = String::new();
            for segment in segments {
                text.push('/');
                match segment {
                    SegmentPattern::Literal(literal) => text.push_str(literal),
                    SegmentPattern::Any(Some(name)) => text.push_str(&format!("{{{name}}}")),
                    SegmentPattern::Any(None) => text.push('*'),
                }
            }
            if *prefix {
                text.push_str("/**");
            }
            if text.is_empty() { "/".to_owned() } else { text }
        }
    }
}

fn rule_text(rule: &portcullis_admission::plan::RulePlan) -> String {
    use portcullis_admission::plan::RulePlan;
    match rule {
        RulePlan::Authenticated => "authenticated".to_owned(),
        RulePlan::Scope(scope) => format!("scope:{scope}"),
        RulePlan::Role(role) => format!("role:{role}"),
        RulePlan::Spiffe(patterns) => format!("spiffe:{}", patterns.join("|")),
        RulePlan::Policy(policy) => policy.to_string(),
    }
}

fn action(action: &ActionPlan) -> String {
    match action {
        ActionPlan::Pool(pool) => format!("pool:{pool}"),
        ActionPlan::Respond { status, .. } => format!("respond:{}", status.as_u16()),
        ActionPlan::KeySet => "respond:jwks".to_owned(),
        ActionPlan::Redirect { status, .. } => format!("redirect:{}", status.as_u16()),
    }
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Auto => "auto",
        Protocol::H1 => "h1",
        Protocol::H2 => "h2",
    }
}

fn probe(pool: &Pool) -> Option<String> {
    pool.health().probe.as_ref().map(|probe| match probe {
        ProbePlan::Http { path } => format!("http {path}"),
        ProbePlan::Tcp => "tcp".to_owned(),
    })
}

/// How the issuers' keys are doing.
#[must_use]
pub fn issuers(snapshot: &Snapshot) -> Value {
    let issuers: Vec<Value> = snapshot
        .identity
        .issuers_status()
        .into_iter()
        .map(|issuer| {
            json!({
                "name": issuer.id,
                "issuer": issuer.issuer,
                "keys": issuer.keys,
                "skipped": issuer.skipped,
                "generation": issuer.generation,
                "age_seconds": issuer.age.map(|age| age.as_secs()),
                "ends_in_seconds": issuer.ends_in.map(|left| left.as_secs()),
                "usable": issuer.usable,
                "last_fault": issuer.last_fault,
            })
        })
        .collect();
    json!({ "revision": snapshot.revision, "issuers": issuers })
}
