//! What a listener is told to show its clients.

use portcullis_model::Origin;

use super::CertifiedKeyPlan;

/// One certificate of a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum ShownPlan {
    /// From files, for the DNS names that it carries.
    Certificate(CertifiedKeyPlan),
    /// Our SVID, from files or from the Workload API, as it rotates.
    Svid {
        /// Where it is written.
        origin: Origin,
        /// The DNS names it is shown for (lower case), since an SVID carries none; without any, every name that no
        /// other certificate of the listener covers.
        names: Vec<String>,
    },
}

impl From<CertifiedKeyPlan> for ShownPlan {
    fn from(plan: CertifiedKeyPlan) -> Self {
        Self::Certificate(plan)
    }
}

impl ShownPlan {
    /// Where it is written.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        match self {
            Self::Certificate(plan) => &plan.origin,
            Self::Svid { origin, .. } => origin,
        }
    }

    /// True when it is our SVID.
    pub(crate) const fn is_svid(&self) -> bool {
        match self {
            Self::Certificate(_) => false,
            Self::Svid { .. } => true,
        }
    }

    /// The same, wherever it is written.
    pub(super) fn unplaced(mut self) -> Self {
        match &mut self {
            Self::Certificate(plan) => plan.origin = Origin::default(),
            Self::Svid { origin, .. } => *origin = Origin::default(),
        }
        self
    }
}
