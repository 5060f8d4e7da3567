//! The Fetch standard's CORS protocol: preflights, and the fields of every other cross-origin answer.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use portcullis_model::{Reason, Rejection};

use super::normalize::Canonical;
use crate::answer::LocalAnswer;
use crate::plan::CorsPlan;

/// Fields a script may always send (the CORS-safelisted request-headers).
const SAFELISTED: [&str; 5] = [
    "accept",
    "accept-language",
    "content-language",
    "content-type",
    "range",
];

/// The method a real preflight asks about: `OPTIONS` with `Origin` and `Access-Control-Request-Method`, no body.
pub(crate) fn preflight_method(canonical: &Canonical) -> Option<Method> {
    if canonical.method != Method::OPTIONS || canonical.has_body {
        return None;
    }
    canonical.head().single_header(ORIGIN.as_str())?;
    canonical
        .head()
        .single_header(ACCESS_CONTROL_REQUEST_METHOD.as_str())?
        .parse()
        .ok()
}

/// The answer to a preflight, or a refusal that tells a developer what to look at.
pub(crate) fn answer_preflight(
    cors: &CorsPlan,
    canonical: &Canonical,
    method: &Method,
) -> Result<LocalAnswer, Rejection> {
    let refused = |what: &str| {
        Rejection::new(Reason::CorsRefused)
            .with_public(what)
            .decided_by(&cors.origin)
    };
    let allow_origin =
        allowed_origin(cors, &canonical.headers).ok_or_else(|| refused("the origin is not allowed"))?;
    let is_safelisted = matches!(*method, Method::GET | Method::HEAD | Method::POST);
    if !is_safelisted && !cors.methods.contains(method) {
        return Err(refused("the method is not allowed"));
    }
    let names =
        requested_headers(&canonical.headers).ok_or_else(|| refused("the requested fields are malformed"))?;
    let is_allowed = |name: &HeaderName| SAFELISTED.contains(&name.as_str()) || cors.headers.contains(name);
    if !names.iter().all(is_allowed) {
        return Err(refused("a requested field is not allowed"));
    }
    let mut headers = HeaderMap::new();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allow_origin);
    if cors.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    let methods: Vec<&str> = cors.methods.iter().map(Method::as_str).collect();
    insert_list(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, &methods);
    let names: Vec<&str> = cors.headers.iter().map(HeaderName::as_str).collect();
    insert_list(&mut headers, ACCESS_CONTROL_ALLOW_HEADERS, &names);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(VARY, HeaderValue::from_static(vary));
    Ok(LocalAnswer {
        status: StatusCode::NO_CONTENT,
        headers,
        body: bytes::Bytes::new(),
    })
}

/// Writes the fields of an answer to a cross-origin request; an endpoint's own are replaced.
pub(crate) fn answer_fields(cors: &CorsPlan, request: &HeaderMap, answer: &mut HeaderMap) {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        answer.remove(name);
    }
    answer.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed_origin(cors, request) else {
        return;
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    let names: Vec<&str> = cors.expose.iter().map(HeaderName::as_str).collect();
    insert_list(answer, ACCESS_CONTROL_EXPOSE_HEADERS, &names);
}

fn allowed_origin(cors: &CorsPlan, request: &HeaderMap) -> Option<HeaderValue> {
    let origin = request.get(ORIGIN)?;
    if cors.origins.iter().any(|one| one == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    cors.origins
        .iter()
        .any(|one| one.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

fn requested_headers(request: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for value in request.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        for token in value
            .to_str()
            .ok()?
            .split(',')
            .map(str::trim)
            .filter(|token| !token.is_empty())
        {
            names.push(token.parse().ok()?);
        }
    }
    Some(names)
}

fn insert_list(headers: &mut HeaderMap, name: HeaderName, values: &[&str]) {
    if values.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&values.join(", ")) {
        headers.insert(name, value);
    }
}
