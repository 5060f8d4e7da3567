//! What a trust is told about revocation: where the lists are, and what an unknown status means.

use bytes::Bytes;
use portcullis_model::Origin;
use std::sync::Arc;

/// How revocation is checked under one set of anchors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RevocationPlan {
    /// The lists that are named.
    pub lists: Vec<CrlPlan>,
    /// True when the lists that certificates name are fetched too.
    pub distribution_points: bool,
    /// Which certificates of a chain are looked up.
    pub depth: CrlDepth,
    /// What a status that cannot be told means.
    pub on_stale: OnStaleCrl,
}

impl RevocationPlan {
    /// Adds what another trust for the same certificates says; where they differ, the stricter word holds.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for list in &other.lists {
            if !self.lists.iter().any(|known| known.source == list.source) {
                self.lists.push(list.clone());
            }
        }
        self.distribution_points |= other.distribution_points;
        self.depth = self.depth.max(other.depth);
        self.on_stale = self.on_stale.max(other.on_stale);
        self
    }
}

/// One named list, or one file of several.
#[derive(Clone, Debug, PartialEq)]
pub struct CrlPlan {
    /// Where it is written.
    pub origin: Origin,
    /// Where the list is.
    pub source: CrlSource,
}

/// Where a revocation list comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum CrlSource {
    /// A file that was read: DER, or PEM with one list or several.
    Document {
        /// Its name, for people and metrics.
        name: Arc<str>,
        /// What stands in it.
        bytes: Bytes,
    },
    /// A list to fetch.
    Url(Arc<str>),
}

/// Which certificates of a chain are looked up; the later word is the stricter one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum CrlDepth {
    /// The leaf alone.
    Leaf,
    /// Every certificate below the anchor.
    #[default]
    Chain,
}

/// What it means that no current list of a certificate's issuer is here; the later word is the stricter one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum OnStaleCrl {
    /// It is accepted and counted.
    Allow,
    /// It is accepted and counted, and the log says so now and then.
    Warn,
    /// It is refused.
    #[default]
    Deny,
}

/// Equality of meaning: where a list is named does not count.
pub(super) fn unplaced(plan: Option<&RevocationPlan>) -> Option<RevocationPlan> {
    let mut plan = plan?.clone();
    for list in &mut plan.lists {
        list.origin = Origin::default();
    }
    Some(plan)
}
