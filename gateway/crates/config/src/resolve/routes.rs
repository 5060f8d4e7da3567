//! `routes`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_admission::plan::{AuthorizePlan, GuardRef, RulePlan};
use portcullis_identity::assertion::is_written_by_us;
use portcullis_model::{IssuerId, JurisdictionId, ListenerId, Origin, PolicyId, PoolId, RouteId, TrustId};
use portcullis_pipeline::plan::{
    ActionPlan, Class, CorsPlan, FieldsPlan, HostRewrite, RewritePlan, RoutePlan, RouteTimeouts, SchemeKind,
    SchemePlan,
};
use portcullis_routing::plan::{MatchPlan, ResidencyPlan, ResidencySource, RetryPlan, RetryScope};

use super::Resolver;
use crate::file::GatewayFile;
use crate::file::guards::{GuardReference, exactly_one};
use crate::file::patterns::{ValueText, canonical_path};
use crate::file::routes::{
    Cors, Demand, Fields, Match, Redirect, Residency, Respond, Rewrite, Route, Rule, Scheme,
};
use crate::file::scalars::FieldValue;
use crate::file::section::{At, Key, Named, Scalar as _, entries, items, one_or_many};
use crate::link;
use crate::sources::Secret;

/// Routes with a contract hold the body while it is judged, so it is bounded even when nobody says so.
const DEFAULT_BODY_WITH_CONTRACT: u64 = 1 << 20;
/// What a policy may read of a body, and with it the bound on routes whose policy does.
pub(crate) const MAX_BODY_FOR_POLICY: u64 = 64 << 10;
const DEFAULT_PREFLIGHT_AGE: Duration = Duration::from_secs(600);

