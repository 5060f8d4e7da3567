//! Key sets of issuers, fetched through a port and kept across reloads.
//!
//! A slot lives as long as a compiled issuer uses it. The app refreshes what is due; a request that names an
//! unknown key may ask for one fetch more, shared with everybody who waits, within a cooldown and for a second.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use portcullis_model::IssuerId;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::discovery::{self, DiscoveryFault};
use super::key_set::{KeySet, KeySetFault};
use super::key_slot::{Attempts, Flight, KeySlot, LoadedKeys, lock};
use crate::boards::Clock;
use crate::metrics::Metrics;
use crate::plan::{IssuerPlan, KeySource};
use crate::pulse::Pulse;

/// How long a request may wait for keys.
const WAIT: Duration = Duration::from_secs(1);
/// Time for one fetch; the adapter's own bounds are tighter.
const FETCH_LIMIT: Duration = Duration::from_secs(15);

/// Why a document could not be fetched.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FetchFault {
    /// The egress rules do not allow the address.
    #[error("the egress rules do not allow it: {0}")]
    Refused(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// An answer with another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// A document over the bound.
    #[error("the document is too large")]
    TooLarge,
    /// Anything on the way there.
    #[error("cannot reach it: {0}")]
    Transport(String),
}

/// The port through which key sets arrive; bounds on size, time and egress are the adapter's.
#[async_trait]
pub trait KeyFetch: Send + Sync {
    /// The body of a successful GET.
    async fn fetch(&self, url: &str) -> Result<Bytes, FetchFault>;
}

