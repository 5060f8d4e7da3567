//! The keys of one issuer from one source: what was loaded, how old it is, and when to ask again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use portcullis_model::IssuerId;

use super::key_set::KeySet;
use crate::plan::{IssuerPlan, KeySource};

/// Least time between fetches that requests ask for, per issuer: unknown key ids are free to invent.
pub(crate) const COOLDOWN: Duration = Duration::from_secs(10);
/// Age at which a key set is fetched again.
pub(super) const REFRESH: Duration = Duration::from_secs(5 * 60);
/// Age at which a key set may no longer be used: a stated window, never a built-in key.
pub(super) const STALE: Duration = Duration::from_secs(60 * 60);
/// Longest pause after failures.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The keys of one issuer from one source.
pub(crate) struct KeySlot {
    pub(super) id: IssuerId,
    pub(super) issuer: Arc<str>,
    pub(super) source: KeySource,
    pub(super) current: ArcSwapOption<LoadedKeys>,
    attempts: Mutex<Attempts>,
    /// Held while a fetch runs.
    pub(super) flight: tokio::sync::Mutex<()>,
}

/// A key set and its generation: a number that changes when, and only when, the document does.
#[derive(Debug)]
pub(crate) struct LoadedKeys {
    pub(crate) set: Arc<KeySet>,
    pub(crate) generation: u64,
    pub(super) document: [u8; 32],
    /// `None` for a document that was part of the configuration: it does not age.
    pub(super) fetched_at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    last: Option<Instant>,
    failures: u32,
    /// An attempt began; still true after its requester went away.
    is_open: bool,
    pub(super) last_fault: Option<String>,
}

impl KeySlot {
    /// A slot without keys.
    pub(super) fn new(plan: &IssuerPlan) -> Self {
        Self {
            id: plan.id.clone(),
            issuer: Arc::clone(&plan.issuer),
            source: plan.keys.clone(),
            current: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        }
    }

    /// The keys, unless there are none or they are older than the stale window.
    pub(crate) fn usable(&self, now: Instant) -> Option<Arc<LoadedKeys>> {
        self.current.load_full().filter(|keys| !keys.is_stale(now))
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

    /// The keys of a document that is part of the configuration.
    pub(crate) fn document_keys(&self) -> Option<Arc<LoadedKeys>> {
        if self.is_fetched() { None } else { self.loaded() }
    }

    /// Why the last fetch failed.
    pub(crate) fn last_fault(&self) -> Option<String> {
        self.attempts().last_fault.clone()
    }

    pub(super) fn serves(&self, plan: &IssuerPlan) -> bool {
        self.id == plan.id && self.issuer == plan.issuer && self.source == plan.keys
    }

    pub(super) fn is_fetched(&self) -> bool {
        match self.source {
            KeySource::Document(_) => false,
            KeySource::Url(_) | KeySource::Discovery => true,
        }
    }

    pub(super) fn newer_than(&self, seen: Option<u64>, now: Instant) -> Option<Arc<LoadedKeys>> {
        self.usable(now).filter(|keys| Some(keys.generation) != seen)
    }

    pub(super) fn is_cooling(&self, now: Instant) -> bool {
        self.attempts()
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < COOLDOWN)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        if !self.is_fetched() {
            return false;
        }
        let attempts = self.attempts();
        let Some(last) = attempts.last.filter(|_| !attempts.is_open) else {
            return true;
        };
        let pause = match attempts.failures {
            0 => REFRESH,
            failures => Duration::from_secs(1 << failures.min(6)).min(MAX_PAUSE),
        };
        now.saturating_duration_since(last) >= pause
    }

    pub(super) fn attempts(&self) -> MutexGuard<'_, Attempts> {
        lock(&self.attempts)
    }
}

impl LoadedKeys {
    fn is_stale(&self, now: Instant) -> bool {
        self.fetched_at
            .is_some_and(|at| now.saturating_duration_since(at) > STALE)
    }
}

impl Attempts {
    pub(super) fn begin(&mut self, now: Instant) {
        self.last = Some(now);
        self.is_open = true;
    }

    pub(super) fn succeed(&mut self) {
        self.is_open = false;
        self.failures = 0;
        self.last_fault = None;
    }

    pub(super) fn fail(&mut self, fault: String) {
        self.is_open = false;
        self.failures = self.failures.saturating_add(1);
        self.last_fault = Some(fault);
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
