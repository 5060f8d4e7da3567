//! Certificates of ours: chain and key belong together, and which names they cover.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::fault::IdentityFault;

/// The one provider of cryptography: aws-lc-rs, which prefers X25519MLKEM768.
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
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
