//! Who is asking, by the schemes of a route in their order.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use portcullis_model::{Identity, IssuerId, Origin, Principal, Proof, Reason, Rejection, TrustId};
use sha2::{Digest, Sha256};

use crate::boards::Boards;
use crate::jwt::{COOLDOWN, Issuer, Token, TokenRefusal};
use crate::mtls::{PeerIdentity, Trust};
use crate::standing::{self, Standing};

/// The challenge of a route that takes only client certificates: there is no registered scheme for them, and a
/// 401 must carry one (RFC 9110 section 11.6.1).
const CERTIFICATE_CHALLENGE: &str = r#"ClientCertificate realm="portcullis""#;

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

/// A bearer token as it was presented.
enum Bearer<'a> {
    Absent,
    Present(&'a str),
    Malformed(&'static str),
}

/// Why a token did not pass, by whose rules, and whether other keys could change that.
struct TokenVerdict<'a> {
    refusal: TokenRefusal,
    by: Option<(&'a Issuer, &'a Origin)>,
    /// The generation of the keys that did not suffice; `None` within: there were no usable keys.
    wants_keys: Option<Option<u64>>,
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
            Kind::Certificate => schemes.judge_certificate(credentials.peer, now),
            Kind::Token => {
                let token = schemes.bearer(credentials.headers)?;
                let verdict = match schemes.judge_token(token, now) {
                    Ok(authenticated) => return Ok(authenticated),
                    Err(verdict) => verdict,
                };
                let newer = match (verdict.by, verdict.wants_keys) {
                    (Some((issuer, _)), Some(seen)) => {
                        schemes.boards.keys.newer_keys(&issuer.keys, seen).await
                    }
                    _ => None,
                };
                match newer {
                    Some(_) => schemes
                        .judge_token(token, now)
                        .map_err(|verdict| schemes.reject_token(&verdict)),
                    None => Err(schemes.reject_token(&verdict)),
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
            Kind::Certificate => schemes.judge_certificate(credentials.peer, now),
            Kind::Token => schemes
                .judge_token(schemes.bearer(credentials.headers)?, now)
                .map_err(|verdict| schemes.reject_token(&verdict)),
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

    fn bearer<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Rejection> {
        match bearer(headers) {
            Bearer::Present(token) => Ok(token),
            Bearer::Absent => Err(self.challenge(Rejection::new(Reason::CredentialsMissing), None)),
            Bearer::Malformed(check) => Err(self.reject_token(&TokenVerdict {
                refusal: TokenRefusal::new(Reason::TokenMalformed, check),
                by: None,
                wants_keys: None,
            })),
        }
    }

    /// Judges a token by the issuers that it may be of; a remembered one costs a digest.
    fn judge_token<'s>(&'s self, token: &str, now: SystemTime) -> Result<Authenticated, TokenVerdict<'s>> {
        let tokens = &self.boards.tokens;
        let instant = self.boards.clock.instant();
        if token.len() <= crate::jwt::MAX_TOKEN {
            let digest = Sha256::digest(token).into();
            for (issuer, origin) in &self.issuers {
                let Some(keys) = issuer.keys.usable(instant) else {
                    continue;
                };
                let key = issuer.token_key(digest, &keys);
                let Some(verified) = tokens.find(&key) else {
                    continue;
                };
                return match issuer.recall(&verified, now) {
                    Ok(principal) => Ok(Authenticated {
                        principal,
                        by: origin.clone(),
                        standing: Standing::token(verified),
                    }),
                    Err(refusal) => {
                        tokens.forget(&key);
                        Err(TokenVerdict {
                            refusal,
                            by: Some((issuer, origin)),
                            wants_keys: None,
                        })
                    }
                };
            }
        }
        self.judge_new_token(token, now)
    }

    fn judge_new_token<'s>(&'s self, text: &str, now: SystemTime) -> Result<Authenticated, TokenVerdict<'s>> {
        let unattributed = |refusal| TokenVerdict {
            refusal,
            by: None,
            wants_keys: None,
        };
        let token = Token::parse(text).map_err(unattributed)?;
        let name = token.unverified_issuer().map_err(unattributed)?;
        let mut verdict = TokenVerdict {
            refusal: TokenRefusal::new(Reason::TokenIssuerUnknown, "iss is no issuer of this route"),
            by: None,
            wants_keys: None,
        };
        for (issuer, origin) in self
            .issuers
            .iter()
            .filter(|(issuer, _)| issuer.plan.issuer.as_ref() == name)
        {
            let by = Some((&**issuer, origin));
            let Some(keys) = issuer.keys.usable(self.boards.clock.instant()) else {
                let refusal = TokenRefusal::new(
                    Reason::KeysUnavailable,
                    "the issuer's keys are not loaded or stale",
                );
                verdict = TokenVerdict {
                    refusal,
                    by,
                    wants_keys: Some(None),
                };
                continue;
            };
            match issuer.verify(&token, &keys, now) {
                Ok(verified) => {
                    let verified = Arc::new(verified);
                    let key = issuer.token_key(Sha256::digest(text).into(), &keys);
                    self.boards.tokens.remember(key, Arc::clone(&verified));
                    return Ok(Authenticated {
                        principal: verified.principal.clone(),
                        by: origin.clone(),
                        standing: Standing::token(verified),
                    });
                }
                Err(refusal) => {
                    let wants_keys =
                        (refusal.reason == Reason::TokenKeyUnknown).then_some(Some(keys.generation));
                    verdict = TokenVerdict {
                        refusal,
                        by,
                        wants_keys,
                    };
                }
            }
        }
        Err(verdict)
    }

    fn judge_certificate(
        &self,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
    ) -> Result<Authenticated, Rejection> {
        let metrics = &self.boards.metrics;
        let Some(peer) = peer else {
            return Err(self.challenge(Rejection::new(Reason::CertificateMissing), None));
        };
        let mut refused = None;
        for (trust, origin) in &self.trusts {
            match trust.judge(peer, now) {
                Ok((id, is_remembered)) => {
                    let outcome = if is_remembered { "remembered" } else { "verified" };
                    metrics.certificates.with_label_values(&[outcome]).inc();
                    return Ok(Authenticated {
                        principal: Principal {
                            identity: Identity::Workload(id),
                            proof: Proof::Mtls,
                            attributes: Arc::default(),
                            expires_at: Some(standing::end_of(peer, now)),
                        },
                        by: origin.clone(),
                        standing: Standing::certificate(),
                    });
                }
                Err(refusal) => refused = Some((refusal, origin)),
            }
        }
        let (reason, check, origin) = match &refused {
            Some((refusal, origin)) => (refusal.reason, refusal.check.as_ref(), Some(*origin)),
            None => (Reason::CertificateUntrusted, "the route names no trust", None),
        };
        metrics.certificates.with_label_values(&[reason.code()]).inc();
        let mut rejection = Rejection::new(reason).with_private(check);
        if let Some(origin) = origin {
            rejection = rejection.decided_by(origin);
        }
        Err(self.challenge(rejection, None))
    }

    fn reject_token(&self, verdict: &TokenVerdict<'_>) -> Rejection {
        let reason = verdict.refusal.reason;
        let issuer = verdict.by.map_or("none", |(issuer, _)| issuer.plan.id.as_str());
        self.boards
            .metrics
            .tokens
            .with_label_values(&[issuer, reason.code()])
            .inc();
        let mut rejection = Rejection::new(reason).with_private(verdict.refusal.check.as_ref());
        if let Some((_, origin)) = verdict.by {
            rejection = rejection.decided_by(origin);
        }
        if reason == Reason::KeysUnavailable {
            return rejection.with_retry_after(COOLDOWN);
        }
        self.challenge(rejection, Some(reason.title()))
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

/// The bearer token of a request (RFC 6750 section 2.1): from the one `Authorization` field, from nowhere else.
fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let mut fields = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let Some(field) = fields.next() else {
        return Bearer::Absent;
    };
    if fields.next().is_some() {
        return Bearer::Malformed("more than one Authorization field");
    }
    let scheme = field.split(|byte| *byte == b' ').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Bearer::Absent;
    }
    let token = field.get(scheme.len()..).unwrap_or_default();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    match std::str::from_utf8(token).map(|token| token.trim_start_matches(' ')) {
        Ok(token) if !token.is_empty() && token.as_bytes().iter().all(is_token) => Bearer::Present(token),
        _ => Bearer::Malformed("the field holds no bearer token"),
    }
}

#[cfg(test)]
#[path = "authenticator_tests/mod.rs"]
mod tests;
