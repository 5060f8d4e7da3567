//! Keys that sign assertions: P-256 for ES256, Ed25519 for EdDSA, named by their thumbprint (RFC 7638).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The `typ` of an assertion: nothing that verifies other tokens takes one of ours for them (RFC 8725 section 3.11).
pub(crate) const TYPE: &str = "portcullis-identity+jwt";

/// Why a key cannot sign assertions.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyRefusal {
    /// No private key in PEM.
    #[error("there is no private key in PEM")]
    NotPem,
    /// A key of another type, curve or size, or one that is broken.
    #[error("it is neither a P-256 key nor an Ed25519 key")]
    Unsupported,
    /// The system gave no key.
    #[error("no key could be made")]
    NotMade,
    /// The system did not sign.
    #[error("the key did not sign")]
    NotSigned,
}

/// A private key with everything that is the same in all of its signatures.
pub(crate) struct SigningKey {
    pair: Pair,
    kid: Arc<str>,
    /// The header of every assertion, encoded, with its dot.
    header: String,
    public: Value,
    /// When the last assertion that it signed ends, in seconds since the epoch: until then it stays published.
    last_end: AtomicU64,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A new P-256 key; ES256 is what every library verifies.
    pub(crate) fn generate() -> Result<Self, KeyRefusal> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map(|pair| Self::new(Pair::P256(pair)))
            .map_err(|_| KeyRefusal::NotMade)
    }

    /// Reads a key: PKCS#8, or SEC1 for P-256.
    pub(crate) fn read(pem: &str) -> Result<Self, KeyRefusal> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyRefusal::NotPem)?;
        let der = match &key {
            PrivateKeyDer::Pkcs8(der) => der.secret_pkcs8_der(),
            PrivateKeyDer::Sec1(der) => der.secret_sec1_der(),
            _ => return Err(KeyRefusal::Unsupported),
        };
        if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Ok(Self::new(Pair::P256(pair)));
        }
        Ed25519KeyPair::from_pkcs8(der)
            .map(|pair| Self::new(Pair::Ed25519(pair)))
            .map_err(|_| KeyRefusal::Unsupported)
    }

    fn new(pair: Pair) -> Self {
        let (algorithm, members) = match &pair {
            Pair::P256(pair) => {
                // An uncompressed point: a mark, then both coordinates with 32 bytes each (SEC1 section 2.3.3).
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                ("ES256", json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y }))
            }
            Pair::Ed25519(pair) => {
                let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
                ("EdDSA", json!({ "crv": "Ed25519", "kty": "OKP", "x": x }))
            }
        };
        // Exactly the required members in the order of their names and without white space (RFC 7638 section 3), as
        // they are written above.
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(members.to_string()));
        let header = json!({ "alg": algorithm, "kid": kid, "typ": TYPE }).to_string();
        let mut public = members;
        if let Some(members) = public.as_object_mut() {
            members.insert("alg".to_owned(), json!(algorithm));
            members.insert("kid".to_owned(), json!(kid));
            members.insert("use".to_owned(), json!("sig"));
        }
        Self {
            pair,
            kid: kid.into(),
            header: format!("{}.", URL_SAFE_NO_PAD.encode(header)),
            public,
            last_end: AtomicU64::new(0),
        }
    }

    /// The thumbprint of the public key.
    pub(crate) fn kid(&self) -> &Arc<str> {
        &self.kid
    }

    /// The public key as a JWK (RFC 7517).
    pub(crate) const fn public(&self) -> &Value {
        &self.public
    }

    /// When the last assertion that it signed ends, in seconds since the epoch.
    pub(crate) fn last_end(&self) -> u64 {
        self.last_end.load(Ordering::Acquire)
    }

    /// Signs claims that end at this second: a JWS in compact form (RFC 7515 section 3.1).
    pub(crate) fn sign(&self, claims: &[u8], end: u64) -> Result<String, KeyRefusal> {
        self.last_end.fetch_max(end, Ordering::AcqRel);
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 96);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), token.as_bytes()),
            Pair::Ed25519(pair) => pair.try_sign(token.as_bytes()),
        };
        let signature = signature.map_err(|_| KeyRefusal::NotSigned)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}
