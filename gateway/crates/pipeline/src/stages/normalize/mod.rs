//! `normalize`: one canonical form of authority, path, query and fields, computed once for router, contract, policy,
//! limits, log and endpoint alike.

mod authority;
mod fields;
mod names;
mod oddity;
mod path;
mod query;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method};
use portcullis_model::{Query, Reason, Rejection, RequestHead, Stage, UrlScheme};

pub use self::authority::canonical_host;
pub use self::fields::strip_hop_by_hop;
pub use self::oddity::{PathOddities, PathOddity};
pub use self::path::{canonical_path, read_path};
pub use self::query::canonical_query;

use crate::connection::RawHead;
use crate::context::Context;
use crate::stages::record::trace_id;

/// A request in its canonical form.
#[derive(Debug)]
pub struct Canonical {
    /// The method.
    pub method: Method,
    /// How the client reached us.
    pub scheme: UrlScheme,
    /// The host, lower case, without port; shared with the record.
    pub host: Arc<str>,
    /// The port that the client wrote, unless the scheme says it already: for who writes URLs, never for a decision.
    pub port: Option<u16>,
    /// The path; shared with the record.
    pub path: Arc<str>,
    /// What of the path its route has to allow.
    pub oddities: PathOddities,
    /// The query.
    pub query: Query,
    /// The fields.
    pub headers: HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// True when a trusted proxy sent it.
    pub is_from_proxy: bool,
    /// What trusted proxies reported before us.
    pub forwarded_for: Option<String>,
    /// True when the client accepts trailers.
    pub accepts_trailers: bool,
    /// True when a WebSocket is asked for.
    pub wants_websocket: bool,
    /// True when another upgrade is asked for.
    pub wants_other_upgrade: bool,
    /// True when a body follows.
    pub has_body: bool,
    /// Until when a trust of the listener accepts the certificate of the connection, as long as no pulse beats; `None`
    /// where that would have to be asked.
    pub(crate) vouched_until: Option<SystemTime>,
}

impl Canonical {
    /// The view that rooms get.
    #[must_use]
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            scheme: self.scheme,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            client: self.client,
        }
    }
}

/// Brings a request to its canonical form, or refuses it.
pub(crate) fn normalize(context: &mut Context<'_>, raw: RawHead<'_>) -> Result<Box<Canonical>, Rejection> {
    let mut canonical = canonical(context, raw)?;
    context.record.host = Arc::clone(&canonical.host);
    context.record.path = Arc::clone(&canonical.path);
    context.record.client = canonical.client;
    // Whatever an untrusted peer said of a trace is gone by now.
    context.trace.continue_from(&canonical.headers);
    context.record.trace_id = trace_id(context.trace);
    canonical.vouched_until = refuse_misdirected(context, &canonical.host)?;
    context.note(Stage::Normalize, None, || {
        let query = if canonical.query.text.is_empty() {
            ""
        } else {
            "?…"
        };
        format!(
            "{} {}://{}{}{query}",
            canonical.method,
            canonical.scheme.as_str(),
            canonical.host,
            canonical.path
        )
    });
    Ok(canonical)
}

fn canonical(context: &mut Context<'_>, raw: RawHead<'_>) -> Result<Box<Canonical>, Reason> {
    if matches!(*raw.method, Method::CONNECT | Method::TRACE) {
        return Err(Reason::MethodUnsupported);
    }
    let (host, port) = authority::canonical_authority(raw.authority, raw.headers)?;
    let mut halves = raw.target.splitn(2, |byte| *byte == b'?');
    let (path, oddities) = read_path(halves.next().unwrap_or_default())?;
    let query = canonical_query(halves.next().unwrap_or_default())?;
    let peer = context.connection.peer.ip().to_canonical();
    let fields = fields::canonical_fields(raw.headers, peer, &context.snapshot.plan.trusted_proxies)?;
    if let Some(id) = fields.request_id {
        context.record.request_id = id;
    }
    let upgrade = raw.upgrade.map(str::trim).filter(|text| !text.is_empty());
    let wants_websocket = upgrade.is_some_and(|text| text.eq_ignore_ascii_case("websocket"));
    let scheme = if context.connection.tls.is_some() {
        UrlScheme::Https
    } else {
        UrlScheme::Http
    };
    Ok(Box::new(Canonical {
        method: raw.method.clone(),
        scheme,
        host: host.into(),
        port: port.filter(|port| *port != default_port(scheme)),
        path: path.into(),
        oddities,
        query,
        headers: fields.headers,
        client: fields.client,
        is_from_proxy: fields.is_from_proxy,
        forwarded_for: fields.forwarded_for,
        accepts_trailers: fields.accepts_trailers,
        wants_websocket,
        wants_other_upgrade: upgrade.is_some() && !wants_websocket,
        has_body: raw.has_body,
        vouched_until: None,
    }))
}

/// RFC 9110 sections 4.2.1 and 4.2.2.
const fn default_port(scheme: UrlScheme) -> u16 {
    match scheme {
        UrlScheme::Http => 80,
        UrlScheme::Https => 443,
    }
}

/// 421 when the connection was made for a name that asks for less than this host does, or that its certificate
/// does not cover (RFC 9110 section 15.5.20; CVE-2026-48491); 401 when its handshake would not succeed today. Otherwise
/// until when a trust accepts its certificate, as long as no pulse beats.
pub(crate) fn refuse_misdirected(context: &Context<'_>, host: &str) -> Result<Option<SystemTime>, Rejection> {
    let Some(tls) = &context.connection.tls else {
        return Ok(None);
    };
    let identity = &context.snapshot.identity;
    let Some(listener) = identity.listener_tls(&context.connection.listener) else {
        return Ok(None);
    };
    // What the handshake accepted may have been revoked, or have ended, since, and more may be asked by now; on a
    // public route nobody else looks.
    listener.judge_request(tls.sni.as_deref(), host, tls.peer.as_deref(), context.now.wall)
}