pub(super) fn plan(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> Vec<RoutePlan> {
    let serving: Vec<ListenerId> = link::serving_listeners(file)
        .map(|name| ListenerId::from(name.value.as_str()))
        .collect();
    items(&file.routes)
        .filter_map(|at| route(file, at, &serving, resolver))
        .collect()
}

pub(super) fn guard_ref<Id: for<'a> From<&'a str>>(at: &At<GuardReference>) -> GuardRef<Id> {
    GuardRef {
        id: Id::from(&at.value.name.value),
        origin: at.origin.clone(),
        guard: at.value.guard,
    }
}

fn route(
    file: &GatewayFile,
    at: &At<Route>,
    serving: &[ListenerId],
    resolver: &mut Resolver<'_, '_>,
) -> Option<RoutePlan> {
    let route = &at.value;
    let action = action(route, &at.origin, resolver);
    let rewrite = rewrite(&route.rewrite, resolver);
    let cors = route
        .cors
        .at()
        .map(|cors| self::cors(&cors.value, &cors.origin, resolver));
    let request_fields = fields(&route.request_headers, Direction::Request, resolver);
    let response_fields = fields(&route.response_headers, Direction::Response, resolver);
    let authenticate = items(&route.authenticate)
        .filter_map(|scheme| self::scheme(scheme, resolver))
        .collect();
    let matches = route
        .matches
        .at()
        .and_then(|matches| self::matches(matches, resolver))?;
    let named: Vec<_> = items(&route.listeners)
        .map(|name| ListenerId::from(name.value.as_str()))
        .collect();
    let timeouts = RouteTimeouts::default();
    let written = route.timeouts.get();
    let retry = RetryPlan::default();
    Some(RoutePlan {
        id: RouteId::from(route.name.get()?.as_str()),
        origin: at.origin.clone(),
        matches,
        listeners: if route.listeners.is_absent() {
            serving.to_vec()
        } else {
            named
        },
        public: route.public.or(false),
        authenticate,
        rate_limits: items(&route.rate_limits).map(guard_ref).collect(),
        contract: route.contract.at().map(guard_ref),
        authorize: items(&route.authorize).map(rule).collect(),
        action: action?,
        class: route.class.or(Class::Default),
        residency: route.residency.at().map(|at| residency(&at.value, &at.origin)),
        timeouts: RouteTimeouts {
            request: written
                .and_then(|keys| keys.request.get())
                .map_or(timeouts.request, |period| period.0),
            idle: written
                .and_then(|keys| keys.idle.get())
                .map_or(timeouts.idle, |period| period.0),
            connect: written
                .and_then(|keys| keys.connect.get())
                .map_or(timeouts.connect, |period| period.0),
        },
        body_max: body_max(file, route),
        retry: route.retry.get().map_or(retry, |keys| RetryPlan {
            attempts: keys
                .attempts
                .get()
                .and_then(|n| u8::try_from(n.0).ok())
                .unwrap_or(retry.attempts),
            scope: keys.scope.or(RetryScope::Any),
        }),
        websocket: items(&route.upgrade).next().is_some(),
        cors,
        path_allow: route
            .path
            .get()
            .map(|path| items(&path.allow).map(|oddity| oddity.value).collect())
            .unwrap_or_default(),
        rewrite: rewrite?,
        request_fields,
        response_fields,
    })
}

fn body_max(file: &GatewayFile, route: &Route) -> Option<u64> {
    if let Some(max) = route.body.get().and_then(|body| body.max.get()) {
        return Some(max.0);
    }
    if link::policy_reading_body(file, route).is_some() {
        return Some(MAX_BODY_FOR_POLICY);
    }
    (!route.contract.is_absent()).then_some(DEFAULT_BODY_WITH_CONTRACT)
}

fn matches(at: &At<Match>, resolver: &mut Resolver<'_, '_>) -> Option<MatchPlan> {
    let keys = &at.value;
    let headers = values(
        &keys.headers,
        |name, resolver| match HeaderName::parse(&name.value, true) {
            Ok(header) => Some(header),
            Err(flaw) => {
                resolver.problems.push(flaw.at(&name.origin));
                None
            }
        },
        resolver,
    );
    let query = values(&keys.query, |name, _| Some(name.value.clone()), resolver);
    Some(MatchPlan {
        origin: at.origin.clone(),
        hosts: one_or_many(&keys.host).map(|host| host.value.0.clone()).collect(),
        path: keys.path.get()?.0.clone(),
        methods: items(&keys.methods).map(|method| method.value.clone()).collect(),
        headers,
        query,
    })
}

fn values<Name>(
    key: &Key<Named<ValueText>>,
    name: impl Fn(&At<String>, &mut Resolver<'_, '_>) -> Option<Name>,
    resolver: &mut Resolver<'_, '_>,
) -> Vec<(Name, portcullis_routing::plan::ValuePattern)> {
    entries(key)
        .filter_map(|entry| Some((name(&entry.name, resolver)?, entry.value.get()?.0.clone())))
        .collect()
}

fn scheme(at: &At<Scheme>, resolver: &mut Resolver<'_, '_>) -> Option<SchemePlan> {
    let written = [
        ("jwt", !at.value.jwt.is_absent()),
        ("mtls", !at.value.mtls.is_absent()),
    ];
    exactly_one(&written, at.value.has_refused_keys, &at.origin, resolver.problems)?;
    let scheme = match (at.value.jwt.get(), at.value.mtls.get()) {
        (Some(issuer), _) => SchemeKind::Jwt(IssuerId::from(issuer.as_str())),
        (None, Some(trust)) => SchemeKind::Mtls(TrustId::from(trust.as_str())),
        (None, None) => return None,
    };
    Some(SchemePlan {
        origin: at.origin.clone(),
        scheme,
    })
}

fn rule(at: &At<Rule>) -> AuthorizePlan {
    let rule = match &at.value.demand {
        Demand::Authenticated => RulePlan::Authenticated,
        Demand::Policy(name) => RulePlan::Policy(PolicyId::from(name.value.as_str())),
        Demand::Scope(scope) => RulePlan::Scope(Arc::from(scope.as_str())),
        Demand::Role(role) => RulePlan::Role(Arc::from(role.as_str())),
        Demand::Spiffe(patterns) => RulePlan::Spiffe(
            patterns
                .iter()
                .map(|pattern| Arc::from(pattern.as_str()))
                .collect(),
        ),
    };
    AuthorizePlan {
        origin: at.origin.clone(),
        rule,
        methods: at.value.methods.clone(),
        guard: at.value.guard,
    }
}

fn residency(keys: &Residency, origin: &Origin) -> ResidencyPlan {
    let from = keys.from.get().map(|claim| match claim.0.as_slice() {
        [only] if only.as_ref() == "region" => ResidencySource::Region,
        path => ResidencySource::Claim(path.to_vec()),
    });
    let default = one_or_many(&keys.default)
        .map(|name| JurisdictionId::from(name.value.as_str()))
        .collect();
    ResidencyPlan {
        origin: origin.clone(),
        from,
        default,
    }
}

fn action(route: &Route, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> Option<ActionPlan> {
    let written = [
        ("pool", !route.pool.is_absent()),
        ("respond", !route.respond.is_absent()),
        ("redirect", !route.redirect.is_absent()),
    ];
    exactly_one(&written, route.has_refused_keys, origin, resolver.problems)?;
    if let Some(pool) = route.pool.get() {
        return Some(ActionPlan::Pool(PoolId::from(pool.as_str())));
    }
    if let Some(respond) = route.respond.get() {
        return self::respond(respond, resolver);
    }
    redirect(route.redirect.get()?, resolver)
}

fn respond(keys: &Respond, resolver: &mut Resolver<'_, '_>) -> Option<ActionPlan> {
    if let Some(jwks) = keys.jwks.at() {
        return key_set(keys, jwks, resolver);
    }
    let content_type = match keys.content_type.at() {
        None => HeaderValue::from_static("text/plain; charset=utf-8"),
        Some(at) => match HeaderValue::from_str(&at.value) {
            Ok(value) => value,
            Err(_) => {
                resolver.error(
                    "bad-value",
                    &at.origin,
                    format!("{:?} is not a media type", at.value),
                );
                return None;
            }
        },
    };
    let body = keys.body.get().map_or("", |body| body.0.as_str());
    let status = keys.status.get().copied().unwrap_or(StatusCode::OK);
    if let (true, Some(at)) = (
        matches!(status.as_u16(), 204 | 205 | 304) && !body.is_empty(),
        keys.body.at(),
    ) {
        resolver.error(
            "bad-value",
            &at.origin,
            format!("an answer with status {} has no body", status.as_u16()),
        );
    }
    Some(ActionPlan::Respond {
        status,
        body: Arc::from(body),
        content_type,
    })
}

/// `jwks: true` stands alone: status, type and body are those of a key set.
fn key_set(keys: &Respond, jwks: &At<bool>, resolver: &mut Resolver<'_, '_>) -> Option<ActionPlan> {
    if !jwks.value {
        let message = "`jwks: false` is no answer";
        resolver.error_with_hint("bad-value", &jwks.origin, message, "leave it out");
        return None;
    }
    let others = [
        ("status", keys.status.at().map(|at| &at.origin)),
        ("body", keys.body.at().map(|at| &at.origin)),
        ("content_type", keys.content_type.at().map(|at| &at.origin)),
    ];
    for (name, origin) in others {
        let Some(origin) = origin else { continue };
        let message = format!("`{name}` stands beside `jwks: true`, which says it already");
        resolver.error_with_hint("conflicting-keys", origin, message, "remove it");
    }
    Some(ActionPlan::KeySet)
}

fn redirect(keys: &Redirect, resolver: &mut Resolver<'_, '_>) -> Option<ActionPlan> {
    let status = keys
        .status
        .get()
        .copied()
        .unwrap_or(StatusCode::PERMANENT_REDIRECT);
    if let (false, Some(at)) = (
        matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308),
        keys.status.at(),
    ) {
        let message = format!("{} does not redirect", status.as_u16());
        resolver.error_with_hint("bad-value", &at.origin, message, "use 301, 302, 303, 307 or 308");
    }
    let to = keys.to.at()?;
    let is_path = to.value.starts_with('/') && !to.value.starts_with("//");
    let is_url = url::Url::parse(&to.value).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    let value = HeaderValue::from_str(&to.value)
        .ok()
        .filter(|value| value.to_str().is_ok());
    match value {
        Some(value) if is_path || is_url => Some(ActionPlan::Redirect { status, to: value }),
        Some(_) | None => {
            let message = format!("{:?} is not a place to redirect to", to.value);
            let hint = "write an absolute URL, or a path that starts with one `/`";
            resolver.error_with_hint("bad-value", &to.origin, message, hint);
            None
        }
    }
}

fn cors(keys: &Cors, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> CorsPlan {
    let mut origins = Vec::new();
    for at in items(&keys.origins) {
        if at.value != "*" && !is_origin(&at.value) {
            let message = format!("{:?} is not an origin", at.value);
            let hint = "write scheme, host and port alone, like https://app.example.com";
            resolver.error_with_hint("bad-value", &at.origin, message, hint);
        }
        origins.push(at.value.clone());
    }
    let is_any = origins.iter().any(|origin| origin == "*");
    if is_any && origins.len() > 1 {
        resolver.error("bad-value", origin, "`\"*\"` stands alone among `origins`");
    }
    if let (true, Some(At { value: true, origin })) = (is_any, keys.credentials.at()) {
        let message = "credentials cannot be allowed for every origin";
        resolver.error_with_hint("insecure-cors", origin, message, "name the origins");
    }
    if origins.is_empty() && keys.origins.get().is_some_and(|list| !list.broken) {
        resolver.error("bad-value", origin, "no origin is named");
    }
    CorsPlan {
        origin: origin.clone(),
        origins,
        methods: items(&keys.methods).map(|method| method.value.clone()).collect(),
        headers: items(&keys.headers).map(|header| header.value.clone()).collect(),
        expose: items(&keys.expose).map(|header| header.value.clone()).collect(),
        credentials: keys.credentials.or(false),
        max_age: keys.max_age.get().map_or(DEFAULT_PREFLIGHT_AGE, |age| age.0),
    }
}

fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
    })
}

