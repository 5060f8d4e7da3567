//! A JWK set: only public keys that fit an algorithm we know, everything else skipped and counted.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde_json::{Map, Value};

use super::{strict_json, weak_rsa};
use crate::plan::Algorithm;

/// Largest document; real ones are a few KiB.
pub(crate) const MAX_DOCUMENT: usize = 256 * 1024;
/// Most keys of a set.
const MAX_KEYS: usize = 256;
/// RSA sizes in bits: below is breakable (RFC 7518 section 3.3), above is a way to burn our time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What is wrong with a JWK set as a whole.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeySetFault {
    /// Over the bound of 256 KiB.
    #[error("the key set is larger than 256 KiB")]
    TooLarge,
    /// Not strict JSON.
    #[error("the key set is not JSON without duplicate members: {0}")]
    NotJson(String),
    /// There is no `keys` array of objects.
    #[error("the key set has no \"keys\" array of objects")]
    NoKeys,
    /// Over the bound of 256 keys.
    #[error("the key set has more than 256 keys")]
    TooManyKeys,
}

/// What the keys of a document are for: it decides which `use` they may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyPurpose {
    /// Tokens of an OAuth or OpenID Connect issuer: `sig`, or none (RFC 7517 section 4.2).
    Tokens,
    /// JWT-SVIDs: also `jwt-svid`, which a SPIFFE bundle sets, and never `x509-svid`.
    JwtSvids,
}

/// The keys of one document.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<VerifyKey>,
    /// Keys that we do not use: of another type, use or size.
    pub(crate) skipped: usize,
}

/// A public key and the only algorithms it may be used with.
pub(crate) struct VerifyKey {
    id: Option<Arc<str>>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a document.
    pub(crate) fn parse(document: &[u8], purpose: KeyPurpose) -> Result<Self, KeySetFault> {
        if document.len() > MAX_DOCUMENT {
            return Err(KeySetFault::TooLarge);
        }
        let set =
            strict_json::parse_object(document).map_err(|error| KeySetFault::NotJson(error.to_string()))?;
        let Some(Value::Array(entries)) = set.get("keys") else {
            return Err(KeySetFault::NoKeys);
        };
        if entries.len() > MAX_KEYS {
            return Err(KeySetFault::TooManyKeys);
        }
        let mut keys = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let Value::Object(members) = entry else {
                return Err(KeySetFault::NoKeys);
            };
            // A key that stands there twice must not use up the tries of one that stands there once.
            if entries.iter().take(index).all(|earlier| earlier != entry) {
                keys.extend(VerifyKey::read(members, purpose));
            }
        }
        let skipped = entries.len() - keys.len();
        Ok(Self { keys, skipped })
    }

    /// How many keys are usable.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when some key answers to the id; without one, every key does.
    pub(crate) fn knows(&self, id: Option<&str>) -> bool {
        self.keys.iter().any(|key| key.answers_to(id))
    }

    /// The keys that answer to the id and may be used with the algorithm.
    pub(crate) fn fitting<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a VerifyKey> {
        self.keys
            .iter()
            .filter(move |key| key.answers_to(id) && key.algorithms.contains(&algorithm))
    }
}

