//! What a name asks of its clients.

use std::sync::Arc;
use std::time::SystemTime;

use crate::mtls::{CertificateRefusal, Generation, PeerIdentity, Trust, first_to_accept};
use crate::plan::ClientCertificates;

/// What a name asks of a client, its trusts resolved.
#[derive(Clone, Debug)]
pub(crate) struct ClientPolicy {
    pub(crate) mode: ClientCertificates,
    /// Empty when the mode is off.
    pub(crate) trusts: Vec<Arc<Trust>>,
}

impl ClientPolicy {
    /// True when two names may share their sessions.
    pub(super) fn asks_the_same(&self, other: &Self) -> bool {
        let ids = |policy: &Self| {
            policy
                .trusts
                .iter()
                .map(|trust| trust.id.clone())
                .collect::<Vec<_>>()
        };
        self.mode == other.mode && (self.mode == ClientCertificates::Off || ids(self) == ids(other))
    }

    /// The trust that accepts a certificate, and until when it does while its generation stays; `None` where no trust is
    /// asked.
    pub(super) fn judge(
        &self,
        peer: &PeerIdentity,
        now: SystemTime,
    ) -> Result<Option<(&Trust, SystemTime)>, CertificateRefusal> {
        match first_to_accept(&self.trusts, |trust| trust.accept(peer, now)) {
            Ok((trust, accepted)) => Ok(Some((trust, accepted.until))),
            Err(Some((_, refusal))) => Err(refusal),
            Err(None) => Ok(None),
        }
    }

    /// The greatest of its trusts: a new number is greater than every one before it.
    pub(super) fn generation(&self) -> Generation {
        self.trusts.iter().fold((0, 0), |(delivered, lists), trust| {
            let of_trust = trust.generation();
            (delivered.max(of_trust.0), lists.max(of_trust.1))
        })
    }
}
