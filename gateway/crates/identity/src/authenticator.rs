//! Who is asking, by the schemes of a route in their order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use portcullis_model::{Identity, IssuerId, Origin, Principal, Proof, Reason, Rejection, TrustId};

use crate::boards::Boards;
use crate::deny::DenyEntry;
use crate::jwt::Issuer;
use crate::mtls::{PeerIdentity, Trust, first_to_accept};
use crate::standing::Standing;

mod examination;
mod tokens;

use tokens::{Bearer, bearer};

/// The challenge of a route that takes only client certificates: there is no registered scheme for them, and a
/// 401 must carry one (RFC 9110 section 11.6.1).
pub(crate) const CERTIFICATE_CHALLENGE: &str = r#"ClientCertificate realm="portcullis""#;

/// One way to prove who one is, and where the route names it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// A bearer token of this issuer.
    Jwt(IssuerId, Origin),
    /// A client certificate under these anchors.
    Mtls(TrustId, Origin),
}

/// What a request brings.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// The client certificate of its connection.
    pub peer: Option<&'a PeerIdentity>,
}

/// A proven principal, the line that accepted it, and what it rests on.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who.
    pub principal: Principal,
    /// By which scheme.
    pub by: Origin,
    /// What is asked again while the exchange lives.
    pub standing: Standing,
}

/// What a credential proves that was proven by it before.
#[derive(Clone, Debug)]
pub enum Still {
    /// This.
    Proven(Authenticated),
    /// Nothing yet, and nothing is refuted: the keys of its issuer have never been here. They are worth waiting for so
    /// long as keys may be used without being confirmed.
    AwaitsKeys(Duration),
}

/// Whether a judgement counts as one of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tally {
    /// A request's.
    Request,
    /// One of what lives already: it was counted when it began.
    Lease,
}

/// The schemes of one route, ready to judge; a clone shares them.
#[derive(Clone, Debug)]
pub struct Authenticator {
    schemes: Arc<Schemes>,
}

#[derive(Debug)]
pub(crate) struct Schemes {
    /// Kinds of credentials in the order in which the route first names them.
    pub(crate) order: Vec<Kind>,
    pub(crate) issuers: Vec<(Arc<Issuer>, Origin)>,
    pub(crate) trusts: Vec<(Arc<Trust>, Origin)>,
    pub(crate) boards: Boards,
}

/// A kind of credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Token,
    Certificate,
}

impl Tally {
    const fn is_request(self) -> bool {
        matches!(self, Self::Request)
    }
}

impl Authenticator {
    pub(crate) fn new(schemes: Schemes) -> Self {
        Self {
            schemes: Arc::new(schemes),
        }
    }

    /// Finds the principal; may wait up to a second for an issuer's keys.
    ///
    /// # Errors
    /// The first credential that is present decides; a 401 says how to authenticate.
    pub async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: SystemTime,
    ) -> Result<Authenticated, Rejection> {
        let schemes = &*self.schemes;
        match schemes.present(credentials)? {
            Kind::Certificate => schemes.judge_certificate(credentials.peer, now, Tally::Request),
            Kind::Token => {
                let token = schemes.bearer(credentials.headers)?;
                let verdict = match schemes.judge_token(token, now, Tally::Request) {
                    Ok(authenticated) => return Ok(authenticated),
                    Err(verdict) => verdict,
                };
                if schemes.fetch_lacking(&verdict).await {
                    schemes
                        .judge_token(token, now, Tally::Request)
                        .map_err(|verdict| schemes.reject_token(&verdict, Tally::Request))
                } else {
                    Err(schemes.reject_token(&verdict, Tally::Request))
                }
            }
        }
    }

    /// The same without ever fetching keys.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`], and `keys-unavailable` for keys that were never loaded.
    pub fn authenticate_offline(
        &self,
        credentials: Credentials<'_>,
        now: SystemTime,
    ) -> Result<Authenticated, Rejection> {
        let schemes = &*self.schemes;
        match schemes.present(credentials)? {
            Kind::Certificate => schemes.judge_certificate(credentials.peer, now, Tally::Request),
            Kind::Token => schemes
                .judge_token(schemes.bearer(credentials.headers)?, now, Tally::Request)
                .map_err(|verdict| schemes.reject_token(&verdict, Tally::Request)),
        }
    }

    /// Judges the credentials of what lives again, without fetching keys and without counting it as a request.
    ///
    /// Keys that have never been here refute nothing. Keys that a delivery withdrew do, and so do keys that could not
    /// be confirmed for longer than they may be used.
    ///
    /// # Errors
    /// Returns what a new request would meet.
    pub fn still_proves(&self, credentials: Credentials<'_>, now: SystemTime) -> Result<Still, Rejection> {
        let schemes = &*self.schemes;
        match schemes.present(credentials)? {
            Kind::Certificate => schemes
                .judge_certificate(credentials.peer, now, Tally::Lease)
                .map(Still::Proven),
            Kind::Token => match schemes.judge_token(schemes.bearer(credentials.headers)?, now, Tally::Lease)
            {
                Ok(authenticated) => Ok(Still::Proven(authenticated)),
                Err(verdict) => match verdict.awaits_keys() {
                    Some(patience) => Ok(Still::AwaitsKeys(patience)),
                    None => Err(schemes.reject_token(&verdict, Tally::Lease)),
                },
            },
        }
    }
}

