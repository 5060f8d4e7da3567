//! Whom an endpoint must prove to be: one SPIFFE ID, or one name.

use std::fmt;
use std::sync::Arc;

use portcullis_model::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use super::certificate::provider;
use super::client_verifier::{certificate_error, revocation_error, system_time};
use crate::deny::DenyList;
use crate::mtls::{Anchors, ChainFault, PeerIdentity, Revocation, Usage};

/// The endpoint's chain is trusted, and it is somebody else.
#[derive(thiserror::Error)]
#[error("the endpoint is {found}, not {expected}")]
pub(crate) struct IdentityMismatch {
    expected: SpiffeId,
    found: String,
}

/// As for people: rustls shows what it was handed in this form, and a probe's verdict is read on the admin port.
impl fmt::Debug for IdentityMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is expected of a certificate beside its chain.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Exactly this workload; DNS names mean nothing.
    Workload(SpiffeId),
    /// This name, whatever rustls was told to connect to.
    Name(ServerName<'static>),
    /// The name that rustls was told to connect to.
    OwnName,
}

/// Verifies an endpoint's certificate.
pub(crate) struct EndpointVerifier {
    anchors: Arc<Anchors>,
    revocation: Option<Arc<Revocation>>,
    denied: Arc<DenyList>,
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
}

impl EndpointVerifier {
    pub(crate) fn new(
        anchors: Arc<Anchors>,
        revocation: Option<Arc<Revocation>>,
        denied: Arc<DenyList>,
        expected: Expected,
    ) -> Self {
        Self {
            anchors,
            revocation,
            denied,
            expected,
            algorithms: provider().signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let revocation = self.revocation.as_deref();
        self.anchors
            .verify(
                end_entity,
                intermediates,
                Usage::Server,
                revocation,
                system_time(now),
            )
            .map_err(|fault| match fault {
                ChainFault::Path(error) => certificate_error(error),
                ChainFault::Revocation(fault) => revocation_error(&fault),
            })?;
        match &self.expected {
            Expected::Workload(expected) => verify_workload(end_entity, expected)?,
            Expected::Name(name) => verify_name(end_entity, name)?,
            Expected::OwnName => verify_name(end_entity, server_name)?,
        }
        if self.denied.is_in_use() {
            let peer = PeerIdentity::from_chain(std::slice::from_ref(end_entity));
            if self.denied.denies_endpoint(&peer, system_time(now)).is_some() {
                return Err(CertificateError::Revoked.into());
            }
        }
        Ok(ServerCertVerified::assertion())
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

impl fmt::Debug for EndpointVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointVerifier")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// True when the chain was good and the identity another one.
pub(crate) fn is_identity_mismatch(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::NotValidForName) => true,
        Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.is::<IdentityMismatch>()
        }
        _ => false,
    }
}

fn verify_workload(leaf: &CertificateDer<'_>, expected: &SpiffeId) -> Result<(), CertificateError> {
    let found = match PeerIdentity::from_chain(std::slice::from_ref(leaf)).spiffe_id {
        Ok(id) if id == *expected => return Ok(()),
        Ok(id) => id.to_string(),
        Err(fault) => format!("no workload ({fault})"),
    };
    Err(CertificateError::Other(OtherError(Arc::new(IdentityMismatch {
        expected: expected.clone(),
        found,
    }))))
}

fn verify_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), CertificateError> {
    EndEntityCert::try_from(leaf)
        .and_then(|certificate| certificate.verify_is_valid_for_subject_name(name))
        .map_err(certificate_error)
}
