//! `--claims`: claims taken as proven. They are signed with a throw-away key that stands in for the issuer's, so that
//! everything but the signature is judged by the code that judges real tokens.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{EncodingKey, Header};
use portcullis_identity::plan::{Algorithm, IssuerKind, IssuerPlan, KeySource};
use portcullis_model::SpiffeId;
use portcullis_pipeline::plan::GatewayPlan;
use rcgen::KeyPair;
use serde_json::{Map, Value};
use thiserror::Error;

const KEY_ID: &str = "assumed-by-explain";
/// Claims that say no expiry are good for as long as the explanation takes.
const VALIDITY: Duration = Duration::from_secs(300);

/// Why claims cannot stand for a token.
#[derive(Debug, Error)]
pub(super) enum ClaimsFault {
    #[error("the claims are not a JSON object")]
    NotAnObject,
    #[error("the claims name no issuer of this configuration in \"iss\" (there are {0})")]
    Issuer(String),
    #[error("cannot make a throw-away key")]
    Key(#[from] rcgen::Error),
    #[error("cannot sign the claims")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error("cannot write the key set")]
    Json(#[from] serde_json::Error),
}

/// A plan in which the issuer of `claims` has a throw-away key, and a token signed with it.
pub(super) fn assume(plan: &GatewayPlan, claims: &Value) -> Result<(GatewayPlan, String), ClaimsFault> {
    let claims = claims.as_object().ok_or(ClaimsFault::NotAnObject)?;
    let mut plan = plan.clone();
    let issuer = find_issuer(&mut plan, claims)?;
    let key = KeyPair::generate()?;
    let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes())?;
    let mut jwk = Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES256)?;
    jwk.common.key_id = Some(KEY_ID.to_owned());
    let token = sign(complete(claims, issuer), issuer, &key)?;
    issuer.keys = KeySource::Document(Arc::from(serde_json::to_string(&JwkSet { keys: vec![jwk] })?));
    if !issuer.algorithms.contains(&Algorithm::ES256) {
        issuer.algorithms.push(Algorithm::ES256);
    }
    Ok((plan, token))
}

/// By `iss`, or for JWT-SVIDs by the trust domain of `sub`; a configuration with one issuer needs neither.
fn find_issuer<'a>(
    plan: &'a mut GatewayPlan,
    claims: &Map<String, Value>,
) -> Result<&'a mut IssuerPlan, ClaimsFault> {
    let issuers = &mut plan.identity.issuers;
    let known: Vec<String> = issuers
        .iter()
        .map(|issuer| issuer.kind.name().to_string())
        .collect();
    let is_only_one = known.len() == 1;
    let said = |name: &str| claims.get(name).and_then(Value::as_str);
    let is_named = |issuer: &IssuerPlan| match (&issuer.kind, said("iss")) {
        (IssuerKind::Url(url), Some(iss)) => **url == *iss,
        (IssuerKind::Spiffe(domain), None) => {
            let id = said("sub").and_then(|sub| SpiffeId::new(sub).ok());
            id.map_or(is_only_one, |id| id.is_member_of(domain))
        }
        (IssuerKind::Url(_), None) => is_only_one,
        (IssuerKind::Spiffe(_), Some(_)) => false,
    };
    issuers
        .iter_mut()
        .find(|issuer| is_named(issuer))
        .ok_or_else(|| ClaimsFault::Issuer(known.join(", ")))
}

/// What every token has, where the claims leave it out; what they say stands, right or wrong.
fn complete(claims: &Map<String, Value>, issuer: &IssuerPlan) -> Map<String, Value> {
    let mut claims = claims.clone();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (iss, sub) = match &issuer.kind {
        IssuerKind::Url(url) => (Some(Value::from(&**url)), "somebody".to_owned()),
        IssuerKind::Spiffe(domain) => (None, format!("spiffe://{domain}/somebody")),
    };
    let audience = issuer.audiences.first().map(|audience| Value::from(&**audience));
    let defaults = [
        ("iss", iss),
        ("aud", audience),
        ("sub", Some(Value::from(sub))),
        ("iat", Some(Value::from(now))),
        (
            "exp",
            Some(Value::from(now + VALIDITY.min(issuer.max_lifetime).as_secs())),
        ),
    ];
    for (name, value) in defaults {
        if let Some(value) = value {
            claims.entry(name).or_insert(value);
        }
    }
    claims
}

fn sign(claims: Map<String, Value>, issuer: &IssuerPlan, key: &EncodingKey) -> Result<String, ClaimsFault> {
    let mut header = Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some(KEY_ID.to_owned());
    // A type that the issuer accepts: which one is no claim.
    header.typ = issuer.token_types.named.first().map(ToString::to_string);
    Ok(jsonwebtoken::encode(&header, &claims, key)?)
}
