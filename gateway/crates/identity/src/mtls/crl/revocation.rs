//! What a trust knows of revocation: whether every certificate of a verified path is still good.
//!
//! The path is built and verified by webpki; this looks at it before it is accepted, and a path that is refused here
//! lets webpki look for another one. The list that counts for a certificate is the newest that its issuer signed and
//! that speaks for it, among those that are named and those at the places that the certificate itself names.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;
use webpki::{Cert, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::board::{CrlBoard, POINTS_OF_ONE};
use super::der::{SEQUENCE, take_as};
use super::list::RevocationList;
use super::slot::CrlSlot;
use crate::plan::{CrlDepth, OnStaleCrl};

/// Longest URL of such a place.
const MAX_POINT: usize = 2048;
/// Between two lines about statuses that cannot be told.
const QUIET: Duration = Duration::from_secs(60);

/// What a trust knows of revocation.
pub(crate) struct Revocation {
    pub(crate) parts: RevocationParts,
    said: Mutex<Option<Instant>>,
}

/// What revocation is built of.
pub(crate) struct RevocationParts {
    /// Whose: a trust's name, or `pool/` and a pool's.
    pub(crate) owner: String,
    /// The named lists.
    pub(crate) slots: Arc<[Arc<CrlSlot>]>,
    pub(crate) board: Arc<CrlBoard>,
    /// True when the lists that certificates name are fetched too.
    pub(crate) follows_points: bool,
    pub(crate) depth: CrlDepth,
    pub(crate) on_stale: OnStaleCrl,
}

/// Why a path is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum RevocationFault {
    /// Its issuer's list names it.
    #[error("the certificate with serial number {serial} was revoked by its issuer ({issuer})")]
    Revoked { serial: String, issuer: String },
    /// No list of its issuer is here, or it cannot be told whose they are.
    #[error("no revocation list that {issuer} signed for its certificate {serial} is here")]
    NoList { serial: String, issuer: String },
    /// The next list should have been here.
    #[error("the revocation list of {issuer} is past its next update")]
    Stale { issuer: String },
}

/// How a path was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cleared {
    /// Until when the lists that say so are current; `None`: a status could not be told, which the trust accepts.
    pub(crate) until: Option<SystemTime>,
}

/// A certificate of the path, and who issued it.
struct Link<'p> {
    certificate: &'p Cert<'p>,
    /// The issuer's certificate; `None` for an anchor, of which only name and key are kept.
    issuer: Option<&'p Cert<'p>>,
    is_leaf: bool,
}

/// The lists that speak for one certificate, and the newest of each scope.
#[derive(Default)]
struct Candidates(Vec<Arc<RevocationList>>);

impl Revocation {
    pub(crate) fn new(parts: RevocationParts) -> Self {
        parts.board.share_room(&parts.slots);
        Self {
            parts,
            said: Mutex::new(None),
        }
    }

    /// Changes whenever one of its lists does, or goes stale.
    pub(crate) fn generation(&self) -> u64 {
        let named = self.parts.slots.iter().map(|slot| slot.generation());
        let points = if self.parts.follows_points {
            self.parts.board.points_generation()
        } else {
            0
        };
        named.max().unwrap_or(0).max(points)
    }

    /// Looks up the certificates of a path that webpki verified.
    pub(crate) fn check(&self, path: &VerifiedPath<'_>, now: SystemTime) -> Result<Cleared, RevocationFault> {
        let leaf: &Cert<'_> = path.end_entity();
        let above: Vec<&Cert<'_>> = path.intermediate_certificates().collect();
        let checked = match self.parts.depth {
            CrlDepth::Leaf => 0,
            CrlDepth::Chain => above.len(),
        };
        let key = path.anchor().subject_public_key_info.as_ref();
        let mut until = SystemTime::UNIX_EPOCH.checked_add(FAR);
        let mut unknown = None;
        for (position, certificate) in std::iter::once(leaf)
            .chain(above.iter().copied())
            .enumerate()
            .take(checked.saturating_add(1))
        {
            let link = Link {
                certificate,
                issuer: above.get(position).copied(),
                is_leaf: position == 0,
            };
            match self.look_up(&link, key, now) {
                Ok(end) => until = until.map(|until| until.min(end)),
                Err(revoked @ RevocationFault::Revoked { .. }) => {
                    self.count("revoked");
                    return Err(revoked);
                }
                // A certificate further up may be revoked, which says more.
                Err(fault) => unknown = Some(fault),
            }
        }
        match (unknown, self.parts.on_stale) {
            (None, _) => {
                self.count("good");
                Ok(Cleared { until })
            }
            (Some(fault), OnStaleCrl::Deny) => {
                self.count("unknown-refused");
                Err(fault)
            }
            (Some(fault), on_stale) => {
                self.count("unknown-accepted");
                if on_stale == OnStaleCrl::Warn {
                    self.warn_now_and_then(&fault);
                }
                Ok(Cleared { until: None })
            }
        }
    }