fn rewrite(key: &Key<Rewrite>, resolver: &mut Resolver<'_, '_>) -> Option<RewritePlan> {
    let Some(keys) = key.get() else {
        return Some(RewritePlan::default());
    };
    let prefix = match keys.prefix.at() {
        None => None,
        Some(at) => match canonical_path(&at.value) {
            Ok(path) => Some(path),
            Err(flaw) => {
                resolver.problems.push(flaw.at(&at.origin));
                return None;
            }
        },
    };
    let host = keys.host.get().map_or(HostRewrite::Keep, |host| host.0.clone());
    Some(RewritePlan { prefix, host })
}

/// Which way fields go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Request,
    Response,
}

/// Fields that frame a message or belong to one connection; the gateway writes them itself.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn fields(key: &Key<Fields>, direction: Direction, resolver: &mut Resolver<'_, '_>) -> FieldsPlan {
    let Some(keys) = key.get() else {
        return FieldsPlan::default();
    };
    let mut plan = FieldsPlan::default();
    for entry in entries(&keys.set) {
        let name = match HeaderName::parse(&entry.name.value, true) {
            Ok(name) => name,
            Err(flaw) => {
                resolver.problems.push(flaw.at(&entry.name.origin));
                continue;
            }
        };
        refuse_framing(&name, &entry.name.origin, direction, resolver);
        if plan.set.iter().any(|(other, _)| *other == name) {
            let message = format!("the field `{name}` is set twice");
            resolver.error("duplicate-key", &entry.name.origin, message);
        }
        let Some(value) = entry.value.at() else { continue };
        if direction == Direction::Request && CREDENTIALS.contains(&name.as_str()) {
            refuse_inline_secret(&name, value, resolver);
        }
        if let Some(value) = field_value(value, resolver) {
            plan.set.push((name, value));
        }
    }
    for name in items(&keys.remove) {
        refuse_framing(&name.value, &name.origin, direction, resolver);
        plan.remove.push(name.value.clone());
    }
    plan
}

