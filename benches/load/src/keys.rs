//! Certificates and tokens of one run: made when it starts, gone when it ends.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _, SanType};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::Result;

pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const AUDIENCE: &str = "api";
/// The role that the full chain asks for, on either side.
pub(crate) const ROLE: &str = "editor";

/// How a token is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The file with its public key, as `Keys::write` leaves it.
    pub(crate) fn public_file(self) -> &'static str {
        match self {
            Self::Rs256 => "rs256.pub.pem",
            Self::Es256 => "es256.pub.pem",
        }
    }
}

/// A token that differs from a good one in one respect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flaw {
    None,
    /// The signature is another token's.
    BadSignature,
    Expired,
    /// `alg: none`, no signature.
    Unsigned,
    OtherIssuer,
    OtherAudience,
    /// Good, but not of somebody who may.
    WrongRole,
}

/// Everything that signs.
pub(crate) struct Keys {
    pub authority: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
    ecdsa_public_pem: String,
}

impl Keys {
    /// A P-256 authority with a server certificate for loopback, an RSA-2048 and a P-256 key for tokens.
    pub(crate) fn make() -> Result<Self> {
        let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
        let authority_key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).map_err(failed)?;
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(["localhost".to_owned()]).map_err(failed)?;
        params
            .subject_alt_names
            .push(SanType::IpAddress([127, 0, 0, 1].into()));
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        let token_key = KeyPair::generate().map_err(failed)?;
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &token_key.serialize_der())
            .map_err(|error| format!("cannot use a P-256 key: {error}"))?;
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| "cannot make an RSA key")?;
        Ok(Self {
            authority: authority.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            rsa,
            ecdsa,
            ecdsa_public_pem: pem(&token_key.subject_public_key_info()),
        })
    }

    /// Writes what proxies read: `server.pem`, `server.key`, `both.pem`, `jwks.json`, the tokens' public keys.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let files = [
            ("server.pem", self.certificate_pem.clone()),
            ("server.key", self.key_pem.clone()),
            ("both.pem", format!("{}{}", self.certificate_pem, self.key_pem)),
            ("jwks.json", self.jwks().to_string()),
            (Algorithm::Es256.public_file(), self.ecdsa_public_pem.clone()),
            (Algorithm::Rs256.public_file(), pem(&rsa_public(&self.rsa)?)),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text).map_err(|error| format!("cannot write {name}: {error}"))?;
        }
        Ok(())
    }

    /// The public keys as a key set.
    pub(crate) fn jwks(&self) -> Value {
        let point = self.ecdsa.public_key().as_ref();
        let rsa = self.rsa.public_key();
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "ES256",
              "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]) },
            { "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "RS256",
              "n": URL_SAFE_NO_PAD.encode(rsa.modulus().big_endian_without_leading_zero()),
              "e": URL_SAFE_NO_PAD.encode(rsa.exponent().big_endian_without_leading_zero()) },
        ]})
    }

    /// The token of one of many users, good or with one flaw.
    pub(crate) fn token(&self, algorithm: Algorithm, user: usize, flaw: Flaw) -> Result<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let expires = if flaw == Flaw::Expired {
            now - 3_600
        } else {
            now + 36_000
        };
        let issuer = if flaw == Flaw::OtherIssuer {
            "https://elsewhere.example"
        } else {
            ISSUER
        };
        let audience = if flaw == Flaw::OtherAudience {
            "another"
        } else {
            AUDIENCE
        };
        let role = if flaw == Flaw::WrongRole { "visitor" } else { ROLE };
        let name = if flaw == Flaw::Unsigned {
            "none"
        } else {
            algorithm.name()
        };
        // `role` says again what `roles` says, because HAProxy 2.6 cannot look into a list.
        let claims = json!({ "iss": issuer, "sub": format!("user-{user:04}"), "aud": audience,
            "iat": now - 7_200, "exp": expires, "scope": "appointments:read appointments:write",
            "roles": [role], "role": role, "tenant": "acme", "region": "EU" });
        let header = json!({ "alg": name, "typ": "JWT", "kid": algorithm.name() });
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = match flaw {
            Flaw::Unsigned => Vec::new(),
            Flaw::BadSignature => self.sign(algorithm, format!("{signed}x").as_bytes())?,
            _ => self.sign(algorithm, signed.as_bytes())?,
        };
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, algorithm: Algorithm, text: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::Es256 => self
                .ecdsa
                .sign(&random, text)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| "cannot sign with ES256".to_owned()),
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                    .map_err(|_| "cannot sign with RS256".to_owned())?;
                Ok(signature)
            }
        }
    }

    /// As many good tokens of as many users, ready for a field.
    pub(crate) fn bearers(&self, algorithm: Algorithm, count: usize) -> Result<Arc<Vec<String>>> {
        let tokens: Result<Vec<_>> = (0..count)
            .map(|user| Ok(format!("Bearer {}", self.token(algorithm, user, Flaw::None)?)))
            .collect();
        Ok(Arc::new(tokens?))
    }
}

fn rsa_public(pair: &RsaKeyPair) -> Result<Vec<u8>> {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    let der: PublicKeyX509Der<'_> = pair
        .public_key()
        .as_der()
        .map_err(|_| "cannot encode an RSA key")?;
    Ok(der.as_ref().to_vec())
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines.push_str("-----END PUBLIC KEY-----\n");
    lines
}
