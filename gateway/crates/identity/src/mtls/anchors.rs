//! Trust anchors in the form that path building wants, and the one place where a chain is verified.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use rustls::DistinguishedName;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::crl::{Cleared, Revocation, RevocationFault, RevocationList};

/// Longest chain that is looked at: a path has six authorities at most, and a few more are sent along by mistake.
const MAX_CHAIN: usize = 8;
/// Certificates of one authority that are looked at: its own and one that another authority gave it. The number of ways
/// through a chain is the product over its names: ten certificates of one name are a million ways, all of them to be
/// tried before the first signature is checked.
const MAX_OF_ONE_NAME: usize = 2;

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

/// Why no path from a certificate to an anchor is accepted.
#[derive(Debug)]
pub(crate) enum ChainFault {
    /// There is none that verifies.
    Path(webpki::Error),
    /// There is one, and a certificate on it is revoked, or it cannot be told.
    Revocation(RevocationFault),
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

    /// True when a list bears the name of an anchor, and no anchor of that name signed it.
    pub(crate) fn disown(&self, list: &RevocationList) -> bool {
        let mut of_name = self
            .anchors
            .iter()
            .filter(|anchor| anchor.subject.as_ref() == list.issuer())
            .peekable();
        of_name.peek().is_some() && !of_name.any(|anchor| list.is_signed_by(&anchor.subject_public_key_info))
    }

    /// Verifies a chain, leaf first, up to one of the anchors, and that nothing on it is revoked; says nothing about
    /// names. The answer tells what revocation lists said, when they were asked.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        revocation: Option<&Revocation>,
        now: SystemTime,
    ) -> Result<Option<Cleared>, ChainFault> {
        if intermediates.len() > MAX_CHAIN {
            return Err(ChainFault::Path(webpki::Error::MaximumPathDepthExceeded));
        }
        if is_maze(intermediates) {
            return Err(ChainFault::Path(webpki::Error::MaximumPathBuildCallsExceeded));
        }
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let usage = match usage {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server => KeyUsage::server_auth(),
        };
        let found: RefCell<Option<Result<Cleared, RevocationFault>>> = RefCell::default();
        let check = |path: &VerifiedPath<'_>| {
            if !path
                .intermediate_certificates()
                .all(|authority| may_sign(&authority.der()))
            {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            let Some(revocation) = revocation else {
                return Ok(());
            };
            let checked = revocation.check(path, now);
            let refused = match &checked {
                Ok(_) => Ok(()),
                Err(RevocationFault::Revoked { .. }) => Err(webpki::Error::CertRevoked),
                Err(_) => Err(webpki::Error::UnknownRevocationStatus),
            };
            found.replace(Some(checked));
            refused
        };
        EndEntityCert::try_from(leaf)
            .map_err(ChainFault::Path)?
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                intermediates,
                UnixTime::since_unix_epoch(since),
                usage,
                None,
                Some(&check),
            )
            .map_err(|error| match found.take() {
                Some(Err(fault)) => ChainFault::Revocation(fault),
                Some(Ok(_)) | None => ChainFault::Path(error),
            })?;
        Ok(found.take().and_then(Result::ok))
    }
}

/// True when more certificates bear one name than a path could need; one that is sent twice counts once.
fn is_maze(intermediates: &[CertificateDer<'_>]) -> bool {
    let certificates: Vec<_> = intermediates
        .iter()
        .enumerate()
        .filter(|(index, one)| !intermediates.iter().take(*index).any(|earlier| earlier == *one))
        .filter_map(|(_, one)| EndEntityCert::try_from(one).ok())
        .collect();
    certificates.iter().any(|one| {
        let of_name = certificates
            .iter()
            .filter(|other| other.subject() == one.subject());
        of_name.count() > MAX_OF_ONE_NAME
    })
}

/// Whether an authority's key is for certificates, which path building leaves out (RFC 5280 section 6.1.4 (n)). One that
/// does not say what its key is for may sign.
fn may_sign(authority: &CertificateDer<'_>) -> bool {
    // The parser promises not to panic; a mistake in it must cost a refusal, not a worker.
    let usage = catch_unwind(AssertUnwindSafe(|| {
        let (_, certificate) = X509Certificate::from_der(authority).ok()?;
        let usage = certificate.key_usage().ok()?;
        Some(usage.is_none_or(|usage| usage.value.key_cert_sign()))
    }));
    usage.unwrap_or_default().unwrap_or(false)
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Anchors({})", self.anchors.len())
    }
}
