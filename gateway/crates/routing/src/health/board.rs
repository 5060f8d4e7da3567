//! The health of every endpoint, over reloads.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use portcullis_model::{EndpointId, PoolId};

use super::cell::{Cell, PoolHealth};
use super::state::{EndpointState, Part};
use crate::attempt::Outcome;

/// The health of every endpoint. An endpoint comes onto the board when its pool is first asked for one, so that a
/// configuration that is only checked, or refused, leaves no trace here.
#[derive(Debug)]
pub struct HealthBoard {
    seed: u64,
    epochs: AtomicU64,
    pools: RwLock<HashMap<PoolId, Arc<PoolHealth>>>,
}

impl HealthBoard {
    /// An empty board whose ejections are jittered differently from every other gateway's.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(RandomState::new().hash_one("portcullis"))
    }

    /// An empty board with a chosen jitter, for tests and rehearsals.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            epochs: AtomicU64::new(0),
            pools: RwLock::default(),
        }
    }

    /// Records a probe of an endpoint on the board; one that is not on it any more is ignored.
    pub fn record_probe(&self, endpoint: &EndpointId, result: Result<(), String>, _now: Instant) {
        if let Some((_, cell)) = self.find(endpoint) {
            cell.on_probe(match &result {
                Ok(()) => Ok(()),
                Err(error) => Err(error),
            });
        }
    }

    /// Records what an attempt showed, for callers that hold no [`crate::Permit`]: evidence about an ejected
    /// endpoint whose time has come is taken for its trial. Record an attempt here or at its permit, not at both.
    pub fn record_attempt(&self, endpoint: &EndpointId, outcome: Outcome, now: Instant) {
        if let Some((pool, cell)) = self.find(endpoint) {
            pool.record(&cell, outcome, Part::Unknown, now);
        }
    }

    /// The state of an endpoint; `None` when it is not on the board.
    #[must_use]
    pub fn state(&self, endpoint: &EndpointId, now: Instant) -> Option<EndpointState> {
        self.find(endpoint).map(|(_, cell)| cell.lock().state(now))
    }

    /// Every endpoint on the board with its state, in order.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Vec<(EndpointId, EndpointState)> {
        let pools: Vec<_> = self
            .pools
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        let cells = pools.iter().flat_map(|pool| pool.cells());
        let mut states: Vec<_> = cells
            .map(|cell| (cell.id().clone(), cell.lock().state(now)))
            .collect();
        states.sort_by(|(one, _), (other, _)| one.cmp(other));
        states
    }

    /// Forgets the endpoints that are neither live nor still held by a snapshot or an attempt.
    pub fn sweep(&self, live: &BTreeSet<EndpointId>) {
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        let live_pools: BTreeSet<&PoolId> = live.iter().map(|endpoint| &endpoint.pool).collect();
        pools.retain(|id, pool| live_pools.contains(id) || Arc::strong_count(pool) > 1);
        for pool in pools.values() {
            pool.sweep(|endpoint| live.contains(endpoint));
        }
    }

    pub(crate) fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn pool(&self, pool: &PoolId) -> Arc<PoolHealth> {
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        let made = pools
            .entry(pool.clone())
            .or_insert_with(|| Arc::new(PoolHealth::new(self.seed)));
        Arc::clone(made)
    }

    fn find(&self, endpoint: &EndpointId) -> Option<(Arc<PoolHealth>, Arc<Cell>)> {
        let pool = self
            .pools
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&endpoint.pool)
            .cloned()?;
        let cell = pool.cell(endpoint)?;
        Some((pool, cell))
    }
}

impl Default for HealthBoard {
    fn default() -> Self {
        Self::new()
    }
}