impl VerifyKey {
    /// Checks a signature with an algorithm that the key is bound to.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &str, signature: &Vec<u8>) -> bool {
        // The provider is named rather than looked up: a process-wide default could be another one.
        let Ok(verifier) = (DEFAULT_PROVIDER.verifier_factory)(&signing_algorithm(algorithm), &self.key)
        else {
            return false;
        };
        verifier.verify(message.as_bytes(), signature).is_ok()
    }

    /// Its `kid`.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn answers_to(&self, id: Option<&str>) -> bool {
        id.is_none() || self.id.as_deref() == id
    }

    /// The key of a JWK, or nothing when we may not use it to verify tokens.
    ///
    /// Certificates beside the key (`x5c`, `x5u`, `x5t`) are not looked at: the issuer's address vouches for it.
    fn read(members: &Map<String, Value>, purpose: KeyPurpose) -> Option<Self> {
        let id = match members.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(Arc::from(id.as_str())),
            Some(_) => return None,
        };
        // A published private key is everybody's key.
        let is_private = PRIVATE.iter().any(|name| members.contains_key(*name));
        if is_private || !purpose.allows(members) || !may_verify(members) {
            return None;
        }

        let (family, key) = match members.get("kty")?.as_str()? {
            "RSA" => (&RSA[..], rsa_key(members)?),
            "EC" => ec_key(members)?,
            "OKP" if members.get("crv")? == "Ed25519" => (&[Algorithm::EdDSA][..], ed25519_key(members)?),
            _ => return None,
        };
        let algorithms = match members.get("alg") {
            None => family.to_vec(),
            Some(Value::String(alg)) => family.iter().copied().filter(|fit| fit.as_str() == alg).collect(),
            Some(_) => return None,
        };
        if algorithms.is_empty() {
            return None;
        }
        Some(Self { id, algorithms, key })
    }
}

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyKey")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish()
    }
}

impl KeyPurpose {
    fn allows(self, members: &Map<String, Value>) -> bool {
        match members.get("use") {
            None => true,
            Some(value) => value == "sig" || (self == Self::JwtSvids && value == "jwt-svid"),
        }
    }
}

/// Whether `key_ops` lets the key verify (RFC 7517 section 4.3): names, none of them twice, `verify` among them.
fn may_verify(members: &Map<String, Value>) -> bool {
    let operations = match members.get("key_ops") {
        None => return true,
        Some(Value::Array(operations)) => operations,
        Some(_) => return false,
    };
    let is_proper = |(index, operation): (usize, &Value)| {
        operation.is_string() && operations.iter().take(index).all(|earlier| earlier != operation)
    };
    operations.len() <= MAX_OPERATIONS
        && operations.iter().enumerate().all(is_proper)
        && operations.iter().any(|operation| operation == "verify")
}

/// The members of a private or secret key (RFC 7518 sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Eight operations are registered.
const MAX_OPERATIONS: usize = 16;

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

fn bytes(members: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(members.get(name)?.as_str()?).ok()
}

fn rsa_key(members: &Map<String, Value>) -> Option<DecodingKey> {
    let without_zeros = |bytes: Vec<u8>| {
        bytes
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect::<Vec<_>>()
    };
    let modulus = without_zeros(bytes(members, "n")?);
    let exponent = without_zeros(bytes(members, "e")?);
    let bits = (modulus.len() * 8).checked_sub(modulus.first()?.leading_zeros() as usize)?;
    let is_odd = exponent.last()? % 2 == 1;
    let is_one = exponent == [1];
    let is_bad_exponent = !is_odd || is_one || exponent.len() > 4;
    if !RSA_BITS.contains(&bits) || is_bad_exponent || weak_rsa::is_factorable(&modulus) {
        return None;
    }
    Some(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn ec_key(members: &Map<String, Value>) -> Option<(&'static [Algorithm], DecodingKey)> {
    let (algorithms, size): (&'static [Algorithm], usize) = match members.get("crv")?.as_str()? {
        "P-256" => (&[Algorithm::ES256], 32),
        "P-384" => (&[Algorithm::ES384], 48),
        _ => return None,
    };
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    if x.len() != size || y.len() != size {
        return None;
    }
    // The uncompressed point of SEC 1 section 2.3.3.
    let point = [&[4][..], &x, &y].concat();
    Some((algorithms, DecodingKey::from_ec_der(&point)))
}

fn ed25519_key(members: &Map<String, Value>) -> Option<DecodingKey> {
    let x = bytes(members, "x")?;
    (x.len() == 32).then(|| DecodingKey::from_ed_der(&x))
}

const fn signing_algorithm(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

#[cfg(test)]
#[path = "key_set_tests.rs"]
mod tests;
