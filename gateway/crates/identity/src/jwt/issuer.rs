//! One issuer: which tokens of it we believe.

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Identity, Principal, Proof, Reason, Subject};
use prometheus::IntCounter;
use sha2::{Digest, Sha256};

use super::cache::{TokenKey, Verified};
use super::claims::{self, Claims};
use super::key_slot::{KeySlot, LoadedKeys};
use super::token::{Token, TokenRefusal};
use crate::metrics::Metrics;
use crate::plan::{Algorithm, ClaimPath, IssuerPlan, KeySource};

/// Most signatures checked for one token that names no key, or a key id that several keys share.
const MAX_TRIES: usize = 8;

/// A compiled issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) plan: IssuerPlan,
    pub(crate) keys: Arc<KeySlot>,
    /// Identifies everything that a verdict depends on beside the keys.
    fingerprint: [u8; 32],
    signature_checks: IntCounter,
    verified: IntCounter,
    cached: IntCounter,
}

impl Issuer {
    /// An issuer whose keys live in a slot of the key board.
    pub(crate) fn new(plan: IssuerPlan, keys: Arc<KeySlot>, metrics: &Metrics) -> Self {
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

    /// Judges a remembered token again: only the clock can have changed.
    pub(crate) fn recall(&self, verified: &Verified, now: SystemTime) -> Result<Principal, TokenRefusal> {
        claims::check_time(verified.not_before, verified.not_after, now)?;
        self.cached.inc();
        Ok(verified.principal.clone())
    }

    /// Judges a token that names this issuer.
    ///
    /// The algorithm is one of this issuer's list and of the key's own; the token never chooses.
    pub(crate) fn verify(
        &self,
        token: &Token<'_>,
        keys: &LoadedKeys,
        now: SystemTime,
    ) -> Result<Verified, TokenRefusal> {
        let algorithm = self.accepted_algorithm(&token.algorithm)?;
        let id = token.key_id.as_deref();
        if !keys.set.knows(id) {
            return Err(TokenRefusal::new(
                Reason::TokenKeyUnknown,
                "no key of the issuer has this kid",
            ));
        }
        let mut fitting = keys.set.fitting(id, algorithm).take(MAX_TRIES).peekable();
        if fitting.peek().is_none() {
            return Err(TokenRefusal::new(
                Reason::TokenAlgorithm,
                "the key may not be used with this alg",
            ));
        }
        let is_signed = fitting.any(|key| {
            self.signature_checks.inc();
            key.verifies(algorithm, token.message, &token.signature)
        });
        if !is_signed {
            return Err(TokenRefusal::new(
                Reason::TokenSignature,
                "no key verifies the signature",
            ));
        }

        if token.unverified_issuer()? != self.plan.issuer.as_ref() {
            return Err(TokenRefusal::new(
                Reason::TokenIssuerUnknown,
                "iss is another issuer",
            ));
        }
        let claims = Claims::check(&token.claims, &self.plan, now)?;
        let weight = token.message.len();
        let attributes = claims::attributes(token.claims.clone(), &self.plan.claims)?;
        self.verified.inc();
        Ok(Verified {
            principal: Principal {
                identity: Identity::User(Subject {
                    issuer: self.plan.id.clone(),
                    issuer_url: Arc::clone(&self.plan.issuer),
                    subject: claims.subject,
                }),
                proof: Proof::Jwt,
                attributes: Arc::new(attributes),
                expires_at: Some(claims.not_after),
            },
            not_before: claims.not_before,
            not_after: claims.not_after,
            weight,
        })
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

/// A digest of the issuer's configuration, so that no verdict outlives a change of it.
fn fingerprint(plan: &IssuerPlan) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut add = |part: &str| {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    };
    add(plan.id.as_str());
    add(&plan.issuer);
    match &plan.keys {
        KeySource::Document(text) => add(text),
        KeySource::Url(url) => add(url),
        KeySource::Discovery => add(""),
    }
    add(&plan.clock_skew.as_nanos().to_string());
    add(&plan.audiences.len().to_string());
    plan.audiences.iter().for_each(|audience| add(audience));
    add(&plan.algorithms.len().to_string());
    plan.algorithms
        .iter()
        .for_each(|algorithm| add(algorithm.as_str()));
    let paths: [&Option<ClaimPath>; 4] = [
        &plan.claims.tenant,
        &plan.claims.roles,
        &plan.claims.region,
        &plan.claims.scopes,
    ];
    for path in paths {
        add(&path
            .as_ref()
            .map_or_else(|| "none".to_owned(), |steps| steps.len().to_string()));
        path.iter().flatten().for_each(|step| add(step));
    }
    digest.finalize().into()
}
