//! Every revocation list in use, kept across reloads, fetched and refreshed beside the traffic.
//!
//! Nobody waits for a list: a status that cannot be told yet is unknown, and the trust says what that means. Named
//! lists are held by whoever was compiled with them; those that certificates name are held here, a bounded number.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::fault::CrlFault;
use super::list::{MAX_LISTS, read_document};
use super::points::Points;
use super::slot::{CrlSlot, Place};
use crate::boards::Clock;
use crate::jwt::FetchFault;
use crate::metrics::Metrics;
use crate::mtls::WorkloadBoard;
use crate::plan::CrlSource;
use crate::pulse::Pulse;

/// Places that one certificate may name and we go to; the others say the same. They share the room of a trust.
pub(super) const POINTS_OF_ONE: usize = 4;
/// Between looks at what is due.
const TICK: Duration = Duration::from_secs(1);

/// Who named the address of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// The operator, who may name any host.
    Configuration,
    /// A certificate: only hosts that the operator allows may be called.
    Certificate,
}

/// The port through which revocation lists arrive; bounds on size, time and egress are the adapter's.
#[async_trait]
pub trait CrlFetch: Send + Sync {
    /// The body of a successful GET.
    async fn fetch_list(&self, url: &str, named_by: NamedBy) -> Result<Bytes, FetchFault>;
}

/// How a named list is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct CrlStatus {
    /// Its file or URL; `distribution-points` for one that a certificate names.
    pub name: String,
    /// Revoked certificates on it.
    pub revoked: usize,
    /// When it was issued; `None`: nothing was loaded yet.
    pub this_update: Option<SystemTime>,
    /// By when the next one is due.
    pub next_update: Option<SystemTime>,
    /// True for one that the configuration names.
    pub is_named: bool,
    /// True when it was read or asked for at least once.
    pub was_tried: bool,
    /// Why the last fetch failed.
    pub last_fault: Option<String>,
}

/// Every revocation list in use.
pub struct CrlBoard {
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    /// Draws generations, so that those of lists and of deliveries are one sequence.
    pub(super) workload: Arc<WorkloadBoard>,
    pulse: Arc<Pulse>,
    slots: Mutex<Vec<Weak<CrlSlot>>>,
    /// The slots of each trust and pool, which share the room for lists.
    shared: Mutex<Vec<Weak<[Arc<CrlSlot>]>>>,
    points: Mutex<Points>,
    points_generation: AtomicU64,
    /// The newest generation of any list.
    generation: AtomicU64,
    newly_wanted: Notify,
    /// Names that have samples, so that those of lists that are gone can go too.
    shown: Mutex<Vec<String>>,
}

