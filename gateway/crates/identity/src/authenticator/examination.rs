//! A token judged for its operator, by the functions that judge it in traffic.

use std::time::SystemTime;

use portcullis_model::{Principal, Reason};

use super::{Authenticator, Schemes};
use crate::jwt::{CheckName, CheckOutcome, Examiner, Token, TokenExamination, TokenRefusal, Verified, Watch};

/// What every token must be before anything in it is looked at.
const FORM: &str = "a compact JWS of at most 16 KiB: three parts in base64url without padding, header and claims strict JSON objects, a known form of `alg`, `kid` and `typ`, no `crit`";

impl Authenticator {
    /// Judges a token check by check, and goes on after one that fails. Neither fetches keys nor remembers
    /// anything.
    ///
    /// Of several issuers the one is asked that the token names; of those the one that accepts it or that fails it
    /// least; should it name none, each of them.
    #[must_use]
    pub fn examine(&self, text: &str, now: SystemTime) -> TokenExamination {
        self.schemes.examine(text, now)
    }
}

impl Schemes {
    fn examine(&self, text: &str, now: SystemTime) -> TokenExamination {
        let mut form = Examiner::default();
        let parsed = form.saw(
            CheckName::Form,
            Token::parse(text),
            || FORM.to_owned(),
            || format!("{} bytes", text.len()),
        );
        let Ok(Some(token)) = parsed else {
            return TokenExamination {
                issuer: None,
                by: None,
                checks: form.checks,
                verdict: Err(Reason::TokenMalformed),
            };
        };
        let mut named: Vec<_> = self.issuers_of(&token).collect();
        if named.is_empty() {
            named = self
                .issuers
                .iter()
                .map(|(issuer, origin)| (&**issuer, origin))
                .collect();
        }
        let examinations = named.into_iter().map(|(issuer, origin)| {
            let mut examiner = form.clone();
            let keys = issuer.keys.usable(self.boards.clock.instant());
            examiner.keys_are_elsewhere = issuer.keys.are_elsewhere();
            let verdict = match issuer.verify(&token, keys.as_deref(), now, &mut examiner) {
                Ok(verified) => self.examine_standing(&verified, now, &mut examiner),
                Err(refusal) => {
                    examiner.skipped(CheckName::DenyList);
                    Err(refusal.reason)
                }
            };
            TokenExamination {
                issuer: Some(issuer.plan.id.clone()),
                by: Some(origin.clone()),
                checks: examiner.checks,
                verdict,
            }
        });
        examinations
            .min_by_key(|examination| {
                let failed = examination.checks.iter();
                failed
                    .filter(|check| check.outcome != CheckOutcome::Passed)
                    .count()
            })
            .unwrap_or(TokenExamination {
                issuer: None,
                by: None,
                checks: form.checks,
                verdict: Err(Reason::TokenIssuerUnknown),
            })
    }

    /// Whether the deny list names a token that is right otherwise.
    fn examine_standing(
        &self,
        verified: &Verified,
        now: SystemTime,
        examiner: &mut Examiner,
    ) -> Result<Principal, Reason> {
        let answer = match self.boards.denied.denies_token(&verified.names, now) {
            Some(entry) => Err(TokenRefusal::new(Reason::TokenRevoked, entry.to_string())),
            None => Ok(()),
        };
        let is_denied = answer.is_err();
        let expected = || "no entry of the deny list names its jti, sub, sid or SPIFFE ID".to_owned();
        // An examiner goes on after every refusal.
        let _ = examiner.saw(CheckName::DenyList, answer, expected, String::new);
        if is_denied {
            return Err(Reason::TokenRevoked);
        }
        Ok(verified.principal.clone())
    }
}
