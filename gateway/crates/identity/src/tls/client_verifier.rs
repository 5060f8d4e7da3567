//! Which client certificates a listener lets through the handshake.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::certificate::provider;
use crate::mtls::{PeerIdentity, RevocationFault, Trust, TrustFault, first_to_accept};

/// Most anchor names that are sent as hints; a longer list says nothing to the client.
const MAX_HINTS: usize = 64;

/// Accepts what one of the named trusts accepts.
pub(crate) struct ClientVerifier {
    trusts: Vec<Arc<Trust>>,
    is_mandatory: bool,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// A verifier over the trusts; the hints are those of this moment.
    pub(crate) fn new(trusts: Vec<Arc<Trust>>, is_mandatory: bool) -> Self {
        let mut hints: Vec<_> = trusts
            .iter()
            .filter_map(|trust| trust.anchors())
            .flat_map(|anchors| anchors.subjects())
            .collect();
        if hints.len() > MAX_HINTS {
            hints.clear();
        }
        Self {
            trusts,
            is_mandatory,
            hints,
            algorithms: provider().signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let peer = PeerIdentity::from_chain(std::slice::from_ref(end_entity));
        let now = system_time(now);
        match first_to_accept(&self.trusts, |trust| trust.verify(&peer, intermediates, now)) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refused) => Err(refused
                .map_or(CertificateError::UnknownIssuer, |(_, fault)| {
                    in_rustls_words(fault)
                })
                .into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier")
            .field("trusts", &self.trusts)
            .field("is_mandatory", &self.is_mandatory)
            .finish_non_exhaustive()
    }
}

/// The moment of a handshake.
pub(crate) fn system_time(now: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(now.as_secs()))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Why a trust does not accept a chain, in rustls' words, from which it chooses the alert.
fn in_rustls_words(fault: TrustFault) -> CertificateError {
    match fault {
        TrustFault::Chain(fault) => certificate_error(fault),
        TrustFault::Revocation(fault) => revocation_error(&fault),
        TrustFault::Unreadable => CertificateError::BadEncoding,
        TrustFault::OtherDomain | TrustFault::NoBundle => CertificateError::UnknownIssuer,
    }
}

/// A refusal for revocation in rustls' words.
pub(crate) const fn revocation_error(fault: &RevocationFault) -> CertificateError {
    match fault {
        RevocationFault::Revoked { .. } => CertificateError::Revoked,
        RevocationFault::NoList { .. } | RevocationFault::Stale { .. } => {
            CertificateError::UnknownRevocationStatus
        }
    }
}

/// A failure of path building in rustls' words.
pub(crate) fn certificate_error(error: webpki::Error) -> CertificateError {
    match error {
        webpki::Error::BadDer | webpki::Error::BadDerTime | webpki::Error::TrailingData(_) => {
            CertificateError::BadEncoding
        }
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::CertExpired { .. } | webpki::Error::InvalidCertValidity => CertificateError::Expired,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::CertNotValidForName(_) => CertificateError::NotValidForName,
        webpki::Error::CertRevoked => CertificateError::Revoked,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}
