//! An explanation, as JSON for programs and as text for people.

use std::net::{IpAddr, Ipv4Addr};

use portcullis_identity::plan::{KeySource, TrustAnchors, UpstreamPeer};
use portcullis_model::{Problems, Rejection};
use portcullis_pipeline::plan::{ActionPlan, SchemeKind};
use portcullis_pipeline::{Exchange, LocalAnswer, StageReport, Target, UpstreamHead};
use serde::Serialize;
use serde_json::Value;

use super::request::Asked;
use crate::admin::views::place;
use crate::configuration::Rehearsal;

/// Stands for the answer that DNS would have given (RFC 5737).
const UNRESOLVED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// How the rehearsal ended.
pub(super) enum Outcome {
    Forwarded(Box<(Target, UpstreamHead)>),
    Answered(LocalAnswer),
    Refused {
        rejection: Rejection,
        answer: LocalAnswer,
    },
}

/// Everything that was found out.
#[derive(Serialize)]
pub(super) struct Explanation {
    request: String,
    revision: String,
    region: String,
    listener: String,
    route: Option<String>,
    principal: Option<String>,
    steps: Vec<Step>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refusal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<EndpointView>,
    assumed: Vec<String>,
    would_have_fetched: Vec<String>,
    warnings: usize,
}

#[derive(Serialize)]
struct Step {
    stage: String,
    verdict: &'static str,
    detail: String,
    decided_by: Option<String>,
}

#[derive(Serialize)]
struct Refusal {
    stage: String,
    reason: &'static str,
    decided_by: Option<String>,
}

#[derive(Serialize)]
struct AnswerView {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Serialize)]
struct EndpointView {
    pool: String,
    region: String,
    address: Option<String>,
    dns: Option<String>,
    tls: bool,
    method: String,
    target: String,
    host: String,
    headers: Vec<(String, String)>,
    passed_over: Vec<String>,
}

/// What a gateway that serves this configuration fetches, and `explain` does not.
pub(super) struct Fetches {
    dns: Vec<String>,
    keys: Vec<(String, String)>,
    workload: Option<String>,
}

impl Fetches {
    /// Collects them, and puts an address of no meaning on the board for every name that would be resolved.
    pub(super) fn stand_in(rehearsal: &Rehearsal) -> Self {
        let names = rehearsal.snapshot.routing.dns_names();
        for (host, port) in &names {
            rehearsal
                .boards
                .routing
                .addresses
                .publish(host, *port, &[UNRESOLVED]);
        }
        let identity = &rehearsal.snapshot.plan.identity;
        let keys = identity.issuers.iter().filter_map(|issuer| {
            let what = match &issuer.keys {
                KeySource::Document(_) => return None,
                KeySource::Url(url) => format!("the keys of issuer \"{}\" from {url}", issuer.id),
                KeySource::Discovery => {
                    let issuer_url = issuer.issuer.trim_end_matches('/');
                    format!(
                        "the keys of issuer \"{}\" by {issuer_url}/.well-known/openid-configuration",
                        issuer.id
                    )
                }
            };
            Some((issuer.id.to_string(), what))
        });
        let needs_workload = identity.workload_api
            && (identity.svid.is_none()
                || identity
                    .trust
                    .iter()
                    .any(|one| matches!(one.anchors, TrustAnchors::TrustDomain(_, None)))
                || identity
                    .upstreams
                    .iter()
                    .any(|one| matches!(one.peer, UpstreamPeer::Spiffe { anchors: None, .. })));
        let endpoint = rehearsal
            .boot
            .workload_api
            .as_deref()
            .unwrap_or("the Workload API");
        Self {
            dns: names
                .iter()
                .map(|(host, port)| format!("the addresses of {host}:{port} from DNS"))
                .collect(),
            keys: keys.collect(),
            workload: needs_workload.then(|| format!("identities and bundles from {endpoint}")),
        }
    }

    /// Those that this request would have needed.
    fn needed_by(self, exchange: &Exchange) -> Vec<String> {
        let mut needed = Vec::new();
        let route = exchange
            .record()
            .route
            .as_ref()
            .and_then(|id| exchange.snapshot().route(id));
        let Some(route) = route else { return needed };
        let asks = |id: &str| {
            route
                .plan
                .authenticate
                .iter()
                .any(|one| matches!(&one.scheme, SchemeKind::Jwt(issuer) if issuer.as_str() == id))
        };
        needed.extend(
            self.keys
                .into_iter()
                .filter(|(id, _)| asks(id))
                .map(|(_, text)| text),
        );
        if matches!(route.plan.action, ActionPlan::Pool(_)) {
            needed.extend(self.dns);
            needed.extend(self.workload);
        }
        needed
    }
}