impl Schemes {
    /// The kind of the first credential that is present.
    fn present(&self, credentials: Credentials<'_>) -> Result<Kind, Rejection> {
        let is_present = |kind: &Kind| match kind {
            Kind::Token => !matches!(bearer(credentials.headers), Bearer::Absent),
            Kind::Certificate => credentials.peer.is_some(),
        };
        self.order.iter().copied().find(is_present).ok_or_else(|| {
            let reason = match self.order.as_slice() {
                [Kind::Certificate] => Reason::CertificateMissing,
                _ => Reason::CredentialsMissing,
            };
            self.challenge(Rejection::new(reason), None)
        })
    }

    fn judge_certificate(
        &self,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
        tally: Tally,
    ) -> Result<Authenticated, Rejection> {
        let metrics = &self.boards.metrics;
        let Some(peer) = peer else {
            return Err(self.challenge(Rejection::new(Reason::CertificateMissing), None));
        };
        let judged = first_to_accept(&self.trusts, |(trust, _)| trust.judge(peer, now));
        let refused = match judged {
            Ok(((trust, origin), (id, is_remembered))) => {
                if let Some(entry) = self.boards.denied.denies_certificate(peer, &trust.id, now) {
                    return Err(self.reject_denied_certificate(&entry, tally));
                }
                let outcome = if is_remembered { "remembered" } else { "verified" };
                if tally.is_request() {
                    metrics.certificates.with_label_values(&[outcome]).inc();
                }
                return Ok(Authenticated {
                    principal: Principal {
                        identity: Identity::Workload(id),
                        proof: Proof::Mtls,
                        attributes: Arc::default(),
                        expires_at: Some(peer.end_ahead(now)),
                    },
                    by: origin.clone(),
                    standing: Standing::certificate(trust.id.clone()),
                });
            }
            Err(refused) => refused,
        };
        let (reason, check, origin) = match &refused {
            Some(((_, origin), refusal)) => (refusal.reason, refusal.check.as_ref(), Some(origin)),
            None => (Reason::CertificateUntrusted, "the route names no trust", None),
        };
        if tally.is_request() {
            metrics.certificates.with_label_values(&[reason.code()]).inc();
        }
        let mut rejection = Rejection::new(reason).with_private(check);
        if let Some(origin) = origin {
            rejection = rejection.decided_by(origin);
        }
        Err(self.challenge(rejection, None))
    }

    /// The denial is final, whatever another trust of the route would say of the same certificate.
    fn reject_denied_certificate(&self, entry: &DenyEntry, tally: Tally) -> Rejection {
        let reason = Reason::CertificateRevoked;
        let metrics = &self.boards.metrics;
        if tally.is_request() {
            metrics.certificates.with_label_values(&[reason.code()]).inc();
        }
        self.challenge(entry.rejection(reason), None)
    }

    /// Adds how to authenticate (RFC 6750 section 3): bare when nothing was tried, with the error otherwise.
    fn challenge(&self, rejection: Rejection, error: Option<&'static str>) -> Rejection {
        let challenge = match (self.order.contains(&Kind::Token), error) {
            (false, _) => CERTIFICATE_CHALLENGE.to_owned(),
            (true, None) => r#"Bearer realm="portcullis""#.to_owned(),
            (true, Some(title)) => {
                format!(r#"Bearer realm="portcullis", error="invalid_token", error_description="{title}""#)
            }
        };
        match HeaderValue::from_str(&challenge) {
            Ok(value) => rejection.with_header(WWW_AUTHENTICATE, value),
            Err(_) => rejection,
        }
    }
}

#[cfg(test)]
#[path = "authenticator_tests/mod.rs"]
mod tests;
