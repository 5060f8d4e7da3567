//! One public key of a key set, bound to the algorithms of its type.
//!
//! A key is tried when its set is read, so that a point off its curve, or an RSA key of impossible parts, is skipped and
//! counted instead of failing every signature.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde_json::{Map, Value};

use super::key_set::KeyPurpose;
use super::weak_rsa;
use crate::plan::Algorithm;

/// RSA sizes in bits: below is breakable (RFC 7518 section 3.3), above is a way to burn our time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The members of a private or secret key (RFC 7518 sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Eight operations are registered.
const MAX_OPERATIONS: usize = 16;

/// The algorithms that an RSA key may be used with.
pub(super) const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A public key and the only algorithms it may be used with.
pub(crate) struct VerifyKey {
    id: Option<Arc<str>>,
    /// The key as each of its algorithms takes it.
    uses: Vec<(Algorithm, DecodingKey)>,
}

impl VerifyKey {
    /// Checks a signature with an algorithm that the key is bound to.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &str, signature: &Vec<u8>) -> bool {
        let Some((_, key)) = self.uses.iter().find(|(bound, _)| *bound == algorithm) else {
            return false;
        };
        // The provider is named rather than looked up: a process-wide default could be another one.
        (DEFAULT_PROVIDER.verifier_factory)(&signing_algorithm(algorithm), key)
            .is_ok_and(|verifier| verifier.verify(message.as_bytes(), signature).is_ok())
    }

    /// Its `kid`.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// True when the key is the one that a token names; without a name, every key may be.
    pub(super) fn answers_to(&self, id: Option<&str>) -> bool {
        id.is_none() || self.id.as_deref() == id
    }

    pub(super) fn may_be_used_with(&self, algorithm: Algorithm) -> bool {
        self.uses.iter().any(|(bound, _)| *bound == algorithm)
    }

    /// The key of a JWK, or nothing when we may not use it to verify tokens.
    ///
    /// Certificates beside the key (`x5c`, `x5u`, `x5t`) are not looked at: the issuer's address vouches for it.
    pub(super) fn read(members: &Map<String, Value>, purpose: KeyPurpose) -> Option<Self> {
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

        let mut uses = match members.get("kty")?.as_str()? {
            "RSA" => rsa_key(members)?,
            "EC" => ec_key(members)?,
            "OKP" if members.get("crv")? == "Ed25519" => ed25519_key(members)?,
            _ => return None,
        };
        match members.get("alg") {
            None => {}
            Some(Value::String(alg)) => uses.retain(|(fit, _)| fit.as_str() == alg),
            Some(_) => return None,
        }
        if uses.is_empty() {
            return None;
        }
        Some(Self { id, uses })
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.uses.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("VerifyKey")
            .field("id", &self.id)
            .field("algorithms", &algorithms)
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

fn bytes(members: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(members.get(name)?.as_str()?).ok()
}

fn rsa_key(members: &Map<String, Value>) -> Option<Vec<(Algorithm, DecodingKey)>> {
    let without_zeros = |bytes: Vec<u8>| {
        bytes
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect::<Vec<_>>()
    };
    let modulus = without_zeros(bytes(members, "n")?);
    let exponent = without_zeros(bytes(members, "e")?);
    let bits = (modulus.len() * 8).checked_sub(modulus.first()?.leading_zeros() as usize)?;
    let is_odd = modulus.last()? % 2 == 1 && exponent.last()? % 2 == 1;
    let is_one = exponent == [1];
    let is_bad_exponent = is_one || exponent.len() > 4;
    if !RSA_BITS.contains(&bits) || !is_odd || is_bad_exponent || weak_rsa::is_factorable(&modulus) {
        return None;
    }
    let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    let components = RsaPublicKeyComponents {
        n: modulus,
        e: exponent,
    };
    let ready = |algorithm: &Algorithm| {
        components
            .to_parsed_public_key(rsa_parameters(*algorithm)?)
            .ok()?;
        Some((*algorithm, key.clone()))
    };
    RSA.iter().map(ready).collect()
}

const fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => None,
    }
}

/// A point that is not on its curve is no key: reading it fails (RFC 7518 section 6.2.1, CVE-2015-7940 and its like).
fn ec_key(members: &Map<String, Value>) -> Option<Vec<(Algorithm, DecodingKey)>> {
    let (algorithm, scheme, size) = match members.get("crv")?.as_str()? {
        "P-256" => (Algorithm::ES256, &ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED, 48),
        _ => return None,
    };
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    if x.len() != size || y.len() != size {
        return None;
    }
    // The uncompressed point of SEC 1 section 2.3.3.
    let point = [&[4][..], &x, &y].concat();
    ParsedPublicKey::new(scheme, &point).ok()?;
    Some(vec![(algorithm, DecodingKey::from_ec_der(&point))])
}

fn ed25519_key(members: &Map<String, Value>) -> Option<Vec<(Algorithm, DecodingKey)>> {
    let x = bytes(members, "x")?;
    if x.len() != 32 {
        return None;
    }
    ParsedPublicKey::new(&ED25519, &x).ok()?;
    Some(vec![(Algorithm::EdDSA, DecodingKey::from_ed_der(&x))])
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
