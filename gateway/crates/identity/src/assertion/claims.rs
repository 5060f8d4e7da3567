//! What an assertion says of a principal.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_model::{Identity, Principal};
use serde::Serialize;

/// The claims, in the order in which they are written; what is not known is absent.
#[derive(Serialize)]
pub(crate) struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    /// As logs and policies name the principal: its SPIFFE ID, or `issuer:subject`.
    sub: String,
    iat: u64,
    exp: u64,
    jti: &'a str,
    principal_kind: &'static str,
    proof: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Arc<str>]>::is_empty")]
    roles: &'a [Arc<str>],
    #[serde(skip_serializing_if = "<[Arc<str>]>::is_empty")]
    scopes: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
}

/// Between which seconds an assertion holds, and until when the same one may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Window {
    pub(crate) issued: u64,
    pub(crate) end: u64,
    /// In seconds since the epoch, as the others.
    pub(crate) renew: u64,
}

impl Window {
    /// From now for `lifetime`, at most until the proof of the principal ends. A third of the time before the end
    /// another one is signed, unless that could not end later.
    pub(crate) fn from(now: SystemTime, lifetime: Duration, proof_end: Option<SystemTime>) -> Self {
        let seconds = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs()
        };
        let issued = seconds(now);
        let wanted = issued.saturating_add(lifetime.as_secs());
        match proof_end.map(seconds) {
            Some(end) if end <= wanted => Self {
                issued,
                end,
                renew: end,
            },
            Some(_) | None => Self {
                issued,
                end: wanted,
                renew: wanted - lifetime.as_secs() / 3,
            },
        }
    }
}

impl<'a> Claims<'a> {
    /// The claims of a proven principal.
    pub(crate) fn of(
        principal: &'a Principal,
        (issuer, audience): (&'a str, &'a str),
        window: Window,
        jti: &'a str,
    ) -> Self {
        let attributes = &*principal.attributes;
        let token_issuer = match &principal.identity {
            Identity::User(subject) => Some(subject.issuer_url.as_ref()),
            Identity::Anonymous | Identity::Workload(_) => None,
        };
        Self {
            iss: issuer,
            aud: audience,
            sub: principal.to_string(),
            iat: window.issued,
            exp: window.end,
            jti,
            principal_kind: principal.kind(),
            proof: principal.proof.as_str(),
            issuer: token_issuer,
            tenant: attributes.tenant.as_deref(),
            roles: &attributes.roles,
            scopes: &attributes.scopes,
            region: attributes.region.as_deref(),
        }
    }
}
