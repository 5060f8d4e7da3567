//! One named set of trust anchors and its verdicts on client certificates.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Reason, SpiffeId, TrustDomain, TrustId};
use quick_cache::sync::Cache;
use rustls_pki_types::CertificateDer;

use super::anchors::{Anchors, ChainFault, Usage};
use super::crl::{Cleared, Revocation, RevocationFault};
use super::first_to_accept::{Refusal, Weight};
use super::peer::PeerIdentity;
use super::workload::WorkloadBoard;

/// Remembered verdicts of one trust: a verdict is a hundred bytes, a forgotten one costs a chain verification.
const MAX_VERDICTS: usize = 16 * 1024;

/// A compiled `trust` entry.
pub(crate) struct Trust {
    pub(crate) id: TrustId,
    source: AnchorSource,
    /// `None`: revocation is not asked about.
    revocation: Option<Revocation>,
    /// By chain and by the generation of delivered bundles and revocation lists.
    verdicts: Cache<([u8; 32], Generation), Verdict>,
}

/// The generations of the delivered bundles and of the revocation lists that a verdict hangs on; 0 for none.
pub(crate) type Generation = (u64, u64);

/// Where the anchors are.
pub(crate) enum AnchorSource {
    /// A plain CA: any SPIFFE ID.
    AnyDomain(Arc<Anchors>),
    /// One trust domain, its bundle from the configuration.
    Domain(TrustDomain, Arc<Anchors>),
    /// One trust domain, its bundle from the Workload API.
    Delivered(TrustDomain, Arc<WorkloadBoard>),
}

impl AnchorSource {
    pub(crate) fn given(&self) -> Option<&Anchors> {
        match self {
            Self::AnyDomain(anchors) | Self::Domain(_, anchors) => Some(anchors),
            Self::Delivered(..) => None,
        }
    }
}

/// Why a chain is not trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustFault {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the SPIFFE ID is of another trust domain")]
    OtherDomain,
    #[error("no bundle of the trust domain has arrived")]
    NoBundle,
    #[error("the chain does not verify")]
    Chain(#[source] webpki::Error),
    #[error(transparent)]
    Revocation(RevocationFault),
}

/// Why a certificate proves nothing.
#[derive(Debug)]
pub(crate) struct CertificateRefusal {
    pub(crate) reason: Reason,
    pub(crate) check: Cow<'static, str>,
}

/// A remembered verdict on a chain.
#[derive(Clone, Copy)]
struct Verdict {
    /// From when to when: until a certificate of the chain begins or ends, or the first of the lists that cleared it.
    from: SystemTime,
    until: SystemTime,
    said: Result<(), Reason>,
}

/// A chain that is trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Accepted {
    /// True when that was remembered.
    pub(crate) is_remembered: bool,
    /// Until when, as long as the trust's generation stays.
    pub(crate) until: SystemTime,
}

impl Refusal for TrustFault {
    fn weight(&self) -> Weight {
        match self {
            Self::Revocation(_) => Weight::Final,
            Self::Chain(_) | Self::Unreadable => Weight::Telling,
            Self::OtherDomain | Self::NoBundle => Weight::Beside,
        }
    }
}

impl Refusal for CertificateRefusal {
    fn weight(&self) -> Weight {
        let is_of_revocation = matches!(
            self.reason,
            Reason::CertificateRevoked | Reason::CertificateStatusUnknown
        );
        if is_of_revocation {
            Weight::Final
        } else {
            Weight::Telling
        }
    }
}

impl Trust {
    pub(crate) fn new(id: TrustId, source: AnchorSource, revocation: Option<Revocation>) -> Self {
        Self {
            id,
            source,
            revocation,
            verdicts: Cache::new(MAX_VERDICTS),
        }
    }

    /// Changes with whatever changes verdicts without a new configuration: bundles and revocation lists.
    pub(crate) fn generation(&self) -> Generation {
        let delivered = match &self.source {
            AnchorSource::Delivered(_, board) => board.generation(),
            AnchorSource::AnyDomain(_) | AnchorSource::Domain(..) => 0,
        };
        (
            delivered,
            self.revocation.as_ref().map_or(0, Revocation::generation),
        )
    }

    /// The one trust domain whose IDs pass, where there is one.
    pub(crate) const fn domain(&self) -> Option<&TrustDomain> {
        match &self.source {
            AnchorSource::AnyDomain(_) => None,
            AnchorSource::Domain(domain, _) | AnchorSource::Delivered(domain, _) => Some(domain),
        }
    }

    /// True when revocation is asked about.
    pub(crate) const fn asks_revocation(&self) -> bool {
        self.revocation.is_some()
    }

    /// The anchors of this moment.
    pub(crate) fn anchors(&self) -> Option<Arc<Anchors>> {
        match &self.source {
            AnchorSource::AnyDomain(anchors) | AnchorSource::Domain(_, anchors) => Some(Arc::clone(anchors)),
            AnchorSource::Delivered(domain, board) => board.current().bundles.get(domain).cloned(),
        }
    }