/// Why an issuer has no new keys.
#[derive(Debug, thiserror::Error)]
enum LoadFault {
    #[error("cannot fetch {url}")]
    Fetch { url: String, source: FetchFault },
    #[error("cannot use the discovery document")]
    Discovery(#[from] DiscoveryFault),
    #[error("cannot use the key set")]
    KeySet(#[from] KeySetFault),
    #[error("the key set has no key that may verify tokens")]
    NoUsableKey,
}

/// Key sets by issuer and source, as long as a compiled issuer uses them.
pub struct KeyBoard {
    loader: Arc<Loader>,
    slots: Mutex<Vec<Weak<KeySlot>>>,
    /// The issuers that have gauges.
    shown: Mutex<BTreeSet<IssuerId>>,
}

/// What a fetch needs; shared by the fetches under way.
struct Loader {
    fetch: Arc<dyn KeyFetch>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Beats when keys change: what a withdrawn one signed proves nothing any more.
    pulse: Arc<Pulse>,
    generations: AtomicU64,
    /// Keyed anew in every process, so that the gateways of a fleet do not ask at once.
    jitter: RandomState,
}

impl KeyBoard {
    /// A board without keys.
    #[must_use]
    pub fn new(fetch: Arc<dyn KeyFetch>, clock: Clock, metrics: Arc<Metrics>, pulse: Arc<Pulse>) -> Self {
        Self {
            loader: Arc::new(Loader {
                fetch,
                clock,
                metrics,
                pulse,
                generations: AtomicU64::new(0),
                jitter: RandomState::new(),
            }),
            slots: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    /// Begins every fetch that is due, side by side, and goes on with those that are under way, for up to a second;
    /// the app calls it every second, so that an issuer that hangs delays no other one.
    pub async fn refresh_due(&self, now: Instant) {
        let slots = self.live_slots();
        let flights = slots.iter().filter_map(|slot| {
            let mut attempts = slot.attempts();
            if let Some(flight) = attempts.flight() {
                return Some(flight);
            }
            (slot.is_fetched() && attempts.is_due(now, &slot.times))
                .then(|| self.loader.begin(slot, &mut attempts, now))
        });
        let flights: Vec<_> = flights.collect();
        // What takes longer goes on with the next call, or with a request that waits for it.
        let _ = tokio::time::timeout(WAIT, join_all(flights)).await;
        let now = self.loader.clock.instant();
        // Whoever lives by keys that may not be used any more is asked again.
        if slots.iter().filter(|slot| slot.goes_stale(now)).count() > 0 {
            self.loader.pulse.beat();
        }
        self.show(&slots);
    }

    /// The same, and waits until every fetch has ended: for a command that asks once.
    pub async fn finish_due(&self, now: Instant) {
        self.refresh_due(now).await;
        for slot in self.live_slots() {
            let flight = slot.attempts().flight();
            if let Some(flight) = flight {
                flight.await;
            }
        }
    }

    /// True when every issuer in use has keys or, failing that, was asked for them.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.live_slots()
            .iter()
            .all(|slot| slot.current.load().is_some() || slot.attempts().last_fault.is_some())
    }

    /// The slot of an issuer, the present one where there is one; with other times it keeps the keys.
    pub(crate) fn slot(&self, plan: &IssuerPlan) -> Result<Arc<KeySlot>, KeySetFault> {
        let mut slots = lock(&self.slots);
        slots.retain(|slot| slot.strong_count() > 0);
        let alike: Vec<_> = slots
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|slot| slot.has_source_of(plan))
            .collect();
        if let Some(present) = alike.iter().find(|slot| slot.times == plan.key_times) {
            return Ok(Arc::clone(present));
        }
        let slot = match alike.last() {
            Some(present) => Arc::new(present.with_times(plan.key_times)),
            None => Arc::new(KeySlot::new(plan)),
        };
        if let KeySource::Document(text) = &plan.keys {
            let set = KeySet::parse(text.as_bytes(), slot.purpose)?;
            let keys = LoadedKeys::delivered(set, self.loader.next_generation(), text.as_bytes());
            slot.current.store(Some(Arc::new(keys)));
        }
        slots.push(Arc::downgrade(&slot));
        Ok(slot)
    }

    /// Asks for other usable keys than those of generation `seen` (`None`: there were none), on behalf of a
    /// request that cannot be judged without them; `key_id` is the key it names.
    ///
    /// Within the cooldown the answer is no at once, unless a fetch is under way: then everybody shares it. A key
    /// that was asked for in vain then is fetched as soon as the cooldown is over, whoever asks.
    pub(crate) async fn newer_keys(
        &self,
        slot: &Arc<KeySlot>,
        seen: Option<u64>,
        key_id: Option<&str>,
    ) -> Option<Arc<LoadedKeys>> {
        if !slot.is_fetched() {
            return None;
        }
        let now = self.loader.clock.instant();
        if let Some(newer) = slot.newer_than(seen, now) {
            return Some(newer);
        }
        let flight = self.flight_for(slot, seen.and(key_id), now)?;
        // A fetch that takes longer goes on without this request.
        let _ = tokio::time::timeout(WAIT, flight).await;
        slot.newer_than(seen, self.loader.clock.instant())
    }

    /// The fetch that a request may wait for.
    fn flight_for(&self, slot: &Arc<KeySlot>, key_id: Option<&str>, now: Instant) -> Option<Flight> {
        let mut attempts = slot.attempts();
        if key_id.is_some_and(|id| attempts.was_answered(id, now, &slot.times)) {
            return None;
        }
        if let Some(flight) = attempts.flight() {
            return Some(flight);
        }
        if attempts.is_cooling(now, &slot.times) {
            attempts.want();
            return None;
        }
        Some(self.loader.begin(slot, &mut attempts, now))
    }

    /// Writes how old the keys are and until when they may be used; issuers that went away go here too.
    fn show(&self, slots: &[Arc<KeySlot>]) {
        let gauges = &self.loader.metrics.key_gauges;
        let (now, wall) = (self.loader.clock.instant(), self.loader.clock.wall());
        let mut shown = lock(&self.shown);
        shown.retain(|id| {
            let is_live = slots.iter().any(|slot| slot.id == *id);
            if !is_live {
                gauges.forget(id.as_str());
            }
            is_live
        });
        for slot in slots {
            if let (Some(keys), Some(age)) = (slot.loaded(), slot.age(now)) {
                gauges.show(slot.id.as_str(), &keys.set, age, slot.times.stale, wall);
                shown.insert(slot.id.clone());
            }
        }
    }

    fn live_slots(&self) -> Vec<Arc<KeySlot>> {
        lock(&self.slots).iter().filter_map(Weak::upgrade).collect()
    }
}

impl Loader {
    /// Begins a fetch. Nobody owns it: whoever waits drives it, and the slot keeps it when all of them go away.
    fn begin(self: &Arc<Self>, slot: &Arc<KeySlot>, attempts: &mut Attempts, now: Instant) -> Flight {
        let (loader, held) = (Arc::clone(self), Arc::clone(slot));
        let flight = async move {
            // A fetch that panics is one that failed; whoever shares it goes on.
            let loaded = AssertUnwindSafe(loader.load(&held, now)).catch_unwind().await;
            if loaded.is_err() {
                warn!(issuer = %held.id, "the fetch of the issuer's keys panicked");
                held.attempts().fail(now, "the fetch panicked".to_owned());
            }
        };
        let flight = flight.boxed().shared();
        attempts.begin(now, flight.clone());
        flight
    }

    /// Fetches and installs.
    async fn load(&self, slot: &KeySlot, began: Instant) {
        let loaded = self.document(slot).await.and_then(|document| {
            let set = KeySet::parse(&document, slot.purpose)?;
            // An issuer that withdraws its last key without giving another one is broken rather than careful.
            if set.len() == 0 {
                return Err(LoadFault::NoUsableKey);
            }
            Ok((set, Sha256::digest(&document).into()))
        });
        let outcome = match loaded {
            Ok((set, document)) => {
                let is_new = self.install(slot, set, document, began);
                slot.attempts().succeed(began, self.pause(slot, began), is_new);
                if is_new { "changed" } else { "unchanged" }
            }
            Err(fault) => {
                let error = chain(&fault);
                match slot.usable(began) {
                    Some(_) => {
                        warn!(issuer = %slot.id, %error, "cannot refresh the issuer's keys, keeping the present ones");
                    }
                    None => {
                        warn!(issuer = %slot.id, %error, "cannot fetch the issuer's keys, its tokens are refused until it can");
                    }
                }
                slot.attempts().fail(began, error);
                "failed"
            }
        };
        self.metrics
            .key_fetches
            .with_label_values(&[slot.id.as_str(), outcome])
            .inc();
    }

    async fn document(&self, slot: &KeySlot) -> Result<Bytes, LoadFault> {
        match &slot.source {
            KeySource::Document(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            KeySource::Url(url) => self.get(url).await,
            KeySource::Discovery => {
                let document = self.get(&discovery::document_url(&slot.issuer)).await?;
                self.get(&discovery::key_set_url(&slot.issuer, &document)?).await
            }
            KeySource::WorkloadApi(_) => Err(LoadFault::NoUsableKey),
        }
    }

    async fn get(&self, url: &str) -> Result<Bytes, LoadFault> {
        tokio::time::timeout(FETCH_LIMIT, self.fetch.fetch(url))
            .await
            .unwrap_or(Err(FetchFault::Timeout))
            .map_err(|source| LoadFault::Fetch {
                url: url.to_owned(),
                source,
            })
    }

    /// Puts the keys in place; false when they are the ones that are there. Their age counts from when the fetch
    /// began: what the issuer changed meanwhile may not be in them.
    fn install(&self, slot: &KeySlot, set: KeySet, document: [u8; 32], began: Instant) -> bool {
        let present = slot.current.load_full();
        if let Some(present) = present.filter(|present| present.document == document) {
            slot.current.store(Some(Arc::new(LoadedKeys {
                fetched_at: Some(began),
                ..LoadedKeys::clone(&present)
            })));
            return false;
        }
        info!(issuer = %slot.id, keys = set.len(), skipped = set.skipped, "new keys of an issuer");
        slot.current.store(Some(Arc::new(LoadedKeys {
            set: Arc::new(set),
            generation: self.next_generation(),
            document,
            fetched_at: Some(began),
        })));
        self.pulse.beat();
        true
    }

    /// Until the next fetch: up to a tenth before the keys are as old as they may get unasked.
    fn pause(&self, slot: &KeySlot, began: Instant) -> Duration {
        let share = u32::try_from(self.jitter.hash_one((slot.id.as_str(), began)) % 1000).unwrap_or(0);
        slot.times.refresh - slot.times.refresh / 10 * share / 1000
    }

    fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl fmt::Debug for KeyBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBoard")
            .field("slots", &self.live_slots().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "key_board_tests.rs"]
mod tests;