impl Explanation {
    pub(super) fn new(
        asked: &Asked,
        exchange: &Exchange,
        outcome: Outcome,
        fetches: Fetches,
        warnings: &Problems,
    ) -> Self {
        let record = exchange.record();
        let mut explanation = Self {
            request: format!(
                "{} {}://{}{}",
                asked.method,
                asked.url.scheme.as_str(),
                asked.url.authority,
                asked.url.target
            ),
            revision: record.revision.clone(),
            region: exchange.snapshot().routing.local().to_string(),
            listener: record.listener.to_string(),
            route: record.route.as_ref().map(ToString::to_string),
            principal: record.principal.clone(),
            steps: exchange.steps().iter().map(step).collect(),
            verdict: "served",
            refusal: None,
            answer: None,
            endpoint: None,
            assumed: asked.assumptions(),
            would_have_fetched: fetches.needed_by(exchange),
            warnings: warnings.iter().count(),
        };
        match outcome {
            Outcome::Forwarded(forwarded) => {
                explanation.endpoint = Some(endpoint(&forwarded.0, &forwarded.1))
            }
            Outcome::Answered(answer) => explanation.answer = Some(answer_view(&answer)),
            Outcome::Refused { rejection, answer } => {
                explanation.verdict = "refused";
                explanation.refusal = Some(Refusal {
                    stage: rejection.stage().to_string(),
                    reason: rejection.reason.code(),
                    decided_by: rejection
                        .detail
                        .as_ref()
                        .and_then(|d| d.decided_by.as_ref())
                        .and_then(place),
                });
                explanation.answer = Some(answer_view(&answer));
            }
        }
        explanation
    }

    /// True when a client would get what it asked for.
    pub(super) fn is_served(&self) -> bool {
        self.refusal.is_none()
    }
}

fn step(report: &StageReport) -> Step {
    Step {
        stage: report.stage.to_string(),
        verdict: report.verdict,
        detail: report.detail.clone(),
        decided_by: report.decided_by.as_ref().and_then(place),
    }
}

fn answer_view(answer: &LocalAnswer) -> AnswerView {
    AnswerView {
        status: answer.status.as_u16(),
        headers: fields(&answer.headers),
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    }
}

fn endpoint(target: &Target, head: &UpstreamHead) -> EndpointView {
    let is_resolved = target.endpoint.address.ip() != UNRESOLVED || target.dns.is_none();
    EndpointView {
        pool: target.endpoint.pool.to_string(),
        region: target.endpoint.region.to_string(),
        address: is_resolved.then(|| target.endpoint.address.to_string()),
        dns: target
            .dns
            .as_ref()
            .map(|name| format!("{name}:{}", target.endpoint.address.port())),
        tls: head.is_tls,
        method: head.method.to_string(),
        target: head.path_and_query.clone(),
        host: String::from_utf8_lossy(head.authority.as_bytes()).into_owned(),
        headers: fields(&head.headers),
        passed_over: target.passed_over.clone(),
    }
}

fn fields(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| match value.is_sensitive() {
        true => "[redacted]".to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

/// The explanation for people.
pub(super) fn text(explanation: &Explanation) -> String {
    let mut text = format!(
        "{}\nlistener {}, region {}, revision {}\n\n",
        explanation.request, explanation.listener, explanation.region, explanation.revision
    );
    let width = explanation
        .steps
        .iter()
        .map(|step| step.stage.len())
        .max()
        .unwrap_or(0);
    for step in &explanation.steps {
        text.push_str(&format!(
            "  {:<width$}  {:<8}  {}\n",
            step.stage, step.verdict, step.detail
        ));
        if let Some(place) = &step.decided_by {
            text.push_str(&format!("  {:<width$}  {:<8}  ↳ {place}\n", "", ""));
        }
    }
    text.push('\n');
    if let Some(refusal) = &explanation.refusal {
        text.push_str(&format!("Refused at {} with {}", refusal.stage, refusal.reason));
        text.push_str(
            &refusal
                .decided_by
                .as_ref()
                .map(|place| format!(", by {place}"))
                .unwrap_or_default(),
        );
        text.push_str(".\n");
    }
    if let Some(endpoint) = &explanation.endpoint {
        text.push_str(&endpoint_text(endpoint));
    }
    if let Some(answer) = &explanation.answer {
        text.push_str(&format!("The client gets {}: {}\n", answer.status, answer.body));
    }
    for assumed in &explanation.assumed {
        text.push_str(&format!("Assumed: {assumed}.\n"));
    }
    for fetched in &explanation.would_have_fetched {
        text.push_str(&format!("Would have fetched: {fetched}.\n"));
    }
    text
}

fn endpoint_text(endpoint: &EndpointView) -> String {
    let place = endpoint
        .address
        .as_deref()
        .or(endpoint.dns.as_deref())
        .unwrap_or("?");
    let mut text = format!(
        "Forwarded to {place} ({}, {}) over {}: {} {} with Host {}\n",
        endpoint.pool,
        endpoint.region,
        if endpoint.tls { "TLS" } else { "plaintext" },
        endpoint.method,
        endpoint.target,
        endpoint.host
    );
    for (name, value) in &endpoint.headers {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    text
}

/// One object as `name  value` lines; nested objects are indented.
pub(super) fn object_text(value: &Value) -> String {
    fn write(value: &Value, indent: usize, text: &mut String) {
        let Some(object) = value.as_object() else { return };
        let width = object.keys().map(String::len).max().unwrap_or(0);
        for (name, value) in object {
            let shown = match value {
                Value::Null => "-".to_owned(),
                Value::String(string) => string.clone(),
                Value::Array(items) if items.is_empty() => "-".to_owned(),
                Value::Array(items) => {
                    let words = items
                        .iter()
                        .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                    words.collect::<Vec<_>>().join(", ")
                }
                Value::Object(_) => {
                    text.push_str(&format!("{:indent$}{name}\n", ""));
                    write(value, indent + 2, text);
                    continue;
                }
                Value::Bool(_) | Value::Number(_) => value.to_string(),
            };
            text.push_str(&format!("{:indent$}{name:<width$}  {shown}\n", ""));
        }
    }
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}
