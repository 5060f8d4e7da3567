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

use super::list::{CrlFault, read_document};
use super::slot::{Arrival, CrlSlot, Place};
use crate::boards::Clock;
use crate::jwt::FetchFault;
use crate::metrics::Metrics;
use crate::mtls::WorkloadBoard;
use crate::plan::CrlSource;
use crate::pulse::Pulse;

/// Lists that certificates name, at most: each may be 8 MiB, and an authority shards its lists into a few.
const MAX_POINTS: usize = 64;
/// After which a place that no certificate names any more is forgotten, once its list has ended.
const POINT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Between looks at what is due.
const TICK: Duration = Duration::from_secs(1);
/// Time for one fetch; the adapter's own bounds are tighter.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

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

/// A place that certificates name.
struct Point {
    slot: Arc<CrlSlot>,
    wanted: Instant,
}

/// Why a list did not arrive.
#[derive(Debug, thiserror::Error)]
enum ArrivalFault {
    #[error("cannot fetch it: {0}")]
    Fetch(#[from] FetchFault),
    #[error("cannot use it: {0}")]
    List(#[from] CrlFault),
}

/// Every revocation list in use.
pub struct CrlBoard {
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Draws generations, so that those of lists and of deliveries are one sequence.
    workload: Arc<WorkloadBoard>,
    pulse: Arc<Pulse>,
    slots: Mutex<Vec<Weak<CrlSlot>>>,
    points: Mutex<BTreeMap<Arc<str>, Point>>,
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
            slot.install(bytes.clone(), lists, self.clock.wall(), || {
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

    /// The slot of a place that a certificate under a verified chain names; it is fetched soon. `None` when there are
    /// too many.
    pub(crate) fn point(&self, url: &str) -> Option<Arc<CrlSlot>> {
        let now = self.clock.instant();
        let mut points = lock(&self.points);
        if let Some(point) = points.get_mut(url) {
            point.wanted = now;
            return Some(Arc::clone(&point.slot));
        }
        let wall = self.clock.wall();
        points.retain(|_, point| {
            let is_wanted = now.saturating_duration_since(point.wanted) < POINT_KEPT;
            let loaded = point.slot.loaded();
            let mut lists = loaded.iter().flat_map(|loaded| &loaded.lists);
            is_wanted || lists.any(|list| list.next_update() > wall)
        });
        if points.len() >= MAX_POINTS {
            let fetches = &self.metrics.crls.fetches;
            fetches
                .with_label_values(&["distribution-points", "too-many"])
                .inc();
            return None;
        }
        let url: Arc<str> = Arc::from(url);
        let slot = Arc::new(CrlSlot::new(Place::Url(Arc::clone(&url), NamedBy::Certificate)));
        points.insert(
            url,
            Point {
                slot: Arc::clone(&slot),
                wanted: now,
            },
        );
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

    /// Fetches and installs.
    async fn load(&self, slot: Arc<CrlSlot>, fetch: &dyn CrlFetch) {
        let Place::Url(url, named_by) = &slot.place else {
            return;
        };
        let fetched = tokio::time::timeout(FETCH_LIMIT, fetch.fetch_list(url, *named_by)).await;
        let arrived = fetched
            .unwrap_or(Err(FetchFault::Timeout))
            .map_err(ArrivalFault::from)
            .and_then(|document| Ok((read_document(&document)?, document)));
        let outcome = match arrived {
            Ok((lists, document)) => {
                let revoked: usize = lists.iter().map(|list| list.len()).sum();
                let arrival = slot.install(document, lists, self.clock.wall(), || {
                    self.workload.next_generation()
                });
                slot.succeed();
                match arrival {
                    Arrival::Unchanged => "unchanged",
                    Arrival::Changed => {
                        info!(list = %url, revoked, "new revocation list");
                        self.publish(&slot);
                        "changed"
                    }
                    Arrival::Older => {
                        warn!(list = %url, "a revocation list is older than the one held, which stays");
                        "older"
                    }
                }
            }
            Err(fault) => {
                if slot.fail(fault.to_string()) {
                    warn!(list = %url, error = %fault, "no new revocation list, the present one stays until it ends");
                }
                match fault {
                    ArrivalFault::Fetch(FetchFault::Refused(_)) => "refused",
                    ArrivalFault::Fetch(_) => "failed",
                    ArrivalFault::List(_) => "unusable",
                }
            }
        };
        let fetches = &self.metrics.crls.fetches;
        fetches.with_label_values(&[slot.name(), outcome]).inc();
    }

    /// A list changed: what is proven by it is asked again.
    fn publish(&self, slot: &CrlSlot) {
        if matches!(slot.place, Place::Url(_, NamedBy::Certificate)) {
            self.points_generation
                .fetch_max(slot.generation(), Ordering::AcqRel);
        }
        self.generation.fetch_max(slot.generation(), Ordering::AcqRel);
        self.pulse.beat();
    }

    /// Notices lists that went past their next update, and shows how old each is.
    pub(super) fn look_at_the_clock(&self) {
        let wall = self.clock.wall();
        for slot in self.live_slots() {
            if slot.note_stale(wall, || self.workload.next_generation()) {
                warn!(list = slot.name(), "a revocation list is past its next update");
                self.publish(&slot);
            }
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
