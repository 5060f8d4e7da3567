//! Trust anchors in the form that path building wants, and the one place where a chain is verified.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Longest chain that is looked at; longer ones only cost work.
const MAX_CHAIN: usize = 10;

/// A set of trust anchors.
#[derive(Clone, Default)]
pub(crate) struct Anchors {
    anchors: Vec<TrustAnchor<'static>>,
}

/// What a certificate is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Usage {
    /// By a client.
    Client,
    /// By a server.
    Server,
}

impl Anchors {
    /// Reads every certificate.
    ///
    /// # Errors
    /// The position of the first certificate that cannot be an anchor, and why.
    pub(crate) fn read(certificates: &[CertificateDer<'_>]) -> Result<Self, (usize, webpki::Error)> {
        let mut anchors = Vec::with_capacity(certificates.len());
        for (index, certificate) in certificates.iter().enumerate() {
            anchors.push(
                anchor_from_trusted_cert(certificate)
                    .map_err(|error| (index, error))?
                    .to_owned(),
            );
        }
        Ok(Self { anchors })
    }

    /// Reads what can be read; the system's store holds a few odd ones.
    pub(crate) fn read_leniently(certificates: &[CertificateDer<'_>]) -> Self {
        Self {
            anchors: certificates
                .iter()
                .filter_map(|certificate| anchor_from_trusted_cert(certificate).ok().map(|a| a.to_owned()))
                .collect(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.anchors.len()
    }

    /// The names of the anchors, as hints for a client that has several certificates.
    pub(crate) fn subjects(&self) -> Vec<DistinguishedName> {
        self.anchors
            .iter()
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect()
    }

    /// Verifies a chain, leaf first, up to one of the anchors; says nothing about names.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: SystemTime,
    ) -> Result<(), webpki::Error> {
        if intermediates.len() > MAX_CHAIN {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let usage = match usage {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server => KeyUsage::server_auth(),
        };
        EndEntityCert::try_from(leaf)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                intermediates,
                UnixTime::since_unix_epoch(now),
                usage,
                None,
                None,
            )
            .map(|_| ())
    }
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchors({})", self.anchors.len())
    }
}
