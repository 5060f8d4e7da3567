//! One revocation list, parsed once: who issued it, for which certificates it speaks, and whom it revokes.
//!
//! The structure is checked by webpki (RFC 5280 section 5; version 2, no deltas, nothing indirect, no critical
//! extension that is not known). What is kept is the bytes and an index into them, so that a list costs a quarter more
//! than its file. A signature is checked once for each key and remembered: a handshake does not hash megabytes.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::der::{INTEGER, SEQUENCE, TIMES, take, take_as, take_bits};
use super::fault::CrlFault;

/// Lists in one document, and of one trust together; more of them would be looked through at every handshake.
pub(crate) const MAX_LISTS: usize = 64;
/// Keys for which a list remembers whether they signed it: authorities roll their keys over, they do not hoard them.
const MAX_SIGNERS: usize = 8;

/// A revocation list.
pub(crate) struct RevocationList {
    der: Bytes,
    /// What is signed.
    tbs: Bytes,
    /// The identifier of the signature's algorithm, without its head.
    algorithm: Bytes,
    signature: Bytes,
    /// The issuer's name, without its head.
    issuer: Bytes,
    scope: Option<Scope>,
    this_update: SystemTime,
    next_update: SystemTime,
    /// Where the revoked serial numbers stand in `der`, in their order.
    serials: Vec<(u32, u8)>,
    /// Keys that were asked about, and what they had signed.
    signers: Mutex<Vec<(Bytes, bool)>>,
}

/// What an issuing distribution point (RFC 5280 section 5.2.5) says the list is for.
#[derive(Debug, Eq, PartialEq)]
struct Scope {
    /// The URLs of the part of the certificates that it is for; `None` when it is for no part.
    points: Option<Vec<Bytes>>,
    covers: Covers,
}

/// For which certificates a list speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Covers {
    All,
    Leaves,
    Authorities,
}

/// Every list of a document.
///
/// # Errors
/// Why the first one that cannot be used cannot.
pub(crate) fn read_document(document: &Bytes) -> Result<Vec<RevocationList>, CrlFault> {
    if document.first() == Some(&SEQUENCE) {
        return Ok(vec![RevocationList::read(document.clone())?]);
    }
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(document) {
        let list = list.map_err(|_| CrlFault::Pem)?;
        if lists.len() == MAX_LISTS {
            return Err(CrlFault::TooMany);
        }
        lists.push(RevocationList::read(Bytes::copy_from_slice(&list))?);
    }
    if lists.is_empty() {
        return Err(CrlFault::NoList);
    }
    Ok(lists)
}

impl RevocationList {
    /// Reads one list in DER.
    pub(crate) fn read(der: Bytes) -> Result<Self, CrlFault> {
        let fields = Fields::of(&der)?;
        let checked = BorrowedCertRevocationList::from_der(&der).map_err(CrlFault::from)?;
        let mut serials = Vec::new();
        for entry in &checked {
            let serial = significant(entry.map_err(CrlFault::from)?.serial_number);
            let offset = serial.as_ptr().addr().wrapping_sub(der.as_ptr().addr());
            match (u32::try_from(offset), u8::try_from(serial.len())) {
                (Ok(offset), Ok(length)) => serials.push((offset, length)),
                // RFC 5280 section 5.1.2.6 by way of 4.1.2.2: a serial number has at most 20 octets.
                _ => return Err(CrlFault::Unreadable(webpki::Error::InvalidSerialNumber)),
            }
        }
        serials.sort_unstable_by(|one, other| at(&der, *one).cmp(at(&der, *other)));
        serials.shrink_to_fit();
        let checked = CertRevocationList::from(checked);
        let scope = match checked.issuing_distribution_point() {
            Some(point) => Some(Scope::read(point).ok_or(MALFORMED)?),
            None => None,
        };
        let part = |part: &[u8]| der.slice_ref(part);
        Ok(Self {
            tbs: part(fields.tbs),
            algorithm: part(fields.algorithm),
            signature: part(fields.signature),
            issuer: part(fields.issuer),
            scope,
            this_update: fields.this_update,
            next_update: fields.next_update,
            serials,
            signers: Mutex::default(),
            der,
        })
    }

    /// The issuer's name, without its DER head.
    pub(crate) fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// When it was issued.
    pub(crate) const fn this_update(&self) -> SystemTime {
        self.this_update
    }

    /// By when the next one must be there.
    pub(crate) const fn next_update(&self) -> SystemTime {
        self.next_update
    }

    /// How many certificates it revokes.
    pub(crate) fn len(&self) -> usize {
        self.serials.len()
    }

    /// True when it revokes the certificate with this serial number, as its octets stand in the certificate.
    pub(crate) fn revokes(&self, serial: &[u8]) -> bool {
        let serial = significant(serial);
        let found = self
            .serials
            .binary_search_by(|place| at(&self.der, *place).cmp(serial));
        found.is_ok()
    }

    /// True when it speaks for such a certificate of its issuer, which names these places (`None`: no places at all).
    pub(crate) fn covers(&self, is_leaf: bool, points: Option<&[String]>) -> bool {
        let Some(scope) = &self.scope else {
            return true;
        };
        let covers = match scope.covers {
            Covers::All => true,
            Covers::Leaves => is_leaf,
            Covers::Authorities => !is_leaf,
        };
        covers && scope.has(points)
    }

