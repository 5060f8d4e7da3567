//! `prepare_upstream`: the head that leaves is built from parsed parts, never copied from the wire.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;

use bytes::Bytes;
use http::header::{AUTHORIZATION, EXPECT, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_model::{Proof, Reason, Rejection};

use super::normalize::Canonical;
use super::observe::set_fields;
use super::select_endpoint::Target;
use crate::answer::REQUEST_ID;
use crate::plan::{HostRewrite, SchemeKind};
use crate::stages::admitted::Admitted;
use crate::trace::{TRACEPARENT, TRACESTATE, TraceContext};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A request head, ready for either protocol.
#[derive(Clone, Debug)]
pub struct UpstreamHead {
    /// The method.
    pub method: Method,
    /// The canonical path and query, rewritten.
    pub path_and_query: String,
    /// `Host` or `:authority`.
    pub authority: HeaderValue,
    /// The scheme toward the endpoint.
    pub is_tls: bool,
    /// The fields, without `Host`, framing and connection fields.
    pub headers: HeaderMap,
    /// True when a WebSocket upgrade is asked for.
    pub is_websocket: bool,
}

/// Fields that the gateway adds to a request, at most: room for them is made at once.
const OURS: usize = 8;

/// Builds the outgoing head.
pub(crate) fn prepare_upstream(
    admitted: &Admitted,
    target: &Target,
    peer: IpAddr,
    (request_id, trace): (&str, &TraceContext),
) -> Result<UpstreamHead, Rejection> {
    let canonical = &*admitted.canonical;
    let fields = &admitted.route.plan.request_fields;
    let mut headers = HeaderMap::with_capacity(canonical.headers.len() + OURS + fields.set.len());
    let proves_to_us = is_proof(admitted);
    let is_proof = |name: &HeaderName| proves_to_us && *name == AUTHORIZATION;
    let is_orphan = |name: &HeaderName| !trace.is_continued && *name == TRACESTATE;
    for (name, value) in &canonical.headers {
        if *name != EXPECT && !is_proof(name) && !is_orphan(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if canonical.accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let ours = Ours::write(canonical, peer.to_canonical(), request_id, trace)?;
    headers.insert(X_FORWARDED_FOR, ours.chain);
    headers.insert(
        X_FORWARDED_PROTO,
        HeaderValue::from_static(canonical.scheme.as_str()),
    );
    headers.insert(X_FORWARDED_HOST, ours.host.clone());
    headers.insert(REQUEST_ID, ours.request_id);
    headers.insert(TRACEPARENT, ours.trace);
    for name in &fields.remove {
        headers.remove(name);
    }
    set_fields(&fields.set, &mut headers);
    set_fields(&admitted.request_headers, &mut headers);
    Ok(UpstreamHead {
        method: canonical.method.clone(),
        path_and_query: path_and_query(admitted),
        authority: match &admitted.route.plan.rewrite.host {
            HostRewrite::Name(value) => value.clone(),
            HostRewrite::Keep => ours.host,
            HostRewrite::Pool => pool_authority(target)?,
        },
        is_tls: target.tls.is_some(),
        headers,
        is_websocket: canonical.wants_websocket,
    })
}

/// True when the request's `Authorization` is a proof for us: an endpoint that could replay it would be a second
/// identity provider. That holds for the token that proved the principal, and for a bearer token that lay beside a
/// certificate on a route that takes either. On any other route the field is between client and endpoint.
fn is_proof(admitted: &Admitted) -> bool {
    let takes_tokens = admitted
        .route
        .plan
        .authenticate
        .iter()
        .any(|scheme| matches!(scheme.scheme, SchemeKind::Jwt(_)));
    if !takes_tokens {
        return false;
    }
    let is_bearer = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    };
    admitted.principal.proof == Proof::Jwt
        || admitted
            .canonical
            .headers
            .get(AUTHORIZATION)
            .is_some_and(is_bearer)
}

/// The values that are new with every request: parts of one buffer, so that they cost one allocation together.
struct Ours {
    chain: HeaderValue,
    host: HeaderValue,
    request_id: HeaderValue,
    trace: HeaderValue,
}

impl Ours {
    fn write(
        canonical: &Canonical,
        peer: IpAddr,
        request_id: &str,
        trace: &TraceContext,
    ) -> Result<Self, Rejection> {
        // An address takes at most 39 bytes as text, a port with its colon 6.
        let known = canonical.forwarded_for.as_deref().unwrap_or_default();
        let size = known.len() + 56 + canonical.host.len() + request_id.len() + 64;
        let mut text = String::with_capacity(size);
        if !known.is_empty() {
            text.push_str(known);
            text.push_str(", ");
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{peer}");
        let chain = text.len();
        text.push_str(&canonical.host);
        if let Some(port) = canonical.port {
            let _ = write!(text, ":{port}");
        }
        let host = text.len();
        text.push_str(request_id);
        let id = text.len();
        text.push_str(trace.traceparent());
        let end = text.len();
        let buffer = Bytes::from(text);
        let part = |range: Range<usize>| {
            HeaderValue::from_maybe_shared(buffer.slice(range))
                .map_err(|_| Rejection::new(Reason::Internal).with_private("a field of ours is malformed"))
        };
        Ok(Self {
            chain: part(0..chain)?,
            host: part(chain..host)?,
            request_id: part(host..id)?,
            trace: part(id..end)?,
        })
    }
}

/// The target that leaves: the canonical path, its prefix rewritten where the route says so, and the query.
fn path_and_query(admitted: &Admitted) -> String {
    let canonical = &*admitted.canonical;
    let path = &*canonical.path;
    let (prefix, rest) = match &admitted.route.plan.rewrite.prefix {
        None => ("", path),
        Some(prefix) => {
            let rest = path.get(admitted.prefix_len..).unwrap_or_default();
            match prefix.trim_end_matches('/') {
                // What begins with two slashes is read as an authority by some (CVE-2026-26205).
                "" => ("/", rest.trim_start_matches('/')),
                prefix => (prefix, rest),
            }
        }
    };
    let query = &canonical.query.text;
    let mut text = String::with_capacity(prefix.len() + rest.len() + query.len() + 2);
    text.push_str(prefix);
    text.push_str(rest);
    if !query.is_empty() {
        text.push('?');
        text.push_str(query);
    }
    text
}

fn pool_authority(target: &Target) -> Result<HeaderValue, Rejection> {
    let text = match &target.dns {
        Some(name) => format!("{name}:{}", target.endpoint.address.port()),
        None => target.endpoint.address.to_string(),
    };
    HeaderValue::try_from(text).map_err(|_| Rejection::new(Reason::HostInvalid))
}
