//! Who is asking, by the schemes of a route in their order.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::join_all;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use portcullis_model::{Identity, IssuerId, Origin, Principal, Proof, Reason, Rejection, TrustId};
use sha2::{Digest, Sha256};

use crate::boards::Boards;
use crate::deny::DenyEntry;
use crate::jwt::{Issuer, IssuerKeys, Token, TokenRefusal, Traffic, Verified};
use crate::mtls::{PeerIdentity, Trust};
use crate::standing::{self, Standing};

mod examination;

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
    /// What the issuers lack that cannot judge it with the keys they have.
    lacks: Vec<Lack<'a>>,
    /// The entry of the deny list that decided.
    denied: Option<Arc<DenyEntry>>,
}

/// A key that an issuer does not have.
struct Lack<'a> {
    issuer: &'a Issuer,
    /// The generation of its keys; `None`: none are usable.
    seen: Option<u64>,
    /// The key that the token names.
    key_id: Option<String>,
}

impl<'a> TokenVerdict<'a> {
    /// A refusal that other keys would not change.
    const fn new(refusal: TokenRefusal, by: Option<(&'a Issuer, &'a Origin)>) -> Self {
        Self {
            refusal,
            by,
            lacks: Vec::new(),
            denied: None,
        }
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
            Kind::Certificate => schemes.judge_certificate(credentials.peer, now),
            Kind::Token => {
                let token = schemes.bearer(credentials.headers)?;
                let verdict = match schemes.judge_token(token, now) {
                    Ok(authenticated) => return Ok(authenticated),
                    Err(verdict) => verdict,
                };
                if schemes.fetch_lacking(&verdict).await {
                    schemes
                        .judge_token(token, now)
                        .map_err(|verdict| schemes.reject_token(&verdict))
                } else {
                    Err(schemes.reject_token(&verdict))
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
            Bearer::Malformed(check) => Err(self.reject_token(&TokenVerdict::new(
                TokenRefusal::new(Reason::TokenMalformed, check),
                None,
            ))),
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
                if let Err(refusal) = issuer.recall(&verified, now) {
                    tokens.forget(&key);
                    return Err(TokenVerdict::new(refusal, Some((issuer, origin))));
                }
                let authenticated = self.unless_denied(verified, (issuer, origin), now)?;
                issuer.count_remembered();
                return Ok(authenticated);
            }
        }
        self.judge_new_token(token, now)
    }

