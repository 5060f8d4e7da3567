//! The keys of one issuer from one source: what was loaded, how old it is, and when to ask again.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::future::{BoxFuture, Shared};
use portcullis_model::IssuerId;
use sha2::{Digest, Sha256};

use super::key_set::{KeyPurpose, KeySet};
use super::unknown_keys::UnknownKeys;
use crate::plan::{IssuerKind, IssuerPlan, KeySource, KeyTimes};

/// Longest pause after failures.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A fetch under way, for everybody who waits for it; the slot keeps it when they go away.
pub(super) type Flight = Shared<BoxFuture<'static, ()>>;

/// The keys of one issuer from one source.
pub(crate) struct KeySlot {
    pub(super) id: IssuerId,
    /// The `iss` claim, from which discovery starts.
    pub(super) issuer: Arc<str>,
    pub(super) source: KeySource,
    pub(super) purpose: KeyPurpose,
    pub(super) times: KeyTimes,
    pub(super) current: ArcSwapOption<LoadedKeys>,
    /// Whether its keys were stale when that was asked last.
    is_stale: AtomicBool,
    attempts: Mutex<Attempts>,
}

/// A key set and its generation: a number that changes when, and only when, the document does.
#[derive(Clone, Debug)]
pub(crate) struct LoadedKeys {
    pub(crate) set: Arc<KeySet>,
    pub(crate) generation: u64,
    pub(super) document: [u8; 32],
    /// `None` for a document that nobody fetches: it does not age.
    pub(super) fetched_at: Option<Instant>,
}

/// What was asked for and what came of it.
#[derive(Clone, Default)]
pub(super) struct Attempts {
    /// When the last fetch began.
    last: Option<Instant>,
    /// When the last fetch began that brought a key set.
    succeeded: Option<Instant>,
    /// When the next fetch begins by itself; `None`: now.
    due: Option<Instant>,
    failures: u32,
    /// Somebody asked for a key in vain during the cooldown: the next fetch begins when that is over.
    is_wanted: bool,
    unknown: UnknownKeys,
    flight: Option<Flight>,
    pub(super) last_fault: Option<String>,
}

impl KeySlot {
    /// A slot without keys.
    pub(super) fn new(plan: &IssuerPlan) -> Self {
        Self {
            id: plan.id.clone(),
            issuer: plan.kind.name(),
            source: plan.keys.clone(),
            purpose: purpose(&plan.kind),
            times: plan.key_times,
            current: ArcSwapOption::empty(),
            is_stale: AtomicBool::new(false),
            attempts: Mutex::default(),
        }
    }

    /// A slot with other times that goes on where this one is.
    pub(super) fn with_times(&self, times: KeyTimes) -> Self {
        let mut attempts = self.attempts().clone();
        // Its own keys come with its own fetch; this one's ends here.
        attempts.flight = None;
        attempts.due = attempts.due.min(attempts.last.map(|last| last + times.refresh));
        Self {
            id: self.id.clone(),
            issuer: Arc::clone(&self.issuer),
            source: self.source.clone(),
            purpose: self.purpose,
            times,
            current: ArcSwapOption::new(self.current.load_full()),
            is_stale: AtomicBool::new(false),
            attempts: Mutex::new(attempts),
        }
    }

    /// The keys, unless there are none or they are older than the stale window.
    pub(crate) fn usable(&self, now: Instant) -> Option<Arc<LoadedKeys>> {
        self.current.load_full().filter(|keys| {
            keys.fetched_at
                .is_none_or(|at| now.saturating_duration_since(at) <= self.times.stale)
        })
    }

    /// True when its keys may not be used any more and that is news.
    pub(super) fn goes_stale(&self, now: Instant) -> bool {
        let is_stale = self.loaded().is_some() && self.usable(now).is_none();
        let was_stale = self.is_stale.swap(is_stale, Ordering::AcqRel);
        is_stale && !was_stale
    }

