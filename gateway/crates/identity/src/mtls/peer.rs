//! A peer's certificate chain and the SPIFFE ID in it, parsed once per connection.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use spiffe::SpiffeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME};
use x509_parser::prelude::FromDer;

use super::forwarded::Forwarded;

/// Farther than any certificate's end: the year 9999.
const FAR: Duration = Duration::from_secs(253_402_300_800);
/// Longest SPIFFE ID that we accept: what the SPIFFE standard asks every implementation to support.
const MAX_SPIFFE_ID: usize = 2048;

/// Why a certificate does not name a workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PeerIdentityFault {
    /// The chain has no certificate.
    #[error("no certificate")]
    Empty,
    /// The certificate is not X.509 in DER.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// There is no URI name.
    #[error("the certificate has no URI name")]
    NoUri,
    /// There is more than one URI name.
    #[error("the certificate has more than one URI name")]
    SeveralUris,
    /// The one URI is not a SPIFFE ID in its canonical form.
    #[error("the URI name is not a SPIFFE ID")]
    NotSpiffe,
    /// The SPIFFE ID names a trust domain and no workload in it.
    #[error("the SPIFFE ID names no workload")]
    NoPath,
    /// The certificate may sign other certificates, which a workload's may not.
    #[error("the certificate is a signing certificate")]
    SigningCertificate,
}

/// The client certificate of one connection.
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    /// The chain as presented, leaf first.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// The workload that the leaf names; nothing here says that it is true.
    pub spiffe_id: Result<SpiffeId, PeerIdentityFault>,
    /// When the leaf starts to be valid.
    pub not_before: SystemTime,
    /// When the leaf ends.
    pub not_after: SystemTime,
    /// When the certificates of the chain are valid that can be read, the leaf's first. What cannot be read is never
    /// part of a path that is accepted, so that its time is nobody's concern.
    validities: Arc<[Validity]>,
    /// SHA-256 of the leaf.
    pub fingerprint: [u8; 32],
    /// SHA-256 of the whole chain: what a verdict on the chain is remembered by.
    pub chain_fingerprint: [u8; 32],
    /// The leaf's serial number, in lower-case hex.
    pub serial: Arc<str>,
    /// The leaf's subject, for logs.
    pub subject: Arc<str>,
    /// What endpoints are told of it, made when it is first asked for.
    pub(super) forwarded: Forwarded,
}

/// When one certificate is valid: from the one moment through the second of the other (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug)]
struct Validity {
    not_before: SystemTime,
    not_after: SystemTime,
}

/// What one leaf says.
struct Leaf {
    spiffe_id: Result<SpiffeId, PeerIdentityFault>,
    validity: Validity,
    serial: String,
    subject: String,
}

