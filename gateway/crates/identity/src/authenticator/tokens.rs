//! Bearer tokens: taken from the request, judged by the issuers that they name, remembered, and refused with words.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis_model::{Origin, Reason, Rejection};
use sha2::{Digest, Sha256};

use super::{Authenticated, Schemes, Tally};
use crate::deny::DenyEntry;
use crate::jwt::{Issuer, IssuerKeys, MAX_TOKEN, Token, TokenRefusal, Traffic, Verified};
use crate::standing::Standing;

/// A bearer token as it was presented.
pub(super) enum Bearer<'a> {
    Absent,
    Present(&'a str),
    Malformed(&'static str),
}

/// Why a token did not pass, by whose rules, and whether other keys could change that.
pub(super) struct TokenVerdict<'a> {
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

    /// How long it is worth waiting for keys that have never been here; `None` where that is not why it was refused.
    pub(super) fn awaits_keys(&self) -> Option<Duration> {
        let (issuer, _) = self.by?;
        let is_awaited = self.refusal.reason == Reason::KeysUnavailable && issuer.keys.loaded().is_none();
        is_awaited.then_some(issuer.plan.key_times.stale)
    }
}

impl Schemes {
    pub(super) fn bearer<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Rejection> {
        match bearer(headers) {
            Bearer::Present(token) => Ok(token),
            Bearer::Absent => Err(self.challenge(Rejection::new(Reason::CredentialsMissing), None)),
            Bearer::Malformed(check) => {
                let refusal = TokenRefusal::new(Reason::TokenMalformed, check);
                Err(self.reject_token(&TokenVerdict::new(refusal, None), Tally::Request))
            }
        }
    }

    /// Judges a token by the issuers that it may be of; a remembered one costs a digest.
    pub(super) fn judge_token<'s>(
        &'s self,
        token: &str,
        now: SystemTime,
        tally: Tally,
    ) -> Result<Authenticated, TokenVerdict<'s>> {
        let tokens = &self.boards.tokens;
        let instant = self.boards.clock.instant();
        if token.len() <= MAX_TOKEN {
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
                if tally.is_request() {
                    issuer.count_remembered();
                }
                return Ok(authenticated);
            }
        }
        self.judge_new_token(token, now, tally)
    }

    fn judge_new_token<'s>(
        &'s self,
        text: &str,
        now: SystemTime,
        tally: Tally,
    ) -> Result<Authenticated, TokenVerdict<'s>> {
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
                    if tally.is_request() {
                        issuer.count_verified();
                    }
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
        let mut verdict = verdict.unwrap_or_else(|| TokenVerdict::new(self.refuse_unnamed(&token), None));
        verdict.lacks = lacks;
        Err(verdict)
    }

    /// The issuers that a token names: by `iss`, or by the trust domain of `sub`.
    pub(super) fn issuers_of<'s>(
        &'s self,
        token: &Token<'_>,
    ) -> impl Iterator<Item = (&'s Issuer, &'s Origin)> {
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
            .filter_map(|(issuer, _)| issuer.refuse_other(token));
        refusals
            .max_by_key(|refusal| refusal.reason == Reason::TokenIssuerUnknown)
            .unwrap_or_else(|| {
                TokenRefusal::new(Reason::TokenIssuerUnknown, "iss is no issuer of this route")
            })
    }

    /// Asks for the keys that a verdict lacks; true when there are others now for one of its issuers.
    pub(super) async fn fetch_lacking(&self, verdict: &TokenVerdict<'_>) -> bool {
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

    pub(super) fn reject_token(&self, verdict: &TokenVerdict<'_>, tally: Tally) -> Rejection {
        let reason = verdict.refusal.reason;
        let issuer = verdict.by.map_or("none", |(issuer, _)| issuer.plan.id.as_str());
        if tally.is_request() {
            let tokens = &self.boards.metrics.tokens;
            tokens.with_label_values(&[issuer, reason.code()]).inc();
        }
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
pub(super) fn bearer(headers: &HeaderMap) -> Bearer<'_> {
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