    /// Time since the last good fetch.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        let fetched_at = self.current.load().as_ref()?.fetched_at?;
        Some(now.saturating_duration_since(fetched_at))
    }

    /// Whatever was loaded last, stale or not.
    pub(crate) fn loaded(&self) -> Option<Arc<LoadedKeys>> {
        self.current.load_full()
    }

    /// Why the last fetch failed.
    pub(crate) fn last_fault(&self) -> Option<String> {
        self.attempts().last_fault.clone()
    }

    /// True when it fetches what the plan asks for, whenever that is.
    pub(super) fn has_source_of(&self, plan: &IssuerPlan) -> bool {
        self.id == plan.id
            && self.issuer == plan.kind.name()
            && self.source == plan.keys
            && self.purpose == purpose(&plan.kind)
    }

    pub(crate) fn is_fetched(&self) -> bool {
        match self.source {
            KeySource::Document(_) | KeySource::WorkloadApi(_) => false,
            KeySource::Url(_) | KeySource::Discovery => true,
        }
    }

    pub(super) fn newer_than(&self, seen: Option<u64>, now: Instant) -> Option<Arc<LoadedKeys>> {
        self.usable(now).filter(|keys| Some(keys.generation) != seen)
    }

    pub(super) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        lock(&self.attempts)
    }
}

impl LoadedKeys {
    /// Keys that were handed to us rather than fetched.
    pub(crate) fn delivered(set: KeySet, generation: u64, document: &[u8]) -> Self {
        Self {
            set: Arc::new(set),
            generation,
            document: Sha256::digest(document).into(),
            fetched_at: None,
        }
    }
}

impl Attempts {
    /// The fetch under way.
    pub(super) fn flight(&self) -> Option<Flight> {
        self.flight.clone()
    }

    /// True while requests may not begin another fetch.
    pub(super) fn is_cooling(&self, now: Instant, times: &KeyTimes) -> bool {
        self.last
            .is_some_and(|last| now.saturating_duration_since(last) < times.cooldown)
    }

    /// True when a fetch begins by itself now.
    pub(super) fn is_due(&self, now: Instant, times: &KeyTimes) -> bool {
        self.due.is_none_or(|due| now >= due) || (self.is_wanted && !self.is_cooling(now, times))
    }

    /// Notes that somebody asks for a key. True when a fetch since the key was first asked for did not bring it,
    /// so that another would not either.
    pub(super) fn was_answered(&mut self, key_id: &str, now: Instant, times: &KeyTimes) -> bool {
        self.unknown
            .was_answered(key_id, now, self.succeeded, times.cooldown)
    }

    /// Asks for a fetch as soon as the cooldown is over.
    pub(super) const fn want(&mut self) {
        self.is_wanted = true;
    }

    pub(super) fn begin(&mut self, now: Instant, flight: Flight) {
        self.last = Some(now);
        self.flight = Some(flight);
    }

    /// A key set arrived; `is_new` when it is not the one that was there.
    pub(super) fn succeed(&mut self, began: Instant, pause: Duration, is_new: bool) {
        self.flight = None;
        self.succeeded = Some(began);
        self.due = Some(began + pause);
        self.failures = 0;
        self.is_wanted = false;
        self.last_fault = None;
        if is_new {
            self.unknown.forget();
        }
    }

    pub(super) fn fail(&mut self, began: Instant, fault: String) {
        self.flight = None;
        self.failures = self.failures.saturating_add(1);
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(MAX_PAUSE);
        self.due = Some(began + pause);
        self.last_fault = Some(fault);
    }
}

/// What the keys of an issuer are for.
const fn purpose(kind: &IssuerKind) -> KeyPurpose {
    match kind {
        IssuerKind::Url(_) => KeyPurpose::Tokens,
        IssuerKind::Spiffe(_) => KeyPurpose::JwtSvids,
    }
}

/// A poisoned lock guards plain values that are whole after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySlot")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