impl CrlBoard {
    /// A board without lists.
    pub(crate) fn new(
        clock: Clock,
        metrics: Arc<Metrics>,
        workload: Arc<WorkloadBoard>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            clock,
            metrics,
            workload,
            pulse,
            slots: Mutex::default(),
            shared: Mutex::default(),
            points: Mutex::default(),
            points_generation: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            newly_wanted: Notify::new(),
            shown: Mutex::default(),
        }
    }

    /// Fetches what is due, and notices what went stale, for as long as it is polled; the app runs it once.
    pub async fn keep_fresh(&self, fetch: &dyn CrlFetch) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut flights = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.newly_wanted.notified() => {}
                Some(()) = flights.next(), if !flights.is_empty() => {}
            }
            self.look_at_the_clock();
            for slot in self.take_due() {
                flights.push(self.load(slot, fetch));
            }
        }
    }

    /// How every list is doing, by name.
    #[must_use]
    pub fn status(&self) -> Vec<CrlStatus> {
        let status = |slot: Arc<CrlSlot>| {
            let loaded = slot.loaded();
            let lists = || loaded.iter().flat_map(|loaded| &loaded.lists);
            CrlStatus {
                name: slot.name().to_owned(),
                revoked: lists().map(|list| list.len()).sum(),
                this_update: lists().map(|list| list.this_update()).min(),
                next_update: slot.ends(),
                is_named: !matches!(slot.place, Place::Url(_, NamedBy::Certificate)),
                was_tried: slot.was_tried(),
                last_fault: slot.last_fault(),
            }
        };
        let mut all: Vec<_> = self.live_slots().into_iter().map(status).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The slot of a named list, the present one where there is one.
    pub(crate) fn slot(&self, source: &CrlSource) -> Result<Arc<CrlSlot>, CrlFault> {
        let place = match source {
            CrlSource::Document { name, bytes } => Place::Document(Arc::clone(name), bytes.clone()),
            CrlSource::Url(url) => Place::Url(Arc::clone(url), NamedBy::Configuration),
        };
        if let Some(present) = self.live_slots().into_iter().find(|slot| slot.place == place) {
            return Ok(present);
        }
        let slot = Arc::new(CrlSlot::new(place));
        if let CrlSource::Document { bytes, .. } = source {
            let lists = read_document(bytes)?;
            slot.install(bytes.clone(), lists, MAX_LISTS, self.clock.wall(), || {
                self.workload.next_generation()
            });
        }
        self.watch(&slot);
        Ok(slot)
    }

    fn watch(&self, slot: &Arc<CrlSlot>) {
        let mut slots = lock(&self.slots);
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(slot));
        self.newly_wanted.notify_one();
    }

    /// These slots are of one trust or pool: together they hold no more lists than one may.
    pub(super) fn share_room(&self, slots: &Arc<[Arc<CrlSlot>]>) {
        let mut shared = lock(&self.shared);
        shared.retain(|slots| slots.strong_count() > 0);
        shared.push(Arc::downgrade(slots));
    }

    /// How many lists a slot may hold, so that each of the others has what it holds, and one at least.
    pub(super) fn room_for(&self, slot: &Arc<CrlSlot>) -> usize {
        if matches!(slot.place, Place::Url(_, NamedBy::Certificate)) {
            return MAX_LISTS / POINTS_OF_ONE;
        }
        let is_it = |other: &Arc<CrlSlot>| Arc::ptr_eq(other, slot);
        let room = |slots: Arc<[Arc<CrlSlot>]>| {
            let others = slots.iter().filter(|other| !is_it(other));
            MAX_LISTS.saturating_sub(others.map(|other| other.len().max(1)).sum())
        };
        let shared = lock(&self.shared);
        let trusts = shared.iter().filter_map(Weak::upgrade);
        let rooms = trusts.filter(|slots| slots.iter().any(is_it)).map(room);
        rooms.min().unwrap_or(MAX_LISTS)
    }

    /// The slot of a place that a certificate under a verified chain names; it is fetched soon. `None` when there are
    /// too many.
    pub(crate) fn point(&self, url: &str) -> Option<Arc<CrlSlot>> {
        let (now, wall) = (self.clock.instant(), self.clock.wall());
        let mut points = lock(&self.points);
        if let Some(slot) = points.find(url, now) {
            return Some(slot);
        }
        let has_gone = points.is_full() && (points.sweep(now, wall) || points.make_room(now));
        if points.is_full() {
            let fetches = &self.metrics.crls.fetches;
            fetches
                .with_label_values(&["distribution-points", "too-many"])
                .inc();
            return None;
        }
        let slot = points.add(url, now);
        drop(points);
        if has_gone {
            self.ask_again();
        }
        self.watch(&slot);
        Some(slot)
    }

    /// Changes whenever a list does that a certificate names.
    pub(crate) fn points_generation(&self) -> u64 {
        self.points_generation.load(Ordering::Acquire)
    }

    /// Changes whenever a fetched list does, or any list goes stale.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// What should be fetched now; each is under way from then on, so that nobody fetches it twice.
    fn take_due(&self) -> Vec<Arc<CrlSlot>> {
        let (now, wall) = (self.clock.instant(), self.clock.wall());
        let mut due = self.live_slots();
        due.retain(|slot| slot.is_due(now, wall));
        for slot in &due {
            slot.begin(now);
        }
        due
    }

    /// A list changed: what is proven by it is asked again.
    pub(super) fn publish(&self, slot: &CrlSlot) {
        if let Place::Url(url, NamedBy::Certificate) = &slot.place {
            lock(&self.points).note_change(url, self.clock.instant());
            self.points_generation
                .fetch_max(slot.generation(), Ordering::AcqRel);
        }
        self.generation.fetch_max(slot.generation(), Ordering::AcqRel);
        self.pulse.beat();
    }

    /// A place was forgotten: who rests on what it held, or on that it held nothing, names it again.
    fn ask_again(&self) {
        let generation = self.workload.next_generation();
        self.points_generation.fetch_max(generation, Ordering::AcqRel);
        self.generation.fetch_max(generation, Ordering::AcqRel);
        self.pulse.beat();
    }

    /// Notices lists that went past their next update and places that nobody names any more, and shows how old each is.
    pub(super) fn look_at_the_clock(&self) {
        let wall = self.clock.wall();
        for slot in self.live_slots() {
            if let Some(stale) = slot.note_stale(wall, || self.workload.next_generation()) {
                match stale {
                    0 => info!(
                        list = slot.name(),
                        "the clock was set back, revocation lists are current again"
                    ),
                    _ => warn!(
                        list = slot.name(),
                        stale, "revocation lists are past their next update"
                    ),
                }
                self.publish(&slot);
            }
        }
        let has_gone = lock(&self.points).sweep(self.clock.instant(), wall);
        if has_gone {
            self.ask_again();
        }
        self.show(wall);
    }

    fn show(&self, wall: SystemTime) {
        let mut oldest: BTreeMap<String, (SystemTime, SystemTime)> = BTreeMap::new();
        for status in self.status() {
            if let (Some(this), Some(next)) = (status.this_update, status.next_update) {
                let shown = oldest.entry(status.name).or_insert((this, next));
                *shown = (shown.0.min(this), shown.1.min(next));
            }
        }
        let mut shown = lock(&self.shown);
        for gone in shown.iter().filter(|name| !oldest.contains_key(*name)) {
            // Neither matters when it is not there any more.
            let _ = self.metrics.crls.age.remove_label_values(&[gone]);
            let _ = self.metrics.crls.next_update.remove_label_values(&[gone]);
        }
        for (name, (this, next)) in &oldest {
            let age = wall.duration_since(*this).unwrap_or_default();
            let next = next.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let metrics = &self.metrics.crls;
            metrics.age.with_label_values(&[name]).set(age.as_secs_f64());
            let due = metrics.next_update.with_label_values(&[name]);
            due.set(i64::try_from(next.as_secs()).unwrap_or(i64::MAX));
        }
        *shown = oldest.into_keys().collect();
    }

    fn live_slots(&self) -> Vec<Arc<CrlSlot>> {
        lock(&self.slots).iter().filter_map(Weak::upgrade).collect()
    }
}

/// A poisoned lock guards plain values that are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for CrlBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlBoard")
            .field("slots", &self.live_slots().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
