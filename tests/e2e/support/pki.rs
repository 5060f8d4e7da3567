//! Throw-away certificates, keys and tokens, made anew for every test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

/// A certificate authority.
pub struct Authority {
    pub issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    pub der: CertificateDer<'static>,
}

/// A leaf with its key.
#[derive(Clone)]
pub struct Leaf {
    pub chain_pem: String,
    pub key_pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A leaf for DNS names and addresses, and perhaps one SPIFFE ID.
    pub fn leaf(&self, names: &[&str], spiffe_id: Option<&str>) -> Leaf {
        let mut sans: Vec<SanType> = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        sans.extend(spiffe_id.map(|id| SanType::URI(id.try_into().unwrap())));
        self.leaf_with(sans)
    }

    /// A leaf with exactly these alternative names.
    pub fn leaf_with(&self, sans: Vec<SanType>) -> Leaf {
        self.leaf_shaped(sans, |_| ())
    }

    /// A leaf with exactly these alternative names, and whatever else is different about it.
    pub fn leaf_shaped(&self, sans: Vec<SanType>, shape: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named("leaf");
        params.subject_alt_names = sans;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        shape(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// An authority that this one signed, after `shape` had its way with it.
    pub fn authority(&self, name: &str, shape: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        shape(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A client's trust in this authority alone.
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        Arc::new(roots)
    }
}

impl Leaf {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain_pem.as_bytes())
            .map(Result::unwrap)
            .collect()
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap()
    }

    /// The same leaf with another certificate behind it.
    pub fn followed_by(mut self, authority: &Authority) -> Self {
        self.chain_pem.push_str(&authority.pem);
        self
    }

    /// Writes `NAME.pem` and `NAME.key` into a folder, each replaced in one step.
    pub fn write(&self, folder: &Path, name: &str) {
        write(&folder.join(format!("{name}.key")), &self.key_pem);
        write(&folder.join(format!("{name}.pem")), &self.chain_pem);
    }
}

/// Replaces a file in one step, as deployment tools do.
pub fn write(path: &Path, text: &str) {
    let aside = PathBuf::from(format!("{}.new", path.display()));
    fs::write(&aside, text).unwrap();
    fs::rename(&aside, path).unwrap();
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// An issuer of ES256 tokens.
pub struct TokenIssuer {
    pub url: String,
    key: KeyPair,
    kid: String,
}

impl TokenIssuer {
    pub fn new(url: &str, kid: &str) -> Self {
        Self {
            url: url.to_owned(),
            key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            kid: kid.to_owned(),
        }
    }

    /// Its key set.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    pub fn jwk(&self) -> Value {
        let point = self.key.der_bytes();
        let (x, y) = (&point[1..33], &point[33..65]);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
                "x": base64url(x), "y": base64url(y) })
    }

    /// The public key as PEM, as anybody may have it.
    pub fn public_pem(&self) -> String {
        self.key.public_key_pem()
    }

    /// A token for `sub` with audience `api`, valid for an hour, and more claims.
    pub fn token(&self, sub: &str, more: Value) -> String {
        let now = seconds(SystemTime::now());
        let mut claims = json!({ "iss": self.url, "sub": sub, "aud": "api", "iat": now, "exp": now + 3600 });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        self.sign(&claims)
    }

    /// Signs any claims.
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        self.sign_under(&header, claims)
    }

    /// Signs any claims under any header.
    pub fn sign_under(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }
}

/// Seconds since the epoch.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0u32, |word, byte| (word << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * index)) as usize & 63]));
        }
    }
    text
}
