//! One issuer: which tokens of it we believe.

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Identity, Origin, Principal, Proof, Reason};
use prometheus::IntCounter;
use sha2::{Digest, Sha256};

use super::cache::{TokenKey, Verified};
use super::claims::{self, Claims};
use super::examination::CheckName;
use super::issuer_keys::IssuerKeys;
use super::key_slot::LoadedKeys;
use super::shown;
use super::token::{Token, TokenRefusal};
use super::verify_key::VerifyKey;
#[cfg(test)]
use super::watch::Traffic;
use super::watch::Watch;
use crate::deny::TokenNames;
use crate::metrics::Metrics;
use crate::plan::{Algorithm, IssuerKind, IssuerPlan};

/// Most signatures checked for one token that names no key, or a key id that several keys share.
const MAX_TRIES: usize = 8;

/// A compiled issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) plan: IssuerPlan,
    pub(crate) keys: IssuerKeys,
    /// Identifies everything that a verdict depends on beside the keys.
    fingerprint: [u8; 32],
    signature_checks: IntCounter,
    verified: IntCounter,
    cached: IntCounter,
}

impl Issuer {
    /// An issuer and where its keys are found.
    pub(crate) fn new(plan: IssuerPlan, keys: IssuerKeys, metrics: &Metrics) -> Self {
        let id = plan.id.as_str().to_owned();
        Self {
            fingerprint: fingerprint(&plan),
            signature_checks: metrics.signature_checks.with_label_values(&[id.as_str()]),
            verified: metrics.tokens.with_label_values(&[id.as_str(), "verified"]),
            cached: metrics.tokens.with_label_values(&[id.as_str(), "cached"]),
            plan,
            keys,
        }
    }

    /// What a verdict on a token is remembered by.
    pub(crate) fn token_key(&self, token: [u8; 32], keys: &LoadedKeys) -> TokenKey {
        TokenKey {
            token,
            issuer: self.fingerprint,
            generation: keys.generation,
        }
    }

    /// Judges a remembered token again: of what the token itself says only the time can have changed.
    pub(crate) fn recall(&self, verified: &Verified, now: SystemTime) -> Result<(), TokenRefusal> {
        claims::check_time(verified.not_before, verified.not_after, now)
    }

    /// A remembered token was accepted.
    pub(crate) fn count_remembered(&self) {
        self.cached.inc();
    }

    /// A token that was verified just now was accepted.
    pub(crate) fn count_verified(&self) {
        self.verified.inc();
    }

    /// Whether the token names this issuer; nothing about it is proven yet.
    pub(crate) fn is_named_by(&self, token: &Token<'_>) -> Result<(), TokenRefusal> {
        let other = |check: &'static str| Err(TokenRefusal::new(Reason::TokenIssuerUnknown, check));
        match &self.plan.kind {
            IssuerKind::Url(issuer) if token.unverified_issuer()? == issuer.as_ref() => Ok(()),
            IssuerKind::Url(_) => other("iss is another issuer"),
            // A JWT-SVID need not say `iss`, and what it says there means nothing (JWT-SVID section 3).
            IssuerKind::Spiffe(domain) => match token.unverified_workload() {
                Some(id) if id.is_member_of(domain) => Ok(()),
                Some(_) => other("sub is of another trust domain"),
                None => other("sub is not the SPIFFE ID of a workload"),
            },
        }
    }

    /// Why the token does not name this issuer, and what would; `None` when it does.
    pub(crate) fn refuse_other(&self, token: &Token<'_>) -> Option<TokenRefusal> {
        let refusal = self.is_named_by(token).err()?;
        Some(refusal.with_expected(&shown::wanted_issuer(&self.plan.kind)))
    }

    /// Judges a token: that it names this issuer, its type, its signature, then what it says.
    ///
    /// Without keys the answer is that they are not available, unless something before that refuses already.
    pub(crate) fn verify<W: Watch>(
        &self,
        token: &Token<'_>,
        keys: Option<&LoadedKeys>,
        now: SystemTime,
        watch: &mut W,
    ) -> Result<Verified, TokenRefusal> {
        let named = watch.saw(
            CheckName::Issuer,
            self.is_named_by(token),
            || shown::wanted_issuer(&self.plan.kind),
            || shown::value(token.claims.get(self.naming_claim())),
        )?;
        let typed = watch.saw(
            CheckName::Type,
            self.check_type(token),
            || shown::wanted_types(&self.plan.token_types),
            || shown::text(token.typ.as_deref()),
        )?;
        let signed = self.verify_signature(token, keys, watch)?;
        let claims = Claims::check(&token.claims, &self.plan, now, watch)?;
        let proven = named.and(typed).and(signed).and(claims);
        let claims = watch.conclude(proven)?;
        let mut names = TokenNames::of(&self.plan.id, &token.claims);
        names.spiffe = match &claims.identity {
            Identity::Workload(id) => Some(id.clone()),
            Identity::Anonymous | Identity::User(_) => None,
        };
        Ok(Verified {
            principal: Principal {
                identity: claims.identity,
                proof: Proof::Jwt,
                attributes: Arc::new(claims.attributes),
                expires_at: Some(claims.not_after),
            },
            not_before: claims.not_before,
            not_after: claims.not_after,
            names,
            weight: token.message.len(),
        })
    }

