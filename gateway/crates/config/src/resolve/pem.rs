//! Certificates and private keys in PEM.

use std::sync::Arc;

use portcullis_identity::plan::CertifiedKeyPlan;
use portcullis_model::{Origin, Redacted};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Resolver;
use crate::file::listeners::Certificate;
use crate::file::scalars::FilePath;
use crate::file::section::At;
use crate::sources::{Files, MAX_PEM, Secret};

/// What became of a certificate with its key.
pub(super) enum CertifiedKey {
    Is(CertifiedKeyPlan),
    /// Left out, because the check is offline and the key is not there.
    Missing,
    Broken,
}

impl Resolver<'_, '_> {
    /// The certificates of a PEM file; at least one.
    pub(super) fn certificates(
        &mut self,
        path: &At<FilePath>,
        what: &str,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let name = Files::name_beside(&path.origin, &path.value.0);
        let bytes = self
            .files
            .bytes(&name, (what, MAX_PEM), &path.origin, self.problems)?;
        self.parse_certificates(&bytes, &name, &path.origin, what)
    }

    fn parse_certificates(
        &mut self,
        pem: &[u8],
        name: &str,
        origin: &Origin,
        what: &str,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            match certificate {
                Ok(certificate) => certificates.push(certificate),
                Err(error) => {
                    self.error(
                        "bad-pem",
                        origin,
                        format!("{what} {name:?} is not valid PEM: {error}"),
                    );
                    return None;
                }
            }
        }
        if certificates.is_empty() {
            let hint = if PrivateKeyDer::from_pem_slice(pem).is_ok() {
                "it is a private key: are `chain` and `key` exchanged?"
            } else {
                "a PEM file has lines like `-----BEGIN CERTIFICATE-----`"
            };
            self.error_with_hint(
                "bad-pem",
                origin,
                format!("{what} {name:?} holds no certificate"),
                hint,
            );
            return None;
        }
        Some(certificates)
    }

    /// A certificate chain with its key.
    pub(super) fn certified_key(&mut self, certificate: &Certificate, origin: &Origin) -> CertifiedKey {
        let (Some(chain), Some(key)) = (certificate.chain.at(), certificate.key.at()) else {
            return CertifiedKey::Broken;
        };
        let secret = self
            .files
            .secret(&key.value.0, "private key", &key.origin, self.problems);
        if matches!(secret, Secret::Missing) {
            return CertifiedKey::Missing;
        }
        let chain = self.certificates(chain, "certificate chain");
        let Secret::Is(key_pem) = secret else {
            return CertifiedKey::Broken;
        };
        if let Err(error) = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()) {
            let message = match error {
                rustls_pki_types::pem::Error::NoItemsFound => "no private key in PEM is there".to_owned(),
                _ => "the private key is not valid PEM".to_owned(),
            };
            self.error_with_hint(
                "bad-pem",
                &key.origin,
                message,
                "PKCS#8, PKCS#1 and SEC1 are read; encrypted keys are not",
            );
            return CertifiedKey::Broken;
        }
        let Some(chain) = chain else {
            return CertifiedKey::Broken;
        };
        let key_pem = Redacted::new(Arc::from(key_pem));
        CertifiedKey::Is(CertifiedKeyPlan {
            origin: origin.clone(),
            chain,
            key_pem,
        })
    }
}
