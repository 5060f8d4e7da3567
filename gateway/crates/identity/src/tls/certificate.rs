//! Certificates of ours: chain and key belong together, and which names they cover.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::fault::IdentityFault;
use crate::mtls::PeerIdentity;
use crate::plan::CertifiedKeyPlan;

/// The one provider of cryptography: aws-lc-rs, which prefers X25519MLKEM768.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A chain and its key, ready to sign.
///
/// # Errors
/// When the chain is empty, the key is unusable, or it belongs to another certificate.
pub(crate) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, IdentityFault> {
    if chain.is_empty() {
        return Err(IdentityFault::EmptyChain);
    }
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(IdentityFault::KeyMismatch),
        Err(error) => Err(IdentityFault::PrivateKey(error)),
    }
}

/// A certificate of ours from files, and the names it covers.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) not_after: SystemTime,
    pub(crate) names: Names,
}

/// The names that a certificate is shown for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Whole names, lower case.
    whole: Vec<String>,
    /// What follows the `*.` of a wildcard, lower case.
    wildcards: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl OwnCertificate {
    /// Reads chain and key.
    ///
    /// # Errors
    /// As [`certified_key`].
    pub(crate) fn read(plan: &CertifiedKeyPlan) -> Result<Self, IdentityFault> {
        let key = PrivateKeyDer::from_pem_slice(plan.key_pem.expose().as_bytes()).map_err(|_| {
            IdentityFault::PrivateKey(Error::General("the file holds no private key in PEM".to_owned()))
        })?;
        let certified = certified_key(plan.chain.clone(), key)?;
        let leaf = plan.chain.first().ok_or(IdentityFault::EmptyChain)?;
        let mut names = Names::default();
        if let Ok(certificate) = EndEntityCert::try_from(leaf) {
            names = Names::of(certificate.valid_dns_names());
        }
        names.addresses = addresses(leaf);
        let not_after = PeerIdentity::from_chain(&plan.chain).not_after;
        Ok(Self {
            certified,
            not_after,
            names,
        })
    }
}

impl Names {
    /// DNS names, some of which may be wildcards.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut read = Self::default();
        for name in names {
            let name = name.to_ascii_lowercase();
            match name.strip_prefix("*.") {
                Some(parent) => read.wildcards.push(parent.to_owned()),
                None => read.whole.push(name),
            }
        }
        read
    }

    /// The first one, for metrics.
    pub(crate) fn first(&self) -> &str {
        self.whole
            .first()
            .or(self.wildcards.first())
            .map_or("unnamed", String::as_str)
    }

    /// True when no DNS name is among them, so that SNI can never choose by them.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.wildcards.is_empty()
    }

    /// True when a whole name equals this one (lower case).
    pub(crate) fn has(&self, name: &str) -> bool {
        self.whole.iter().any(|ours| ours == name)
    }

    /// True when a wildcard covers this name: exactly one label stands for the star (RFC 6125).
    pub(crate) fn cover_by_wildcard(&self, name: &str) -> bool {
        name.split_once('.').is_some_and(|(label, parent)| {
            !label.is_empty() && self.wildcards.iter().any(|ours| ours == parent)
        })
    }

    /// True when a client that asked for this host would accept it.
    pub(crate) fn cover(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.has(host) || self.cover_by_wildcard(host),
        }
    }
}

fn addresses(leaf: &CertificateDer<'_>) -> Vec<IpAddr> {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let address = |name: &GeneralName<'_>| match name {
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok(),
        _ => None,
    };
    names.value.general_names.iter().filter_map(address).collect()
}