    /// Until when it is known to be good.
    fn look_up(
        &self,
        link: &Link<'_>,
        anchor: &[u8],
        now: SystemTime,
    ) -> Result<SystemTime, RevocationFault> {
        let der = link.certificate.der();
        let parsed = X509Certificate::from_der(&der).ok().map(|(_, parsed)| parsed);
        let points = parsed.as_ref().and_then(named_points);
        let own_key = link.issuer.map(Cert::subject_public_key_info);
        let key = match &own_key {
            Some(key) => take_as(&mut key.as_ref(), SEQUENCE).map_or(&[][..], |key| key.content),
            None => anchor,
        };
        let mut candidates = Candidates::default();
        for slot in self.parts.slots.iter() {
            candidates.add(slot, link, points.as_deref(), key);
        }
        if self.parts.follows_points {
            let fetchable = points.iter().flatten().filter(|url| is_fetchable(url));
            for point in fetchable.take(POINTS_OF_ONE) {
                if let Some(slot) = self.parts.board.point(point) {
                    candidates.add(&slot, link, points.as_deref(), key);
                }
            }
        }
        let serial = || {
            // A number: zeros in front of it are nothing, and nobody else writes them (RFC 5280 section 4.1.2.2).
            let digits = link.certificate.serial().iter();
            let hex: String = digits.map(|octet| format!("{octet:02x}")).collect();
            hex.trim_start_matches('0').to_owned()
        };
        let issuer = || {
            let name = parsed.as_ref().map(|parsed| parsed.issuer().to_string());
            name.unwrap_or_default()
        };
        // A list that ended still says who was revoked by then.
        if candidates
            .0
            .iter()
            .any(|list| list.revokes(link.certificate.serial()))
        {
            return Err(RevocationFault::Revoked {
                serial: serial(),
                issuer: issuer(),
            });
        }
        match candidates.0.iter().map(|list| list.next_update()).max() {
            Some(end) if end > now => Ok(end),
            Some(_) => Err(RevocationFault::Stale { issuer: issuer() }),
            None => Err(RevocationFault::NoList {
                serial: serial(),
                issuer: issuer(),
            }),
        }
    }

    fn count(&self, outcome: &str) {
        let checks = &self.parts.board.metrics().crls.checks;
        checks.with_label_values(&[&self.parts.owner, outcome]).inc();
    }

    fn warn_now_and_then(&self, fault: &RevocationFault) {
        let now = self.parts.board.instant();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| now.saturating_duration_since(said) >= QUIET) {
            *said = Some(now);
            warn!(trust = %self.parts.owner, %fault, "a certificate is accepted whose revocation status cannot be told");
        }
    }
}

/// Farther than any next update: the year 9999.
const FAR: Duration = Duration::from_secs(253_370_764_800);

impl Link<'_> {
    /// RFC 5280 section 4.2.1.3: a certificate that says what its key is for must say that it signs lists. Of an
    /// anchor nothing but name and key is trusted, so nothing else is asked of it.
    fn issuer_may_sign_lists(&self) -> bool {
        let Some(issuer) = self.issuer else {
            return true;
        };
        let der = issuer.der();
        let Ok((_, parsed)) = X509Certificate::from_der(&der) else {
            return false;
        };
        match parsed.key_usage() {
            Ok(Some(usage)) => usage.value.crl_sign(),
            Ok(None) => true,
            Err(_) => false,
        }
    }
}

impl Candidates {
    /// Takes what speaks for the certificate, is signed by its issuer, and is not older than what is there.
    fn add(&mut self, slot: &CrlSlot, link: &Link<'_>, points: Option<&[String]>, key: &[u8]) {
        let Some(loaded) = slot.loaded() else { return };
        for list in &loaded.lists {
            let speaks = list.issuer() == link.certificate.issuer() && list.covers(link.is_leaf, points);
            if !speaks || !link.issuer_may_sign_lists() || !list.is_signed_by(key) {
                continue;
            }
            if self
                .0
                .iter()
                .any(|held| held.newer_than(list) == Some(Ordering::Greater))
            {
                continue;
            }
            // Two of the same second both count: which one came later cannot be told.
            self.0
                .retain(|held| list.newer_than(held) != Some(Ordering::Greater));
            self.0.push(Arc::clone(list));
        }
    }
}

/// The URLs at which a certificate says that its issuer's complete lists are (RFC 5280 section 4.2.1.13); `None` when
/// it does not say.
fn named_points(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let mut named: Option<Vec<String>> = None;
    for extension in certificate.extensions() {
        let points = match extension.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => points,
            _ => continue,
        };
        let urls = named.get_or_insert_default();
        // What speaks for some reasons or is signed by somebody else is nothing that we can use.
        let whole = points
            .iter()
            .filter(|point| point.reasons.is_none() && point.crl_issuer.is_none());
        for point in whole {
            let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                continue;
            };
            for name in names {
                if let GeneralName::URI(url) = name {
                    urls.push((*url).to_owned());
                }
            }
        }
    }
    named
}

/// True for a place that can be gone to; others, as in `ldap:`, are only names.
fn is_fetchable(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    is_http && url.len() <= MAX_POINT && url.bytes().all(|octet| octet.is_ascii_graphic())
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("owner", &self.parts.owner)
            .field("slots", &self.parts.slots)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "revocation_tests.rs"]
mod tests;
