//! The bounded state behind a limiter: one theoretical arrival time per key.
//!
//! Eviction never grants: only a bucket that is full again may go, since a key that comes back finds a full bucket
//! either way. When none is full, the newcomer is told to wait until the first one will be.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

use super::clock::SteppedClock;

/// Buckets that one limit keeps: about 5 MiB, whatever is sent.
pub const MAX_KEYS: usize = 65_536;

/// Locks per limit; keys are spread evenly because they are keyed hashes.
const SHARDS: usize = 16;

/// One visit to a bucket: carries the key in and, when the bucket admitted, what it was left with out.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) key: u128,
    pub(super) left: Cell<Left>,
}

/// A bucket after a visit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    /// When the bucket will be full, in nanoseconds of the limiter's clock.
    pub(super) full_at: u64,
    /// Proves to [`BucketStore::refund`] that nothing happened since that a refund could not undo exactly.
    pub(super) stamp: u64,
}

impl Visit {
    pub(super) fn new(key: u128) -> Self {
        Self {
            key,
            left: Cell::default(),
        }
    }
}

impl PartialEq for Visit {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Visit {}

impl Hash for Visit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// The buckets of one limit.
#[derive(Clone, Debug)]
pub(super) struct BucketStore {
    shards: Arc<[Mutex<Shard>]>,
    clock: SteppedClock,
    /// Time that one request costs.
    interval: u64,
    /// Time that a whole burst costs, less one request.
    tolerance: u64,
    keys_per_shard: usize,
}

/// Slots, found by key and ordered by a lower bound of when each will be full.
#[derive(Debug, Default)]
struct Shard {
    index: HashMap<u128, usize, BuildHasherDefault<KeyIsHash>>,
    slots: Vec<Slot>,
    order: BinaryHeap<Reverse<(u64, usize)>>,
    stamps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u128,
    full_at: u64,
    stamp: u64,
}

impl BucketStore {
    pub(super) fn new(clock: SteppedClock, interval: u64, tolerance: u64, max_keys: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            clock,
            interval,
            tolerance,
            keys_per_shard: (max_keys / SHARDS).max(1),
        }
    }

    /// Keys that have a bucket now.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.len()).sum()
    }

    /// Gives back what a visit took, unless the bucket has been nearly full since: then the refill has already given
    /// it back, and giving it twice would grant.
    pub(super) fn refund(&self, key: u128, left: Left) {
        let Some(mut shard) = self.shard(key) else {
            return;
        };
        let slot = shard.index.get(&key).copied();
        if let Some(slot) = slot
            .and_then(|slot| shard.slots.get_mut(slot))
            .filter(|slot| slot.stamp == left.stamp)
        {
            slot.full_at = slot.full_at.saturating_sub(self.interval);
        }
    }

    fn shard(&self, key: u128) -> Option<MutexGuard<'_, Shard>> {
        // The upper half picks the shard, the lower half the place in it.
        let shard = usize::try_from((key >> 64) % SHARDS as u128).ok()?;
        self.shards.get(shard).map(lock)
    }
}

/// A panic while a shard was locked leaves at worst one bucket that was not updated; the others go on.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StateStore for BucketStore {
    type Key = Visit;

    fn measure_and_replace<T, F, E>(&self, visit: &Visit, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Some(mut shard) = self.shard(visit.key) else {
            // Cannot happen, since the index is a remainder; a bucket that is never full refuses.
            return decide(Some(Nanos::from(u64::MAX))).map(|(verdict, _)| verdict);
        };
        // Read after the limiter read it: what is full now may go.
        let now = self.clock.nanos();
        if let Some(slot) = shard.index.get(&visit.key).copied() {
            return self.visit_known(&mut shard, slot, visit, now, decide);
        }
        match shard.place_for_newcomer(self.keys_per_shard, now) {
            Ok(place) => {
                let (verdict, full_at) = decide(None)?;
                visit.left.set(shard.settle(place, visit.key, full_at.as_u64()));
                Ok(verdict)
            }
            Err(first_full_at) => {
                // Answers as a bucket would whose next request fits when the first place gets free.
                let as_if = first_full_at.saturating_add(self.tolerance);
                decide(Some(Nanos::from(as_if))).map(|(verdict, _)| verdict)
            }
        }
    }
}

impl BucketStore {
    fn visit_known<T, F, E>(
        &self,
        shard: &mut Shard,
        slot: usize,
        visit: &Visit,
        now: u64,
        decide: F,
    ) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let before = shard.slots.get(slot).map_or(0, |slot| slot.full_at);
        let (verdict, after) = decide(Some(Nanos::from(before)))?;
        // With at least one request's worth owed, this visit's cost came on top and every earlier one can still be
        // taken out again; otherwise some of an earlier one was refilled or lost, and its refund must not count.
        let keeps_earlier_costs = before.saturating_sub(now) >= self.interval;
        if !keeps_earlier_costs {
            shard.stamps = shard.stamps.wrapping_add(1);
        }
        let stamps = shard.stamps;
        if let Some(slot) = shard.slots.get_mut(slot) {
            slot.full_at = after.as_u64();
            if !keeps_earlier_costs {
                slot.stamp = stamps;
            }
            visit.left.set(Left {
                full_at: slot.full_at,
                stamp: slot.stamp,
            });
        }
        Ok(verdict)
    }
}

/// Where a newcomer's bucket goes.
enum Place {
    Fresh,
    /// The slot of an evicted bucket.
    Evicted(usize),
}

impl Shard {
    /// Finds room for one more key, or says when the first bucket will be full.
    fn place_for_newcomer(&mut self, most: usize, now: u64) -> Result<Place, u64> {
        if self.slots.len() < most {
            return Ok(Place::Fresh);
        }
        // The order holds lower bounds, since a bucket only gets fuller by time. A bound that turns out too low is
        // raised to the truth; each raise is paid for by a request that raised the bucket, so the work is amortised.
        while let Some(Reverse((bound, slot))) = self.order.peek().copied() {
            if bound > now {
                return Err(bound);
            }
            let full_at = self.slots.get(slot).map_or(0, |slot| slot.full_at);
            self.order.pop();
            if full_at <= now {
                return Ok(Place::Evicted(slot));
            }
            self.order.push(Reverse((full_at, slot)));
        }
        Err(u64::MAX)
    }

    fn settle(&mut self, place: Place, key: u128, full_at: u64) -> Left {
        self.stamps = self.stamps.wrapping_add(1);
        let newcomer = Slot {
            key,
            full_at,
            stamp: self.stamps,
        };
        let at = match place {
            Place::Fresh => {
                self.slots.push(newcomer);
                self.slots.len() - 1
            }
            Place::Evicted(at) => {
                if let Some(slot) = self.slots.get_mut(at) {
                    self.index.remove(&slot.key);
                    *slot = newcomer;
                }
                at
            }
        };
        self.index.insert(key, at);
        self.order.push(Reverse((full_at, at)));
        Left {
            full_at,
            stamp: newcomer.stamp,
        }
    }
}

/// Keys are keyed hashes already; hashing them again would only cost time.
#[derive(Debug, Default)]
struct KeyIsHash(u64);

impl Hasher for KeyIsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let low = key as u64;
        self.0 = low;
    }
}
