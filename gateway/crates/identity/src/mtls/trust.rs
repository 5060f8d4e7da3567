//! One named set of trust anchors and its verdicts on client certificates.

use std::sync::Arc;

use crate::plan::TrustPlan;

/// A compiled `trust` entry.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) plan: Arc<TrustPlan>,
}
