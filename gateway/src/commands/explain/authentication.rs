//! The credentials of a rehearsed request, check by check: what `token` and `cert` say of them, for this route.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use portcullis_model::TrustId;
use portcullis_pipeline::Exchange;
use portcullis_pipeline::plan::SchemeKind;
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use crate::commands::checks::{self, Check};

/// What is neither accepted nor refused, because what decides it is not known here.
pub(super) const NOT_JUDGED: &str = "not judged";

/// What one issuer or one trust of the route makes of a credential.
#[derive(Serialize)]
pub(super) struct Authentication {
    /// Which, as in `issuer idp`.
    by: String,
    verdict: &'static str,
    reason: Option<&'static str>,
    checks: Vec<Check>,
}

/// Every credential that was given, by the rules of the route that was found. A connection is judged before any route
/// is: without one the certificate is judged by every trust there is.
pub(super) fn examine(
    exchange: &Exchange,
    headers: &HeaderMap,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Vec<Authentication> {
    let snapshot = exchange.snapshot();
    let route = exchange.record().route.as_ref().and_then(|id| snapshot.route(id));
    let schemes = || {
        route
            .iter()
            .flat_map(|route| &route.plan.authenticate)
            .map(|one| &one.scheme)
    };
    let takes_tokens = schemes().any(|scheme| matches!(scheme, SchemeKind::Jwt(_)));
    let authenticator = route
        .and_then(|route| route.authenticator.as_ref())
        .filter(|_| takes_tokens);
    let mut found = Vec::new();
    if let (Some(authenticator), Some(token)) = (authenticator, bearer(headers)) {
        let examination = authenticator.examine(token, now);
        found.push(Authentication::new(
            match &examination.issuer {
                Some(issuer) => format!("issuer {issuer}"),
                None => "no issuer of the route".to_owned(),
            },
            examination.is_judged(),
            examination.verdict.as_ref().err().map(|reason| reason.code()),
            examination.checks.iter().map(Check::from).collect(),
        ));
    }
    if chain.is_empty() {
        return found;
    }
    let is_asked = |id: &TrustId| {
        route.is_none() || schemes().any(|scheme| matches!(scheme, SchemeKind::Mtls(trust) if trust == id))
    };
    let trusts = snapshot.identity.examine_certificate(chain, now);
    found.extend(trusts.iter().filter(|one| is_asked(&one.trust)).map(|one| {
        Authentication::new(
            format!("trust {}", one.trust),
            one.is_judged(),
            one.verdict.as_ref().err().map(|reason| reason.code()),
            one.checks.iter().map(Check::from).collect(),
        )
    }));
    found
}

/// The token of the field, as the gateway takes it.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

impl Authentication {
    fn new(by: String, is_judged: bool, reason: Option<&'static str>, checks: Vec<Check>) -> Self {
        Self {
            by,
            verdict: match (reason, is_judged) {
                (None, _) => "accepted",
                (Some(_), true) => "refused",
                (Some(_), false) => NOT_JUDGED,
            },
            reason,
            checks,
        }
    }

    /// True when what decides is not known here.
    pub(super) fn is_open(&self) -> bool {
        self.verdict == NOT_JUDGED
    }

    /// The checks of what was refused, for people; what passed needs no words.
    pub(super) fn text(&self) -> Option<String> {
        let reason = self.reason?;
        let verdict = match self.is_open() {
            true => NOT_JUDGED.to_owned(),
            false => format!("refused with {reason}"),
        };
        Some(format!(
            "By {}: {verdict}\n{}",
            self.by,
            checks::text(&self.checks, 2)
        ))
    }
}
