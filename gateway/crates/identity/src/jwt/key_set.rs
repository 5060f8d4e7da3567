//! A JWK set: only public keys that fit an algorithm we know, everything else skipped and counted.

use serde_json::Value;

use super::strict_json;
use super::verify_key::VerifyKey;
use crate::plan::Algorithm;

/// Largest document; real ones are a few KiB.
pub(crate) const MAX_DOCUMENT: usize = 256 * 1024;
/// Most keys of a set.
const MAX_KEYS: usize = 256;

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

impl KeySet {
    /// The set of an issuer whose keys were withdrawn.
    pub(crate) const fn empty() -> Self {
        Self {
            keys: Vec::new(),
            skipped: 0,
        }
    }

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
            .filter(move |key| key.answers_to(id) && key.may_be_used_with(algorithm))
    }
}

#[cfg(test)]
#[path = "key_set_tests.rs"]
mod tests;
