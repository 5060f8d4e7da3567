//! `observe`: an endpoint's response head, made ours.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::cors;
use super::normalize::{Canonical, strip_hop_by_hop};
use crate::answer::REQUEST_ID;
use crate::snapshot::RouteBundle;
use crate::stages::admitted::Admitted;

/// Fields of an endpoint that only the gateway may say, what it said to the endpoint about the client (an endpoint
/// that echoes its request would hand it out), and the endpoint's name, which is nobody's business.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "ratelimit"
            | "ratelimit-policy"
            | "server"
            | "x-forwarded-client-cert"
            | "x-portcullis-identity"
            | "x-request-id"
    )
}

/// Rewrites the fields of a forwarded answer.
pub(crate) fn observe(admitted: &Admitted, request_id: &str, headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    let ours: SmallVec<[HeaderName; 4]> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    local_fields(admitted, headers);
}

/// The fields that every answer of an admitted request gets, an endpoint's or ours.
pub(crate) fn local_fields(admitted: &Admitted, headers: &mut HeaderMap) {
    if let Some(fields) = &admitted.limit_fields {
        for (name, value) in fields.headers() {
            headers.insert(name, value);
        }
    }
    cors_fields(&admitted.route, &admitted.canonical, headers);
    let fields = &admitted.route.plan.response_fields;
    for name in &fields.remove {
        headers.remove(name);
    }
    set_fields(&fields.set, headers);
}

/// CORS fields, where the route has rules and the request an origin.
pub(crate) fn cors_fields(route: &RouteBundle, canonical: &Canonical, headers: &mut HeaderMap) {
    if let Some(cors) = &route.plan.cors
        && canonical.headers.contains_key(ORIGIN)
    {
        cors::answer_fields(cors, &canonical.headers, headers);
    }
}

/// Sets fields: the first of a name replaces, further ones of the same name are added.
pub(crate) fn set_fields(fields: &[(HeaderName, HeaderValue)], headers: &mut HeaderMap) {
    for (index, (name, value)) in fields.iter().enumerate() {
        let is_first = !fields.iter().take(index).any(|(earlier, _)| earlier == name);
        if is_first {
            headers.insert(name.clone(), value.clone());
        } else {
            headers.append(name.clone(), value.clone());
        }
    }
}
