//! What a listener shows its clients: a certificate from files, or our SVID as it rotates.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;

use super::certificate::{Names, OwnCertificate};
use crate::fault::IdentityFault;
use crate::mtls::WorkloadBoard;

/// Where our own identity is.
#[derive(Clone, Debug)]
pub(crate) enum SvidSource {
    /// In the configuration.
    Files(Arc<CertifiedKey>),
    /// On the workload board.
    Delivered,
}

/// One certificate of a listener.
#[derive(Debug)]
pub(crate) enum Shown {
    /// From files, for the names that it carries.
    Certificate(OwnCertificate),
    /// Our SVID, for the names that the operator gave it; without any, for every name that nothing else covers.
    Svid(SvidSource, Option<Names>),
}

impl SvidSource {
    /// True when another delivery may bring another one.
    pub(crate) const fn follows_deliveries(&self) -> bool {
        match self {
            Self::Files(_) => false,
            Self::Delivered => true,
        }
    }

    /// The identity of this moment.
    ///
    /// # Errors
    /// When none was delivered, or the one that was has expired.
    pub(crate) fn certified(
        &self,
        board: &WorkloadBoard,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, IdentityFault> {
        match self {
            Self::Files(certified) => Ok(Arc::clone(certified)),
            Self::Delivered => board.usable_svid(now),
        }
    }
}

impl Shown {
    /// The names it is shown for; `None` for every name that nothing else covers.
    pub(crate) const fn names(&self) -> Option<&Names> {
        match self {
            Self::Certificate(certificate) => Some(&certificate.names),
            Self::Svid(_, names) => names.as_ref(),
        }
    }

    /// True when another delivery may bring another one.
    pub(crate) const fn follows_deliveries(&self) -> bool {
        match self {
            Self::Certificate(_) => false,
            Self::Svid(source, _) => source.follows_deliveries(),
        }
    }

    /// Chain and key of this moment.
    ///
    /// # Errors
    /// As [`SvidSource::certified`].
    pub(crate) fn certified(
        &self,
        board: &WorkloadBoard,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, IdentityFault> {
        match self {
            Self::Certificate(certificate) => Ok(Arc::clone(&certificate.certified)),
            Self::Svid(source, _) => source.certified(board, now),
        }
    }
}

#[cfg(test)]
#[path = "shown_tests.rs"]
mod tests;
