//! A client certificate laid open for its operator: what became of a chain by the rules of one trust.

use portcullis_model::{Origin, Reason, SpiffeId, TrustId};

use crate::jwt::CheckOutcome;

/// What became of a chain by the rules of one trust.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateExamination {
    /// The trust.
    pub trust: TrustId,
    /// Where it is written.
    pub by: Origin,
    /// Every check in order.
    pub checks: Vec<CertificateCheck>,
    /// True when a handshake that asks for this trust goes on.
    pub passes_handshake: bool,
    /// What a route with this trust would get: the workload, or why not.
    pub verdict: Result<SpiffeId, Reason>,
}

impl CertificateExamination {
    /// False when nothing speaks against the chain and something that decides is not known here, as a bundle that
    /// only a running gateway is given.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.verdict.is_ok()
            || self
                .checks
                .iter()
                .any(|check| check.outcome == CheckOutcome::Failed)
    }
}

/// One check and what it saw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateCheck {
    /// Which one.
    pub name: CertificateCheckName,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// What would pass.
    pub expected: String,
    /// What stood there.
    pub found: String,
    /// What to do about a failure.
    pub advice: Option<&'static str>,
}

/// The checks of a client certificate.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum CertificateCheckName {
    /// Every certificate of the chain can be read.
    Form,
    /// The leaf names exactly one workload, in the canonical spelling.
    Workload,
    /// The workload is of the trust's domain.
    Domain,
    /// Every certificate of the chain is valid now.
    Validity,
    /// The leaf may be used by a client.
    Purpose,
    /// The chain leads to an anchor.
    Chain,
    /// Nobody revoked it, and the lists that say so are current.
    Revocation,
    /// It stands on no deny list.
    DenyList,
}

impl CertificateCheckName {
    /// The word that people and machines read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Workload => "workload",
            Self::Domain => "domain",
            Self::Validity => "validity",
            Self::Purpose => "purpose",
            Self::Chain => "chain",
            Self::Revocation => "revocation",
            Self::DenyList => "deny-list",
        }
    }
}
