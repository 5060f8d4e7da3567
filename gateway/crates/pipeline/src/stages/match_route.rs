//! `match_route`: which route, by the Gateway API's precedence; real preflights are answered here.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_model::{Reason, Rejection, Stage};
use portcullis_routing::route_table::{NoRoute, Params};

use super::cors;
use super::normalize::{Canonical, PathOddities};
use super::shed::Unshed;
use crate::answer::LocalAnswer;
use crate::context::Context;
use crate::plan::ListenerRole;
use crate::snapshot::RouteBundle;

/// A request and its route.
pub(crate) struct Routed {
    pub(crate) canonical: Box<Canonical>,
    pub(crate) route: Arc<RouteBundle>,
    /// Filled where a policy is asked.
    pub(crate) params: Params,
    pub(crate) prefix_len: usize,
}

/// A route, or an answer that needs none: to a preflight, or from a listener that only redirects.
pub(crate) enum Matched {
    Route(Routed),
    Answered(LocalAnswer),
}

/// Finds the route.
pub(crate) fn match_route(context: &mut Context<'_>, unshed: Unshed) -> Result<Matched, Rejection> {
    let Unshed { canonical } = unshed;
    let snapshot = context.snapshot;
    let Some(listener) = snapshot.listener(&context.connection.listener) else {
        return Err(Rejection::new(Reason::RouteNotFound));
    };
    let within = |allowed| canonical.oddities.within(allowed).map_err(Rejection::new);
    if let ListenerRole::RedirectToHttps { port } = listener.role {
        within(PathOddities::default())?;
        let answer = to_https(&canonical, port)?;
        context.note_as("answered", Stage::MatchRoute, None, || {
            "the listener redirects to HTTPS".to_owned()
        });
        return Ok(Matched::Answered(answer));
    }
    if let Some(method) = cors::preflight_method(&canonical)
        && let Ok(found) = listener.routes.find_for_method(&canonical.head(), &method)
        && let Some(cors) = &found.value.plan.cors
    {
        let route = Arc::clone(found.value);
        within(route.plan.path_allow)?;
        note_route(context, &route);
        let answer = cors::answer_preflight(cors, &canonical, &method)?;
        context.note_as("answered", Stage::MatchRoute, Some(&cors.origin), || {
            "a CORS preflight".to_owned()
        });
        return Ok(Matched::Answered(answer));
    }
    let found = match listener.routes.find(&canonical.head()) {
        Ok(found) => found,
        Err(_) if !canonical.oddities.is_empty() => {
            within(PathOddities::default())?;
            return Err(Rejection::new(Reason::RouteNotFound));
        }
        Err(NoRoute::NotFound) => return Err(Rejection::new(Reason::RouteNotFound)),
        Err(NoRoute::MethodNotAllowed(methods)) => {
            return Err(method_not_allowed(Reason::MethodNotAllowed, &methods));
        }
    };
    let route = Arc::clone(found.value);
    let prefix_len = found.matched_prefix_len;
    // Only a policy reads them.
    let params = if route.asks_policy {
        found.params(&canonical.path)
    } else {
        Params::new()
    };
    note_route(context, &route);
    within(route.plan.path_allow).map_err(|rejection| rejection.decided_by(&route.plan.origin))?;
    if canonical.wants_other_upgrade || (canonical.wants_websocket && !route.plan.websocket) {
        return Err(Rejection::new(Reason::UpgradeNotAllowed).decided_by(&route.plan.origin));
    }
    context.note(Stage::MatchRoute, Some(&route.plan.matches.origin), || {
        format!("route \"{}\"", route.plan.id)
    });
    Ok(Matched::Route(Routed {
        canonical,
        route,
        params,
        prefix_len,
    }))
}

/// 308 to the same URL over HTTPS.
fn to_https(canonical: &Canonical, port: u16) -> Result<LocalAnswer, Rejection> {
    let mut location = format!("https://{}", canonical.host);
    if port != 443 {
        location.push_str(&format!(":{port}"));
    }
    location.push_str(&canonical.path);
    if !canonical.query.text.is_empty() {
        location.push('?');
        location.push_str(&canonical.query.text);
    }
    let location = HeaderValue::from_str(&location).map_err(|_| Rejection::new(Reason::HostInvalid))?;
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    Ok(LocalAnswer {
        status: StatusCode::PERMANENT_REDIRECT,
        headers,
        body: Bytes::new(),
    })
}

fn note_route(context: &mut Context<'_>, route: &RouteBundle) {
    context.record.route = Some(route.plan.id.clone());
    context.record.class = Some(route.plan.class);
}

/// A rejection that names the allowed methods, as RFC 9110 section 15.5.6 demands.
pub(crate) fn method_not_allowed(reason: Reason, methods: &[Method]) -> Rejection {
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let rejection = Rejection::new(reason);
    match HeaderValue::from_str(&allowed.join(", ")) {
        Ok(value) => rejection.with_header(ALLOW, value),
        Err(_) => rejection,
    }
}