fn refuse_framing(name: &HeaderName, origin: &Origin, direction: Direction, resolver: &mut Resolver<'_, '_>) {
    if direction == Direction::Request && *name == http::header::HOST {
        let message = "the field `host` is not set here";
        resolver.error_with_hint("bad-value", origin, message, "use `rewrite: { host: … }`");
    } else if direction == Direction::Request && is_written_by_us(name) {
        let message = format!("the field `{name}` says who is asking; the gateway alone writes it");
        let hint =
            "use `forward_identity` at the pool; what a client sends under this name is removed always";
        resolver.error_with_hint("bad-value", origin, message, hint);
    } else if FRAMING.contains(&name.as_str()) {
        let message = format!("the field `{name}` frames the message; the gateway writes it itself");
        resolver.error("bad-value", origin, message);
    }
}

/// Request fields that hold a credential whatever the endpoint is.
const CREDENTIALS: &[&str] = &["authorization", "cookie", "proxy-authorization", "x-api-key"];

fn refuse_inline_secret(name: &HeaderName, at: &At<FieldValue>, resolver: &mut Resolver<'_, '_>) {
    match &at.value {
        FieldValue::Secret(_) => {}
        FieldValue::Text(_) => {
            let message = format!("the field `{name}` is a secret, and secrets do not stand in the file");
            let hint = "write \"${file:/run/secrets/…}\" or \"${env:…}\"";
            resolver.error_with_hint("inline-secret", &at.origin, message, hint);
        }
    }
}

fn field_value(at: &At<FieldValue>, resolver: &mut Resolver<'_, '_>) -> Option<HeaderValue> {
    let source = match &at.value {
        FieldValue::Text(value) => return Some(value.clone()),
        FieldValue::Secret(source) => source,
    };
    let secret = resolver
        .files
        .secret(source, "the field's secret", &at.origin, resolver.problems);
    let Secret::Is(text) = secret else { return None };
    match HeaderValue::from_str(text.trim_end_matches(['\r', '\n'])) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Some(value)
        }
        Err(_) => {
            resolver.error(
                "bad-value",
                &at.origin,
                "the secret holds characters that no field may hold",
            );
            None
        }
    }
}