    fn judge_new_token<'s>(&'s self, text: &str, now: SystemTime) -> Result<Authenticated, TokenVerdict<'s>> {
        let token = Token::parse(text).map_err(|refusal| TokenVerdict::new(refusal, None))?;
        let mut lacks = Vec::new();
        let mut verdict: Option<TokenVerdict<'s>> = None;
        for (issuer, origin) in self.issuers_of(&token) {
            let keys = issuer.keys.usable(self.boards.clock.instant());
            let refusal = match issuer.verify(&token, keys.as_deref(), now, &mut Traffic) {
                Ok(verified) => {
                    let verified = Arc::new(verified);
                    if let Some(keys) = keys {
                        let key = issuer.token_key(Sha256::digest(text).into(), &keys);
                        // A denied one is remembered too: presenting it again must not cost a signature check.
                        self.boards.tokens.remember(key, Arc::clone(&verified));
                    }
                    let authenticated = self.unless_denied(verified, (issuer, origin), now)?;
                    issuer.count_verified();
                    return Ok(authenticated);
                }
                Err(refusal) => refusal,
            };
            if matches!(refusal.reason, Reason::KeysUnavailable | Reason::TokenKeyUnknown) {
                lacks.push(Lack {
                    issuer,
                    seen: keys.map(|keys| keys.generation),
                    key_id: token.key_id.clone(),
                });
            }
            // The issuer that a token came furthest with says most about what is wrong with it.
            if verdict
                .as_ref()
                .is_none_or(|earlier| progress(refusal.reason) >= progress(earlier.refusal.reason))
            {
                verdict = Some(TokenVerdict::new(refusal, Some((issuer, origin))));
            }
        }
        let mut verdict =
            verdict.unwrap_or_else(|| TokenVerdict::new(self.refuse_unnamed(&token), None));
        verdict.lacks = lacks;
        Err(verdict)
    }

    /// The issuers that a token names: by `iss`, or by the trust domain of `sub`.
    fn issuers_of<'s>(&'s self, token: &Token<'_>) -> impl Iterator<Item = (&'s Issuer, &'s Origin)> {
        self.issuers
            .iter()
            .filter(|(issuer, _)| issuer.is_named_by(token).is_ok())
            .map(|(issuer, origin)| (&**issuer, origin))
    }

    /// Why a token names no issuer of the route: one answer, whatever the number of issuers.
    fn refuse_unnamed(&self, token: &Token<'_>) -> TokenRefusal {
        let refusals = self
            .issuers
            .iter()
            .filter_map(|(issuer, _)| issuer.is_named_by(token).err());
        refusals
            .max_by_key(|refusal| refusal.reason == Reason::TokenIssuerUnknown)
            .unwrap_or_else(|| {
                TokenRefusal::new(Reason::TokenIssuerUnknown, "iss is no issuer of this route")
            })
    }

    /// Asks for the keys that a verdict lacks; true when there are others now for one of its issuers.
    async fn fetch_lacking(&self, verdict: &TokenVerdict<'_>) -> bool {
        let asked = verdict.lacks.iter().map(|lack| async move {
            match &lack.issuer.keys {
                IssuerKeys::Slot(slot) => self
                    .boards
                    .keys
                    .newer_keys(slot, lack.seen, lack.key_id.as_deref())
                    .await
                    .is_some(),
                IssuerKeys::Workload(..) => false,
            }
        });
        join_all(asked).await.contains(&true)
    }

    /// What a verified token proves, unless the deny list names it; asked anew for every request.
    fn unless_denied<'s>(
        &'s self,
        verified: Arc<Verified>,
        (issuer, origin): (&'s Issuer, &'s Origin),
        now: SystemTime,
    ) -> Result<Authenticated, TokenVerdict<'s>> {
        if let Some(entry) = self.boards.denied.denies_token(&verified.names, now) {
            return Err(TokenVerdict {
                refusal: TokenRefusal::new(Reason::TokenRevoked, entry.to_string()),
                by: Some((issuer, origin)),
                lacks: Vec::new(),
                denied: Some(entry),
            });
        }
        Ok(Authenticated {
            principal: verified.principal.clone(),
            by: origin.clone(),
            standing: Standing::token(verified),
        })
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
                    if let Some(entry) = self.boards.denied.denies_certificate(peer, &trust.id, now) {
                        return Err(self.reject_denied_certificate(&entry));
                    }
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
                        standing: Standing::certificate(trust.id.clone()),
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

    /// The denial is final, whatever another trust of the route would say of the same certificate.
    fn reject_denied_certificate(&self, entry: &DenyEntry) -> Rejection {
        let reason = Reason::CertificateRevoked;
        let metrics = &self.boards.metrics;
        metrics.certificates.with_label_values(&[reason.code()]).inc();
        self.challenge(entry.rejection(reason), None)
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
        match (&verdict.denied, verdict.by) {
            (Some(entry), _) => rejection = rejection.decided_by(&entry.origin()),
            (None, Some((_, origin))) => rejection = rejection.decided_by(origin),
            (None, None) => {}
        }
        if reason == Reason::KeysUnavailable {
            let wait = verdict.by.map(|(issuer, _)| issuer.keys.retry_after());
            return rejection.with_retry_after(wait.unwrap_or_default());
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

/// How far a token came before it was refused for this.
const fn progress(reason: Reason) -> u8 {
    match reason {
        Reason::TokenType => 1,
        Reason::TokenAlgorithm => 2,
        Reason::KeysUnavailable => 3,
        Reason::TokenKeyUnknown => 4,
        Reason::TokenSignature => 5,
        _ => 6,
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