    /// True when it is the same list, octet by octet.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.der == other.der
    }

    /// How it compares as news with another list: `None` when they speak for different certificates.
    pub(crate) fn newer_than(&self, other: &Self) -> Option<Ordering> {
        let is_same = self.issuer == other.issuer && self.scope == other.scope;
        is_same.then(|| self.this_update.cmp(&other.this_update))
    }

    /// True when this key, the content of a SubjectPublicKeyInfo, signed it. Remembered for a few keys.
    pub(crate) fn is_signed_by(&self, key: &[u8]) -> bool {
        if let Some((_, verdict)) = self.known_signers().iter().find(|(known, _)| known == key) {
            return *verdict;
        }
        let verdict = self.verify(key).unwrap_or(false);
        let mut signers = self.known_signers();
        if signers.len() == MAX_SIGNERS {
            // A key that did sign is worth more than one that did not.
            let position = signers.iter().position(|(_, signed)| !signed).unwrap_or(0);
            signers.remove(position);
        }
        signers.push((Bytes::copy_from_slice(key), verdict));
        verdict
    }

    /// The keys that are known to have signed it.
    pub(crate) fn proven_signers(&self) -> Vec<Bytes> {
        let signers = self.known_signers();
        let proven = signers.iter().filter(|(_, signed)| *signed);
        proven.map(|(key, _)| key.clone()).collect()
    }

    /// `None` when the key cannot be read.
    fn verify(&self, mut key: &[u8]) -> Option<bool> {
        let kind = take_as(&mut key, SEQUENCE)?.content;
        let point = take_bits(&mut key)?;
        let mut fitting = webpki::ALL_VERIFICATION_ALGS.iter().filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == &*self.algorithm
                && algorithm.public_key_alg_id().as_ref() == kind
        });
        let signs = |algorithm: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
            algorithm
                .verify_signature(point, &self.tbs, &self.signature)
                .is_ok()
        };
        Some(fitting.any(signs))
    }

    fn known_signers(&self) -> std::sync::MutexGuard<'_, Vec<(Bytes, bool)>> {
        self.signers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fields of a list that webpki does not tell.
struct Fields<'a> {
    tbs: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    this_update: SystemTime,
    next_update: SystemTime,
}

impl<'a> Fields<'a> {
    fn of(mut der: &'a [u8]) -> Result<Self, CrlFault> {
        let mut list = take_as(&mut der, SEQUENCE).ok_or(CrlFault::NoList)?.content;
        let tbs = take_as(&mut list, SEQUENCE).ok_or(MALFORMED)?;
        let algorithm = take_as(&mut list, SEQUENCE).ok_or(MALFORMED)?;
        let signature = take_bits(&mut list).ok_or(MALFORMED)?;
        let mut fields = tbs.content;
        // The version is there from version 2 on; in front of a version 1 list stands the algorithm.
        let Some(_version) = take_as(&mut fields, INTEGER) else {
            let is_list = take_as(&mut fields, SEQUENCE).is_some();
            return Err(if is_list { CrlFault::Version1 } else { MALFORMED });
        };
        take_as(&mut fields, SEQUENCE).ok_or(MALFORMED)?;
        let issuer = take_as(&mut fields, SEQUENCE).ok_or(MALFORMED)?;
        let this_update = take_time(&mut fields).ok_or(MALFORMED)?;
        let next_update = take_time(&mut fields).ok_or(CrlFault::NoNextUpdate)?;
        Ok(Self {
            tbs: tbs.whole,
            algorithm: algorithm.content,
            signature,
            issuer: issuer.content,
            this_update,
            next_update,
        })
    }
}

const MALFORMED: CrlFault = CrlFault::Unreadable(webpki::Error::BadDer);

fn take_time(bytes: &mut &[u8]) -> Option<SystemTime> {
    let mut rest = *bytes;
    let time = take(&mut rest).filter(|element| TIMES.contains(&element.tag))?;
    let (_, time) = ASN1Time::from_der(time.whole).ok()?;
    *bytes = rest;
    // Before the epoch counts as the epoch: a list of then is stale either way.
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

impl Scope {
    /// Reads an issuing distribution point that webpki found well-formed and supported.
    fn read(mut point: &[u8]) -> Option<Self> {
        const NAME: u8 = 0xa0;
        const FULL_NAME: u8 = 0xa0;
        const URI: u8 = 0x86;
        const ONLY_LEAVES: u8 = 0x81;
        const ONLY_AUTHORITIES: u8 = 0x82;
        let mut fields = take_as(&mut point, SEQUENCE)?.content;
        let mut scope = Self {
            points: None,
            covers: Covers::All,
        };
        while !fields.is_empty() {
            let field = take(&mut fields)?;
            match field.tag {
                NAME => {
                    let points = scope.points.get_or_insert_default();
                    let mut names = take_as(&mut &*field.content, FULL_NAME)?.content;
                    while !names.is_empty() {
                        let name = take(&mut names)?;
                        if name.tag == URI {
                            points.push(Bytes::copy_from_slice(name.content));
                        }
                    }
                }
                ONLY_LEAVES if field.content != [0] => scope.covers = Covers::Leaves,
                ONLY_AUTHORITIES if field.content != [0] => scope.covers = Covers::Authorities,
                _ => {}
            }
        }
        Some(scope)
    }

    /// True when a certificate that names these places is in its part (RFC 5280 section 6.3.3 (b) (2) (i)). One that
    /// names none could be in any part, so no single part speaks for it.
    fn has(&self, named: Option<&[String]>) -> bool {
        let Some(own) = &self.points else {
            return true;
        };
        let mut named = named.unwrap_or_default().iter();
        named.any(|point| own.iter().any(|own| own == point))
    }
}

/// A serial number without the zeros in front, which mean nothing.
fn significant(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|octet| **octet == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

fn at(der: &[u8], (offset, length): (u32, u8)) -> &[u8] {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = offset.saturating_add(usize::from(length));
    der.get(offset..end).unwrap_or_default()
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList")
            .field("revoked", &self.len())
            .field("this_update", &self.this_update)
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