    /// Whether one of the keys signed it, and nothing else.
    #[cfg(test)]
    pub(crate) fn check_signature(&self, token: &Token<'_>, keys: &LoadedKeys) -> Result<(), TokenRefusal> {
        self.verify_signature(token, Some(keys), &mut Traffic).map(|_| ())
    }

    /// Whether one of the keys signed it.
    ///
    /// The algorithm is one of this issuer's list and of the key's own; the token never chooses.
    fn verify_signature<W: Watch>(
        &self,
        token: &Token<'_>,
        keys: Option<&LoadedKeys>,
        watch: &mut W,
    ) -> Result<Option<()>, TokenRefusal> {
        let algorithm = watch.saw(
            CheckName::Algorithm,
            self.accepted_algorithm(&token.algorithm),
            || shown::wanted_algorithms(&self.plan.algorithms),
            || shown::text(Some(&token.algorithm)),
        )?;
        let keys = watch.saw(
            CheckName::Keys,
            keys.ok_or_else(|| {
                TokenRefusal::new(
                    Reason::KeysUnavailable,
                    "the issuer's keys are not loaded or stale",
                )
            }),
            || {
                let stale = shown::span(self.plan.key_times.stale);
                format!("the issuer's key set is there, and if it is fetched, not older than {stale}")
            },
            String::new,
        )?;
        let (Some(algorithm), Some(keys)) = (algorithm, keys) else {
            watch.skipped(CheckName::Key);
            watch.skipped(CheckName::Signature);
            return Ok(None);
        };
        let id = token.key_id.as_deref();
        let fitting = watch.saw(
            CheckName::Key,
            fitting_keys(keys, id, algorithm),
            || {
                let ids = shown::key_ids(&keys.set, algorithm);
                format!(
                    "kid is a key for {} in the issuer's key set: {ids}",
                    algorithm.as_str()
                )
            },
            || shown::text(id),
        )?;
        let Some(fitting) = fitting else {
            watch.skipped(CheckName::Signature);
            return Ok(None);
        };
        let is_signed = fitting.iter().any(|key| {
            self.signature_checks.inc();
            key.verifies(algorithm, token.message, &token.signature)
        });
        let answer = if is_signed {
            Ok(())
        } else {
            Err(TokenRefusal::new(
                Reason::TokenSignature,
                "no key verifies the signature",
            ))
        };
        watch.saw(
            CheckName::Signature,
            answer,
            || "a signature by that key over the header and claims as they are".to_owned(),
            String::new,
        )
    }

    /// RFC 8725 section 3.11: a token that was made for something else is no access token.
    fn check_type(&self, token: &Token<'_>) -> Result<(), TokenRefusal> {
        if self.plan.token_types.accepts(token.typ.as_deref()) {
            Ok(())
        } else {
            Err(TokenRefusal::new(
                Reason::TokenType,
                "typ is not one of the accepted types",
            ))
        }
    }

    const fn naming_claim(&self) -> &'static str {
        match self.plan.kind {
            IssuerKind::Url(_) => "iss",
            IssuerKind::Spiffe(_) => "sub",
        }
    }

    fn accepted_algorithm(&self, name: &str) -> Result<Algorithm, TokenRefusal> {
        self.plan
            .algorithms
            .iter()
            .copied()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| {
                TokenRefusal::new(
                    Reason::TokenAlgorithm,
                    "alg is not one of the issuer's algorithms",
                )
            })
    }
}

/// The keys that are tried: those of the id that may be used with the algorithm, so many and no more.
fn fitting_keys<'k>(
    keys: &'k LoadedKeys,
    id: Option<&'k str>,
    algorithm: Algorithm,
) -> Result<Vec<&'k VerifyKey>, TokenRefusal> {
    if !keys.set.knows(id) {
        return Err(TokenRefusal::new(
            Reason::TokenKeyUnknown,
            "no key of the issuer has this kid",
        ));
    }
    let fitting: Vec<_> = keys.set.fitting(id, algorithm).take(MAX_TRIES).collect();
    if fitting.is_empty() {
        return Err(TokenRefusal::new(
            Reason::TokenAlgorithm,
            "the key may not be used with this alg",
        ));
    }
    Ok(fitting)
}

/// A digest of everything that the configuration says of the issuer, so that no verdict outlives a change of it.
fn fingerprint(plan: &IssuerPlan) -> [u8; 32] {
    let unplaced = IssuerPlan {
        origin: Origin::default(),
        ..plan.clone()
    };
    // The derived form holds every field there is and quotes every text, so that no two plans have the same.
    Sha256::digest(format!("{unplaced:?}")).into()
}