    /// The anchors that do not change without a new configuration.
    pub(crate) fn given_anchors(&self) -> Option<&Anchors> {
        self.source.given()
    }

    /// What it knows of revocation.
    pub(crate) const fn revocation(&self) -> Option<&Revocation> {
        self.revocation.as_ref()
    }

    /// Finds the workload that a peer proves to be, and whether its chain was remembered.
    pub(crate) fn judge(
        &self,
        peer: &PeerIdentity,
        now: SystemTime,
    ) -> Result<(SpiffeId, bool), CertificateRefusal> {
        let id = peer.spiffe_id.as_ref().map_err(|fault| CertificateRefusal {
            reason: Reason::CertificateSpiffeId,
            check: fault.to_string().into(),
        })?;
        if peer.has_ended(now) {
            return Err(CertificateRefusal {
                reason: Reason::CertificateExpired,
                check: "the certificate has expired".into(),
            });
        }
        let accepted = self.accept(peer, now)?;
        Ok((id.clone(), accepted.is_remembered))
    }

    /// Whether a peer's chain would pass a handshake now, whomever it names; remembered.
    pub(crate) fn accept(
        &self,
        peer: &PeerIdentity,
        now: SystemTime,
    ) -> Result<Accepted, CertificateRefusal> {
        let key = (peer.chain_fingerprint, self.generation());
        if let Some(verdict) = self.verdicts.get(&key)
            && (verdict.from..verdict.until).contains(&now)
        {
            return match verdict.said {
                Ok(()) => Ok(Accepted {
                    is_remembered: true,
                    until: verdict.until,
                }),
                Err(reason) => {
                    let check = format!("trust {}: the chain was not accepted before", self.id);
                    Err(CertificateRefusal {
                        reason,
                        check: check.into(),
                    })
                }
            };
        }
        // Whatever else the chain carries: who is asked must not be made to look twice within that time.
        let steady = peer.steady_around(now);
        let intermediates = peer.chain.get(1..).unwrap_or_default();
        let (until, answer) = match self.verify(peer, intermediates, now) {
            Ok(cleared) => {
                // A status that could not be told is told by another list, which is another generation.
                let listed = cleared.and_then(|cleared| cleared.until);
                let until = listed.map_or(steady.end, |listed| listed.min(steady.end));
                let is_remembered = false;
                (until, Ok(Accepted { is_remembered, until }))
            }
            Err(fault) => (steady.end, Err(self.refusal(&fault))),
        };
        let said = match &answer {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal.reason),
        };
        let verdict = Verdict {
            from: steady.start,
            until,
            said,
        };
        self.verdicts.insert(key, verdict);
        answer
    }

    fn refusal(&self, fault: &TrustFault) -> CertificateRefusal {
        let reason = match fault {
            TrustFault::Revocation(RevocationFault::Revoked { .. }) => Reason::CertificateRevoked,
            TrustFault::Revocation(RevocationFault::NoList { .. } | RevocationFault::Stale { .. }) => {
                Reason::CertificateStatusUnknown
            }
            TrustFault::Chain(webpki::Error::CertExpired { .. }) => Reason::CertificateExpired,
            TrustFault::Chain(_)
            | TrustFault::Unreadable
            | TrustFault::OtherDomain
            | TrustFault::NoBundle => Reason::CertificateUntrusted,
        };
        let check = match fault {
            TrustFault::Chain(error) => format!("trust {}: {fault}: {error}", self.id),
            TrustFault::Unreadable
            | TrustFault::OtherDomain
            | TrustFault::NoBundle
            | TrustFault::Revocation(_) => format!("trust {}: {fault}", self.id),
        };
        CertificateRefusal {
            reason,
            check: check.into(),
        }
    }

    /// Verifies a client's leaf over the intermediates that came with it; of one trust domain's anchors only its own
    /// IDs pass.
    pub(crate) fn verify(
        &self,
        peer: &PeerIdentity,
        intermediates: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Option<Cleared>, TrustFault> {
        let leaf = peer.chain.first().filter(|_| peer.is_readable());
        let leaf = leaf.ok_or(TrustFault::Unreadable)?;
        match &self.source {
            AnchorSource::AnyDomain(_) => {}
            AnchorSource::Domain(domain, _) | AnchorSource::Delivered(domain, _) => {
                if !peer.spiffe_id.as_ref().is_ok_and(|id| id.is_member_of(domain)) {
                    return Err(TrustFault::OtherDomain);
                }
            }
        }
        self.anchors()
            .ok_or(TrustFault::NoBundle)?
            .verify(leaf, intermediates, Usage::Client, self.revocation.as_ref(), now)
            .map_err(|fault| match fault {
                ChainFault::Path(error) => TrustFault::Chain(error),
                ChainFault::Revocation(fault) => TrustFault::Revocation(fault),
            })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
