//! One named set of trust anchors and its verdicts on client certificates.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Reason, SpiffeId, TrustDomain, TrustId};
use quick_cache::sync::Cache;
use rustls_pki_types::CertificateDer;

use super::anchors::{Anchors, Usage};
use super::peer::PeerIdentity;
use super::workload::WorkloadBoard;

/// Remembered verdicts of one trust: a verdict is a hundred bytes, a forgotten one costs a chain verification.
const MAX_VERDICTS: usize = 16 * 1024;

/// A compiled `trust` entry.
pub(crate) struct Trust {
    pub(crate) id: TrustId,
    source: AnchorSource,
    /// By chain and by the generation of a delivered bundle.
    verdicts: Cache<([u8; 32], u64), Verdict>,
}

/// Where the anchors are.
pub(crate) enum AnchorSource {
    /// A plain CA: any SPIFFE ID.
    AnyDomain(Arc<Anchors>),
    /// One trust domain, its bundle from the configuration.
    Domain(TrustDomain, Arc<Anchors>),
    /// One trust domain, its bundle from the Workload API.
    Delivered(TrustDomain, Arc<WorkloadBoard>),
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
    Trusted,
    Untrusted,
}

impl Trust {
    pub(crate) fn new(id: TrustId, source: AnchorSource) -> Self {
        Self {
            id,
            source,
            verdicts: Cache::new(MAX_VERDICTS),
        }
    }

    /// True when the anchors change without a new configuration.
    pub(crate) const fn follows_deliveries(&self) -> bool {
        match self.source {
            AnchorSource::Delivered(..) => true,
            AnchorSource::AnyDomain(_) | AnchorSource::Domain(..) => false,
        }
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
        let untrusted = |fault: &TrustFault| CertificateRefusal {
            reason: Reason::CertificateUntrusted,
            check: match fault {
                TrustFault::Chain(error) => format!("trust {}: {fault}: {error}", self.id).into(),
                TrustFault::OtherDomain | TrustFault::NoBundle => {
                    format!("trust {}: {fault}", self.id).into()
                }
            },
        };

        let key = (peer.chain_fingerprint, self.generation());
        let is_valid_now = peer.valid_from <= now && now <= peer.valid_until;
        if is_valid_now {
            match self.verdicts.get(&key) {
                Some(Verdict::Trusted) => return Ok((id.clone(), true)),
                Some(Verdict::Untrusted) => {
                    return Err(CertificateRefusal {
                        reason: Reason::CertificateUntrusted,
                        check: format!("trust {}: the chain did not verify before", self.id).into(),
                    });
                }
                None => {}
            }
        }
        let verdict = match peer.chain.split_first() {
            Some((leaf, intermediates)) => {
                self.verify(leaf, intermediates, peer.spiffe_id.as_ref().ok(), now)
            }
            None => Err(TrustFault::Chain(webpki::Error::UnknownIssuer)),
        };
        if is_valid_now {
            let remembered = if verdict.is_ok() {
                Verdict::Trusted
            } else {
                Verdict::Untrusted
            };
            self.verdicts.insert(key, remembered);
        }
        verdict
            .map(|()| (id.clone(), false))
            .map_err(|fault| untrusted(&fault))
    }

    /// Verifies a client's chain, leaf first; of one trust domain's anchors only its own IDs pass.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        id: Option<&SpiffeId>,
        now: SystemTime,
    ) -> Result<(), TrustFault> {
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
            .verify(leaf, intermediates, Usage::Client, now)
            .map_err(TrustFault::Chain)
    }

    fn generation(&self) -> u64 {
        match &self.source {
            AnchorSource::Delivered(_, board) => board.generation(),
            AnchorSource::AnyDomain(_) | AnchorSource::Domain(..) => 0,
        }
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
