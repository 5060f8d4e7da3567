//! An explanation, as JSON for programs and as text for people.

use std::net::{IpAddr, Ipv4Addr};

use portcullis_identity::plan::{TrustAnchors, UpstreamPeer};
use portcullis_model::{Problems, Rejection, Stage};
use portcullis_pipeline::plan::{ActionPlan, SchemeKind};
use portcullis_pipeline::{Exchange, LocalAnswer, Target, UpstreamHead};
use serde::Serialize;

use super::authentication::{Authentication, NOT_JUDGED};
use super::request::Asked;
use super::steps::{self, Step};
use crate::admin::views::place;
use crate::commands::Exit;
use crate::commands::cert::lists;
use crate::commands::token::fetched_from;
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
    pub(super) request: String,
    pub(super) revision: String,
    pub(super) region: String,
    pub(super) listener: String,
    pub(super) route: Option<String>,
    pub(super) principal: Option<String>,
    pub(super) steps: Vec<Step>,
    /// `refused` when a new connection with this certificate ends in its handshake: the rest is of one that is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handshake: Option<&'static str>,
    /// Every credential that was given, check by check.
    pub(super) authentication: Vec<Authentication>,
    pub(super) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<Refusal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<AnswerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<EndpointView>,
    pub(super) assumed: Vec<String>,
    pub(super) would_have_fetched: Vec<String>,
    pub(super) warnings: usize,
}

#[derive(Serialize)]
pub(super) struct Refusal {
    pub(super) stage: String,
    pub(super) reason: &'static str,
    pub(super) decided_by: Option<String>,
}

#[derive(Serialize)]
pub(super) struct AnswerView {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

#[derive(Serialize)]
pub(super) struct EndpointView {
    pub(super) pool: String,
    pub(super) region: String,
    pub(super) address: Option<String>,
    pub(super) dns: Option<String>,
    pub(super) tls: bool,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) passed_over: Vec<String>,
}

/// What a gateway that serves this configuration fetches, and `explain` does not.
pub(super) struct Fetches {
    dns: Vec<String>,
    keys: Vec<(String, String)>,
    lists: Vec<String>,
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
        let keys = identity
            .issuers
            .iter()
            .filter_map(|issuer| Some((issuer.id.to_string(), fetched_from(issuer)?)));
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
            lists: lists::wanted(rehearsal)
                .into_iter()
                .map(|name| format!("revocation list {name}"))
                .collect(),
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
        let is_forwarded = matches!(route.plan.action, ActionPlan::Pool(_));
        if is_forwarded {
            needed.extend(self.dns);
        }
        let asks_certificate = route
            .plan
            .authenticate
            .iter()
            .any(|one| matches!(one.scheme, SchemeKind::Mtls(_)));
        if asks_certificate {
            needed.extend(self.lists);
        }
        if is_forwarded || asks_certificate {
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
            revision: record.revision.to_string(),
            region: exchange.snapshot().routing.local().to_string(),
            listener: record.listener.to_string(),
            route: record.route.as_ref().map(ToString::to_string),
            principal: record.principal.as_ref().map(ToString::to_string),
            steps: Vec::new(),
            handshake: None,
            authentication: Vec::new(),
            verdict: "served",
            refusal: None,
            answer: None,
            endpoint: None,
            assumed: asked.assumptions(),
            would_have_fetched: fetches.needed_by(exchange),
            warnings: warnings.iter().count(),
        };
        explanation.steps = steps::complete(exchange, matches!(outcome, Outcome::Forwarded(_)));
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

    /// Adds what became of the credentials. What is refused for the want of something that only a running gateway
    /// has is not judged.
    pub(super) fn with_authentication(mut self, authentication: Vec<Authentication>) -> Self {
        let is_refused_there = self
            .refusal
            .as_ref()
            .is_some_and(|refusal| refusal.stage == Stage::Authenticate.as_str());
        if is_refused_there && authentication.iter().any(Authentication::is_open) {
            self.verdict = NOT_JUDGED;
        }
        self.authentication = authentication;
        self
    }

    /// 0 when a client would get what it asked for, 1 when not, 2 when that is not known here.
    pub(super) fn exit(&self) -> Exit {
        match (&self.refusal, self.verdict) {
            (None, _) => Exit::Clean,
            (Some(_), NOT_JUDGED) => Exit::Usage,
            (Some(_), _) => Exit::Problems,
        }
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
