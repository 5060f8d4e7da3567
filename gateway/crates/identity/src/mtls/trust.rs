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
    /// The anchors that do not change without a new configuration.
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

/// A remembered verdict on a chain, good while every certificate of it is within its validity.
#[derive(Clone, Copy)]
enum Verdict {
    /// Until the first of the lists ends that cleared it.
    Trusted {
        until: SystemTime,
    },
    Untrusted(Reason),
}

/// A chain that is trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Accepted {
    /// True when that was remembered.
    pub(crate) is_remembered: bool,
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
        if now > peer.not_after {
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
        let is_valid_now = peer.valid_from <= now && now <= peer.valid_until;
        if is_valid_now {
            match self.verdicts.get(&key) {
                Some(Verdict::Trusted { until }) if now < until => {
                    return Ok(Accepted { is_remembered: true });
                }
                Some(Verdict::Untrusted(reason)) => {
                    let check = format!("trust {}: the chain was not accepted before", self.id);
                    return Err(CertificateRefusal {
                        reason,
                        check: check.into(),
                    });
                }
                Some(Verdict::Trusted { .. }) | None => {}
            }
        }
        let verified = match peer.chain.split_first() {
            Some((leaf, intermediates)) => {
                self.verify(leaf, intermediates, peer.spiffe_id.as_ref().ok(), now)
            }
            None => Err(TrustFault::Chain(webpki::Error::UnknownIssuer)),
        };
        let (verdict, answer) = match verified {
            Ok(cleared) => {
                let until = cleared.map_or(Some(peer.valid_until), |cleared| cleared.until);
                let verdict = until.map(|until| Verdict::Trusted {
                    until: until.min(peer.valid_until),
                });
                (verdict, Ok(Accepted { is_remembered: false }))
            }
            Err(fault) => {
                let refusal = self.refusal(&fault);
                (Some(Verdict::Untrusted(refusal.reason)), Err(refusal))
            }
        };
        if let Some(verdict) = verdict.filter(|_| is_valid_now) {
            self.verdicts.insert(key, verdict);
        }
        answer
    }

    fn refusal(&self, fault: &TrustFault) -> CertificateRefusal {
        let reason = match fault {
            TrustFault::Revocation(RevocationFault::Revoked { .. }) => Reason::CertificateRevoked,
            TrustFault::Revocation(RevocationFault::NoList { .. } | RevocationFault::Stale { .. }) => {
                Reason::CertificateStatusUnknown
            }
            TrustFault::Chain(webpki::Error::CertExpired { .. }) => Reason::CertificateExpired,
            TrustFault::Chain(_) | TrustFault::OtherDomain | TrustFault::NoBundle => {
                Reason::CertificateUntrusted
            }
        };
        let check = match fault {
            TrustFault::Chain(error) => format!("trust {}: {fault}: {error}", self.id),
            TrustFault::OtherDomain | TrustFault::NoBundle | TrustFault::Revocation(_) => {
                format!("trust {}: {fault}", self.id)
            }
        };
        CertificateRefusal {
            reason,
            check: check.into(),
        }
    }

    /// Verifies a client's chain, leaf first; of one trust domain's anchors only its own IDs pass.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        id: Option<&SpiffeId>,
        now: SystemTime,
    ) -> Result<Option<Cleared>, TrustFault> {
        match &self.source {
            AnchorSource::AnyDomain(_) => {}
            AnchorSource::Domain(domain, _) | AnchorSource::Delivered(domain, _) => {
                if !id.is_some_and(|id| id.is_member_of(domain)) {
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
