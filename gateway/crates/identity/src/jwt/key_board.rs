//! Key sets of issuers, fetched through a port and kept across reloads.
//!
//! A slot lives as long as a compiled issuer uses it. The app refreshes what is due; a request that names an
//! unknown key may ask for one fetch more, shared with everybody who waits, within a cooldown and for a second.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::discovery::{self, DiscoveryFault};
use super::key_set::{KeySet, KeySetFault};
use super::key_slot::{KeySlot, LoadedKeys, lock};
use crate::boards::Clock;
use crate::metrics::Metrics;
use crate::plan::{IssuerPlan, KeySource};

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
}

/// Key sets by issuer and source, as long as a compiled issuer uses them.
pub struct KeyBoard {
    fetch: Arc<dyn KeyFetch>,
    clock: Clock,
    metrics: Arc<Metrics>,
    slots: Mutex<Vec<Weak<KeySlot>>>,
    generations: AtomicU64,
}
impl KeyBoard {
    /// A board without keys.
    #[must_use]
    pub fn new(fetch: Arc<dyn KeyFetch>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self {
            fetch,
            clock,
            metrics,
            slots: Mutex::default(),
            generations: AtomicU64::new(0),
        }
    }

    /// Fetches every key set that is due, side by side; the app calls it every second.
    pub async fn refresh_due(&self, now: Instant) {
        let slots = self.live_slots();
        join_all(
            slots
                .iter()
                .filter(|slot| slot.is_due(now))
                .map(|slot| async move {
                    if let Ok(_flight) = slot.flight.try_lock() {
                        self.load(slot, now).await;
                    }
                }),
        )
        .await;
        for slot in &slots {
            if let Some(age) = slot.age(now) {
                self.metrics
                    .key_age
                    .with_label_values(&[slot.id.as_str()])
                    .set(age.as_secs_f64());
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

    /// The slot of an issuer, the present one where there is one.
    pub(crate) fn slot(&self, plan: &IssuerPlan) -> Result<Arc<KeySlot>, KeySetFault> {
        let current = match &plan.keys {
            KeySource::Document(text) => Some((KeySet::parse(text.as_bytes())?, text)),
            KeySource::Url(_) | KeySource::Discovery => None,
        };
        let mut slots = lock(&self.slots);
        slots.retain(|slot| slot.strong_count() > 0);
        let present = slots
            .iter()
            .filter_map(Weak::upgrade)
            .find(|slot| slot.serves(plan));
        if let Some(slot) = present {
            return Ok(slot);
        }
        let slot = Arc::new(KeySlot::new(plan));
        if let Some((set, text)) = current {
            slot.current.store(Some(Arc::new(LoadedKeys {
                set: Arc::new(set),
                generation: self.next_generation(),
                document: Sha256::digest(text.as_bytes()).into(),
                fetched_at: None,
            })));
        }
        slots.push(Arc::downgrade(&slot));
        Ok(slot)
    }

    /// Asks for other usable keys than those of generation `seen` (`None`: there were none), on behalf of a
    /// request that cannot be judged without them.
    ///
    /// Within the cooldown the answer is no at once, unless a fetch is under way: then everybody shares it.
    pub(crate) async fn newer_keys(&self, slot: &KeySlot, seen: Option<u64>) -> Option<Arc<LoadedKeys>> {
        if !slot.is_fetched() {
            return None;
        }
        let now = self.clock.instant();
        if slot.is_cooling(now) && slot.flight.try_lock().is_ok() {
            return slot.newer_than(seen, now);
        }
        let shared = async {
            let _flight = slot.flight.lock().await;
            let now = self.clock.instant();
            if slot.newer_than(seen, now).is_none() && !slot.is_cooling(now) {
                self.load(slot, now).await;
            }
        };
        // A fetch that takes longer is given up here; `refresh_due` begins it again.
        let _ = tokio::time::timeout(WAIT, shared).await;
        slot.newer_than(seen, self.clock.instant())
    }

    /// Fetches and installs; the caller holds the slot's flight.
    async fn load(&self, slot: &KeySlot, now: Instant) {
        slot.attempts().begin(now);
        let loaded = self.document(slot).await.and_then(|document| {
            let digest: [u8; 32] = Sha256::digest(&document).into();
            Ok((KeySet::parse(&document)?, digest))
        });
        let outcome = match loaded {
            Ok((set, document)) => {
                slot.attempts().succeed();
                self.install(slot, set, document)
            }
            Err(fault) => {
                let error = chain(&fault);
                match slot.usable(now) {
                    Some(_) => {
                        warn!(issuer = %slot.id, %error, "cannot refresh the issuer's keys, keeping the present ones")
                    }
                    None => {
                        warn!(issuer = %slot.id, %error, "cannot fetch the issuer's keys, its tokens are refused until it can")
                    }
                }
                slot.attempts().fail(error);
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

    fn install(&self, slot: &KeySlot, set: KeySet, document: [u8; 32]) -> &'static str {
        let fetched_at = Some(self.clock.instant());
        let present = slot.current.load_full();
        if let Some(present) = present.filter(|present| present.document == document) {
            slot.current.store(Some(Arc::new(LoadedKeys {
                set: Arc::clone(&present.set),
                generation: present.generation,
                document,
                fetched_at,
            })));
            return "unchanged";
        }
        info!(issuer = %slot.id, keys = set.len(), skipped = set.skipped, "new keys of an issuer");
        let generation = self.next_generation();
        slot.current.store(Some(Arc::new(LoadedKeys {
            set: Arc::new(set),
            generation,
            document,
            fetched_at,
        })));
        "changed"
    }

    fn live_slots(&self) -> Vec<Arc<KeySlot>> {
        lock(&self.slots).iter().filter_map(Weak::upgrade).collect()
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