impl PeerIdentity {
    /// Reads a chain, leaf first. Never fails and never panics: what cannot be read is a fault in `spiffe_id`.
    #[must_use]
    pub fn from_chain(chain: &[CertificateDer<'_>]) -> Self {
        let chain: Arc<[CertificateDer<'static>]> = chain
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let mut whole = Sha256::new();
        for certificate in chain.iter() {
            whole.update((certificate.len() as u64).to_be_bytes());
            whole.update(certificate);
        }
        let der = chain.first().map_or(&[][..], |leaf| leaf.as_ref());
        let fingerprint = Sha256::digest(der).into();
        // The parser promises not to panic; a mistake in it must cost a refusal, not a worker.
        let unreadable = || Leaf::unreadable(PeerIdentityFault::Unreadable);
        let leaf = catch_unwind(AssertUnwindSafe(|| read_leaf(der))).unwrap_or_else(|_| unreadable());
        let above = chain.iter().skip(1).filter_map(|certificate| {
            catch_unwind(AssertUnwindSafe(|| read_validity(certificate))).unwrap_or_default()
        });
        let validities = std::iter::once(leaf.validity).chain(above).collect();

        Self {
            chain,
            spiffe_id: leaf.spiffe_id,
            not_before: leaf.validity.not_before,
            not_after: leaf.validity.not_after,
            validities,
            fingerprint,
            chain_fingerprint: whole.finalize().into(),
            serial: leaf.serial.into(),
            subject: leaf.subject.into(),
            forwarded: Forwarded::default(),
        }
    }

    /// When the first certificate of the chain ends.
    #[must_use]
    pub fn valid_until(&self) -> SystemTime {
        let ends = self.validities.iter().map(|validity| validity.not_after);
        ends.min().unwrap_or(self.not_after)
    }

    /// The first end of a certificate of the chain that has not passed, whether a path needs that certificate or not;
    /// the leaf's when all have.
    pub(crate) fn end_ahead(&self, now: SystemTime) -> SystemTime {
        let ends = self.validities.iter().map(|validity| validity.not_after);
        ends.filter(|end| now < over(*end))
            .min()
            .unwrap_or(self.not_after)
    }

    /// True once the leaf has ended.
    pub(crate) fn has_ended(&self, now: SystemTime) -> bool {
        over(self.not_after) <= now
    }

    /// The time around `now` in which no certificate of the chain begins or ends: as far as the clock goes, what a path
    /// is found to be now it is found to be throughout.
    pub(crate) fn steady_around(&self, now: SystemTime) -> Range<SystemTime> {
        let mut steady = SystemTime::UNIX_EPOCH..SystemTime::UNIX_EPOCH.checked_add(FAR).unwrap_or(now);
        for moment in self
            .validities
            .iter()
            .flat_map(|validity| [validity.not_before, over(validity.not_after)])
        {
            if moment <= now {
                steady.start = steady.start.max(moment);
            } else {
                steady.end = steady.end.min(moment);
            }
        }
        steady
    }

    /// True when the leaf could be read. Path building may make something of one that could not, of which nothing here
    /// is known, not even its serial number.
    pub(crate) fn is_readable(&self) -> bool {
        !self.serial.is_empty()
    }
}

impl Leaf {
    fn unreadable(fault: PeerIdentityFault) -> Self {
        Self {
            spiffe_id: Err(fault),
            validity: Validity {
                not_before: SystemTime::UNIX_EPOCH,
                not_after: SystemTime::UNIX_EPOCH,
            },
            serial: String::new(),
            subject: String::new(),
        }
    }
}

fn read_leaf(der: &[u8]) -> Leaf {
    if der.is_empty() {
        return Leaf::unreadable(PeerIdentityFault::Empty);
    }
    let Ok((rest, certificate)) = X509Certificate::from_der(der) else {
        return Leaf::unreadable(PeerIdentityFault::Unreadable);
    };
    if !rest.is_empty() {
        return Leaf::unreadable(PeerIdentityFault::Unreadable);
    }

    Leaf {
        spiffe_id: workload_of(&certificate),
        validity: validity_of(&certificate),
        serial: certificate.tbs_certificate.serial.to_str_radix(16),
        subject: certificate.subject().to_string(),
    }
}

fn read_validity(der: &[u8]) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(validity_of(&certificate))
}

fn validity_of(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity {
        not_before: at(validity.not_before.timestamp()),
        not_after: at(validity.not_after.timestamp()),
    }
}

/// The first moment at which what ends then has ended: the second itself still counts.
pub(crate) fn over(end: SystemTime) -> SystemTime {
    end.checked_add(Duration::from_secs(1)).unwrap_or(end)
}

/// The moment of a timestamp; before the epoch counts as the epoch.
pub(super) fn at(seconds: i64) -> SystemTime {
    u64::try_from(seconds)
        .ok()
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The SPIFFE ID of a leaf, by the rules of X509-SVID section 2 and 4.
fn workload_of(certificate: &X509Certificate<'_>) -> Result<SpiffeId, PeerIdentityFault> {
    let mut names = None;
    for extension in certificate.extensions() {
        if extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME {
            // Two extensions of one kind could be read differently by two readers (RFC 5280 section 4.2).
            if names.is_some() {
                return Err(PeerIdentityFault::Unreadable);
            }
            let ParsedExtension::SubjectAlternativeName(parsed) = extension.parsed_extension() else {
                return Err(PeerIdentityFault::Unreadable);
            };
            names = Some(&parsed.general_names);
        }
        if extension.oid == OID_X509_EXT_KEY_USAGE {
            let ParsedExtension::KeyUsage(usage) = extension.parsed_extension() else {
                return Err(PeerIdentityFault::Unreadable);
            };
            if usage.key_cert_sign() || usage.crl_sign() {
                return Err(PeerIdentityFault::SigningCertificate);
            }
        }
    }
    if certificate.is_ca() {
        return Err(PeerIdentityFault::SigningCertificate);
    }

    let mut uri = None;
    for name in names.into_iter().flatten() {
        match name {
            GeneralName::URI(text) if uri.is_none() => uri = Some(*text),
            GeneralName::URI(_) => return Err(PeerIdentityFault::SeveralUris),
            // An unreadable name may be a second URI.
            GeneralName::Invalid(..) => return Err(PeerIdentityFault::Unreadable),
            _ => {}
        }
    }
    parse_workload(uri.ok_or(PeerIdentityFault::NoUri)?)
}

/// Parses a workload's SPIFFE ID and accepts only its canonical spelling, so that one workload has one name.
pub(crate) fn parse_workload(uri: &str) -> Result<SpiffeId, PeerIdentityFault> {
    if uri.len() > MAX_SPIFFE_ID {
        return Err(PeerIdentityFault::NotSpiffe);
    }
    let id = SpiffeId::new(uri).map_err(|_| PeerIdentityFault::NotSpiffe)?;
    if id.to_string() != uri {
        return Err(PeerIdentityFault::NotSpiffe);
    }
    if id.path().is_empty() {
        return Err(PeerIdentityFault::NoPath);
    }
    Ok(id)
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
