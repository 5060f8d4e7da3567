//! Answers that the gateway gives itself: fixed ones, redirects, preflights, and problems (RFC 9457).

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use portcullis_identity::assertion::{KEY_SET_MAX_AGE, KEY_SET_MEDIA_TYPE};
use portcullis_model::{Rejection, Violation};
use serde::Serialize;

/// A whole answer, ready to be written.
#[derive(Clone, Debug)]
pub struct LocalAnswer {
    /// The status.
    pub status: StatusCode,
    /// The fields; length and connection fields are the door's.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The media type of a problem.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// The field that carries the request's id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'a [Violation],
}

/// The answer to a rejected request: a stable code, the request's id, never a submitted value.
#[must_use]
pub fn problem(rejection: &Rejection, request_id: &str) -> LocalAnswer {
    let status = rejection.status();
    let detail = rejection.detail.as_deref();
    let body = ProblemBody {
        r#type: format!("urn:portcullis:problem:{}", rejection.reason.code()),
        title: rejection.reason.title(),
        status: status.as_u16(),
        code: rejection.reason.code(),
        detail: detail.and_then(|detail| detail.public.as_deref()),
        request_id,
        errors: detail.map_or(&[], |detail| detail.violations.as_slice()),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(detail) = detail {
        for (name, value) in &detail.headers {
            headers.append(name.clone(), value.clone());
        }
        if let Some(after) = detail.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
    }
    let body = serde_json::to_vec(&body).unwrap_or_default();
    LocalAnswer {
        status,
        headers,
        body: Bytes::from(body),
    }
}

/// A key set, for whoever verifies what endpoints are told; remembered for as long as a key is published before it
/// signs, and no longer.
#[must_use]
pub(crate) fn key_set(keys: &serde_json::Value) -> LocalAnswer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(KEY_SET_MEDIA_TYPE));
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={}", KEY_SET_MAX_AGE.as_secs())) {
        headers.insert(CACHE_CONTROL, value);
    }
    LocalAnswer {
        status: StatusCode::OK,
        headers,
        body: Bytes::from(keys.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_model::Reason;

    use super::*;

    #[test]
    fn a_problem_names_its_code_and_the_request() {
        let answer = problem(&Rejection::new(Reason::RouteNotFound), "r-1");

        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["code"], "route-not-found");
        assert_eq!(body["request_id"], "r-1");
        assert_eq!(body["type"], "urn:portcullis:problem:route-not-found");
    }

    #[test]
    fn what_is_private_stays_out_of_the_answer() {
        let rejection = Rejection::new(Reason::TokenSignature).with_private("kid 7 of issuer idp");

        let answer = problem(&rejection, "r-1");

        assert!(!String::from_utf8_lossy(&answer.body).contains("kid 7"));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let rejection = Rejection::new(Reason::RateLimited).with_retry_after(Duration::from_millis(1_200));

        assert_eq!(problem(&rejection, "r").headers[RETRY_AFTER], "2");
    }
}
