//! An endpoint's machine behind its lock, and what holds for all endpoints of a pool.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use portcullis_model::{EndpointId, RegionId};
use tracing::info;

use super::machine::Machine;
use super::state::{Cause, Part, Rules, Urgency};
use crate::attempt::Outcome;

/// Of a pool's endpoints at most this share, in percent, is ejected by one gateway: with more gone the evidence is
/// more likely about something else than the endpoints.
const MOST_EJECTED: usize = 70;
/// Cells a pool keeps for addresses that are no longer its own, so that churning DNS answers cannot grow the board
/// between two sweeps.
const MOST_SPARE: usize = 1_024;

const USABLE: u8 = 0;
const UNUSABLE: u8 = 1;
const EJECTED: u8 = 2;

/// One endpoint on the board.
#[derive(Debug)]
pub(crate) struct Cell {
    id: EndpointId,
    /// What selection asks on every request, readable without the lock.
    phase: AtomicU8,
    machine: Mutex<Machine>,
}

impl Cell {
    fn new(id: EndpointId, rules: Rules) -> Self {
        let machine = Machine::new(rules);
        Self {
            id,
            phase: AtomicU8::new(phase_of(&machine)),
            machine: Mutex::new(machine),
        }
    }

    pub(crate) const fn id(&self) -> &EndpointId {
        &self.id
    }

    /// True when it is sent ordinary requests.
    pub(crate) fn is_usable(&self) -> bool {
        self.phase.load(Ordering::Acquire) == USABLE
    }

    fn is_ejected(&self) -> bool {
        self.phase.load(Ordering::Acquire) == EJECTED
    }

    /// True when a trial could begin; cheap for every endpoint that is not ejected.
    pub(crate) fn may_try(&self, urgency: Urgency, now: Instant) -> bool {
        self.is_ejected() && self.lock().may_try(urgency, now)
    }

    pub(crate) fn begin_trial(&self, urgency: Urgency, now: Instant) -> Option<u64> {
        self.change(|machine| machine.begin_trial(urgency, now))
    }

    pub(crate) fn release_trial(&self, number: u64, now: Instant) {
        self.change(|machine| machine.release_trial(number, now));
    }

    pub(crate) fn on_probe(&self, result: Result<(), &str>) {
        self.change(|machine| machine.on_probe(result));
    }

    /// A look at the machine.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Machine) -> R) -> R {
        let mut machine = self.lock();
        let result = change(&mut machine);
        self.phase.store(phase_of(&machine), Ordering::Release);
        result
    }
}

const fn phase_of(machine: &Machine) -> u8 {
    if machine.is_usable() {
        USABLE
    } else if machine.is_ejected() {
        EJECTED
    } else {
        UNUSABLE
    }
}

type Key = (RegionId, SocketAddr);

/// The endpoints of one pool on the board.
#[derive(Debug)]
pub(crate) struct PoolHealth {
    seed: u64,
    members: RwLock<Members>,
    /// What the pool consists of now; read while a machine is locked, so it must not need the lock of `members`,
    /// under which machines are locked.
    current: ArcSwap<Vec<Arc<Cell>>>,
    /// Held while one endpoint is ejected, so that two cannot both be the last that the pool can spare.
    ejecting: Mutex<()>,
}

#[derive(Debug, Default)]
struct Members {
    epoch: u64,
    cells: HashMap<Key, Arc<Cell>>,
}

impl PoolHealth {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            members: RwLock::default(),
            current: ArcSwap::default(),
            ejecting: Mutex::new(()),
        }
    }

    /// The cells for these endpoints, made where missing. The newest epoch, which is the newest configuration, says
    /// what the pool consists of and which rules hold; an older snapshot that still serves cannot turn them back.
    pub(crate) fn enrol(&self, epoch: u64, rules: Rules, ids: &[EndpointId]) -> Vec<Arc<Cell>> {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let is_newest = epoch >= members.epoch;
        if members.cells.len() > self.current.load().len() + MOST_SPARE {
            members.cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        let mut cells = Vec::with_capacity(ids.len());
        for id in ids {
            let cell = members
                .cells
                .entry((id.region.clone(), id.address))
                .or_insert_with(|| Arc::new(Cell::new(id.clone(), rules)));
            if is_newest {
                cell.change(|machine| machine.adopt(rules));
            }
            cells.push(Arc::clone(cell));
        }
        if is_newest {
            members.epoch = epoch;
            self.current.store(Arc::new(cells.clone()));
        }
        cells
    }

    pub(crate) fn cell(&self, id: &EndpointId) -> Option<Arc<Cell>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.cells.get(&(id.region.clone(), id.address)).cloned()
    }

    pub(crate) fn cells(&self) -> Vec<Arc<Cell>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.cells.values().cloned().collect()
    }

    /// Forgets the endpoints that are neither live nor held by anybody.
    pub(crate) fn sweep(&self, is_live: impl Fn(&EndpointId) -> bool) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members
            .cells
            .retain(|_, cell| is_live(&cell.id) || Arc::strong_count(cell) > 1);
    }

    /// Records what an attempt showed. True when that ejected the endpoint.
    pub(crate) fn record(&self, cell: &Cell, outcome: Outcome, part: Part, now: Instant) -> bool {
        self.eject_when(cell, now, |machine| machine.on_attempt(outcome, part, now))
    }

    /// Records that an answer broke off whose head had been recorded as `Ok`. True when that ejected the endpoint.
    pub(crate) fn record_broken_answer(&self, cell: &Cell, now: Instant) -> bool {
        self.eject_when(cell, now, Machine::on_broken_answer)
    }

    fn eject_when(
        &self,
        cell: &Cell,
        now: Instant,
        event: impl FnOnce(&mut Machine) -> Option<Cause>,
    ) -> bool {
        cell.change(|machine| {
            let Some(cause) = event(machine) else {
                return false;
            };
            let _one_at_a_time = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
            if !machine.is_ejected() && !self.can_spare_one() {
                return false;
            }
            machine.eject(cause, self.jitter(cell, now), now);
            // Before the lock is let go: the next one counts this one.
            cell.phase.store(EJECTED, Ordering::Release);
            info!(endpoint = %cell.id, ?cause, "endpoint ejected");
            true
        })
    }

    fn can_spare_one(&self) -> bool {
        let current = self.current.load();
        let ejected = current.iter().filter(|cell| cell.is_ejected()).count();
        (ejected + 1) * 100 <= current.len() * MOST_EJECTED
    }

    /// Differs between gateways, endpoints and moments, so that trials do not come in step.
    fn jitter(&self, cell: &Cell, now: Instant) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, &cell.id, now).hash(&mut hasher);
        hasher.finish()
    }
}
