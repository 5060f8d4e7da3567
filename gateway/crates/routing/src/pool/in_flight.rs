//! How many requests are in flight to each pool; a counter, so it outlives reloads.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_model::PoolId;

/// The requests in flight of all pools.
#[derive(Debug, Default)]
pub struct InFlight {
    pools: Mutex<HashMap<PoolId, Arc<Load>>>,
}

/// The requests in flight of one pool.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicU32);

impl InFlight {
    /// Nothing in flight.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the pools that are neither live nor still held.
    pub fn sweep(&self, live: &BTreeSet<PoolId>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool, load| live.contains(pool) || Arc::strong_count(load) > 1);
    }

    pub(crate) fn of(&self, pool: &PoolId) -> Arc<Load> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(pool.clone()).or_default())
    }
}

impl Load {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more, unless there are `most` already.
    pub(crate) fn enter(&self, most: u32) -> bool {
        let more = |count: u32| (count < most).then(|| count + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
