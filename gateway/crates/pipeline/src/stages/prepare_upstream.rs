//! `prepare_upstream`: the head that leaves is built from parsed parts, never copied from the wire.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, EXPECT, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_model::{Proof, Reason, Rejection};

use super::observe::set_fields;
use super::select_endpoint::Target;
use crate::answer::REQUEST_ID;
use crate::plan::HostRewrite;
use crate::stages::admitted::Admitted;
use crate::trace::{TRACEPARENT, TraceContext};

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

/// Builds the outgoing head.
pub(crate) fn prepare_upstream(
    admitted: &Admitted,
    target: &Target,
    peer: IpAddr,
    request_id: &str,
    trace: &TraceContext,
) -> Result<UpstreamHead, Rejection> {
    let canonical = &admitted.canonical;
    let mut headers = canonical.headers.clone();
    // The proof was ours to check; an endpoint that could replay it would be a second identity provider.
    if admitted.principal.proof == Proof::Jwt {
        headers.remove(AUTHORIZATION);
    }
    headers.remove(EXPECT);
    if canonical.accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let peer = peer.to_canonical();
    let chain = match &canonical.forwarded_for {
        Some(chain) => format!("{chain}, {peer}"),
        None => peer.to_string(),
    };
    insert(&mut headers, HeaderName::from_static("x-forwarded-for"), &chain)?;
    insert(
        &mut headers,
        HeaderName::from_static("x-forwarded-proto"),
        canonical.scheme.as_str(),
    )?;
    insert(
        &mut headers,
        HeaderName::from_static("x-forwarded-host"),
        &canonical.host,
    )?;
    insert(&mut headers, REQUEST_ID, request_id)?;
    insert(
        &mut headers,
        HeaderName::from_static(TRACEPARENT),
        &trace.traceparent(),
    )?;
    if !trace.is_continued {
        headers.remove("tracestate");
    }
    let fields = &admitted.route.plan.request_fields;
    for name in &fields.remove {
        headers.remove(name);
    }
    set_fields(&fields.set, &mut headers);
    set_fields(&admitted.request_headers, &mut headers);
    Ok(UpstreamHead {
        method: canonical.method.clone(),
        path_and_query: path_and_query(admitted),
        authority: authority(admitted, target)?,
        is_tls: target.tls.is_some(),
        headers,
        is_websocket: canonical.wants_websocket,
    })
}

fn path_and_query(admitted: &Admitted) -> String {
    let canonical = &admitted.canonical;
    let mut text = match &admitted.route.plan.rewrite.prefix {
        None => canonical.path.clone(),
        Some(prefix) => {
            let rest = canonical.path.get(admitted.prefix_len..).unwrap_or_default();
            let joined = format!(
                "{}/{}",
                prefix.trim_end_matches('/'),
                rest.trim_start_matches('/')
            );
            if rest.is_empty() && joined.len() > 1 {
                joined.trim_end_matches('/').to_owned()
            } else {
                joined
            }
        }
    };
    if text.is_empty() {
        text.push('/');
    }
    if !canonical.query.text.is_empty() {
        text.push('?');
        text.push_str(&canonical.query.text);
    }
    text
}

fn authority(admitted: &Admitted, target: &Target) -> Result<HeaderValue, Rejection> {
    let text = match &admitted.route.plan.rewrite.host {
        HostRewrite::Name(value) => return Ok(value.clone()),
        HostRewrite::Keep => admitted.canonical.host.clone(),
        HostRewrite::Pool => match &target.dns {
            Some(name) => format!("{name}:{}", target.endpoint.address.port()),
            None => target.endpoint.address.to_string(),
        },
    };
    HeaderValue::from_str(&text).map_err(|_| Rejection::new(Reason::HostInvalid))
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Rejection> {
    let value = HeaderValue::from_str(value).map_err(|_| Rejection::new(Reason::Internal))?;
    headers.insert(name, value);
    Ok(())
}
