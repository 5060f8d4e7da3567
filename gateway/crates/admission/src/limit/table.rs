//! The board of all buckets; outlives reloads.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::buckets::Buckets;
use super::definition::{Limit, LimitIdentity};
use super::key::KeyHash;
use crate::metrics::Metrics;

/// Every limit's buckets, kept by what the limit says: a reload that does not change a limit does not refill it.
#[derive(Debug, Default)]
pub struct LimitTable {
    limits: RwLock<HashMap<Arc<LimitIdentity>, Arc<Buckets>>>,
    hash: KeyHash,
    metrics: Option<Arc<Metrics>>,
}

impl LimitTable {
    /// An empty table that counts nothing; `explain` uses one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table whose decisions are counted.
    #[must_use]
    pub fn with_metrics(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics: Some(metrics),
            ..Self::default()
        }
    }

    /// Drops the buckets of limits that are not among `live`; called after a snapshot was published.
    pub fn sweep<'a>(&self, live: impl IntoIterator<Item = &'a Arc<Limit>>) {
        let mut names = HashSet::new();
        let mut identities = HashSet::new();
        for limit in live {
            names.insert(limit.id().clone());
            identities.insert(Arc::clone(limit.identity()));
        }
        let mut limits = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        limits.retain(|identity, _| {
            let stays = identities.contains(identity);
            if let Some(metrics) = self
                .metrics
                .as_ref()
                .filter(|_| !stays && !names.contains(&identity.id))
            {
                metrics.forget_limit(&identity.id);
            }
            stays
        });
    }

    /// Writes the number of keys of every limit to its gauge; called when metrics are read.
    pub fn publish_entries(&self) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        for (identity, buckets) in self.limits.read().unwrap_or_else(PoisonError::into_inner).iter() {
            metrics.set_limit_entries(&identity.id, buckets.len());
        }
    }

    /// Keys that a limit keeps a bucket for.
    #[must_use]
    pub fn entries(&self, limit: &Limit) -> usize {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        limits.get(limit.identity()).map_or(0, |buckets| buckets.len())
    }

    pub(super) const fn hash(&self) -> &KeyHash {
        &self.hash
    }

    /// What the room counts, when the app wants it counted.
    #[must_use]
    pub const fn metrics(&self) -> Option<&Arc<Metrics>> {
        self.metrics.as_ref()
    }

    /// A limit's buckets, made when it first decides.
    pub(super) fn buckets(&self, limit: &Limit, now: Instant) -> Arc<Buckets> {
        let known = self
            .limits
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(limit.identity())
            .cloned();
        known.unwrap_or_else(|| {
            let mut limits = self.limits.write().unwrap_or_else(PoisonError::into_inner);
            let buckets = limits
                .entry(Arc::clone(limit.identity()))
                .or_insert_with(|| Arc::new(Buckets::new(limit.quota_of(), now)));
            Arc::clone(buckets)
        })
    }
}
