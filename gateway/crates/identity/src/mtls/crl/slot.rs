//! The lists from one place: what was loaded, and when to ask again.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::board::NamedBy;
use super::list::RevocationList;

/// Longest time between fetches of a list: authorities publish a revocation before the next list is due.
const REFRESH_MOST: Duration = Duration::from_secs(15 * 60);
/// Shortest time between fetches of a list that is fetched without trouble.
const REFRESH_LEAST: Duration = Duration::from_secs(2);
/// Longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The lists from one place.
pub(crate) struct CrlSlot {
    pub(super) place: Place,
    current: ArcSwapOption<LoadedLists>,
    attempts: Mutex<Attempts>,
}

/// Where lists come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// A file of this name, with this content.
    Document(Arc<str>, Bytes),
    /// A URL, and who named it.
    Url(Arc<str>, NamedBy),
}

/// What was loaded from a place.
#[derive(Debug)]
pub(crate) struct LoadedLists {
    pub(crate) lists: Vec<Arc<RevocationList>>,
    /// A number that no other state of trust has had.
    pub(crate) generation: u64,
    document: Bytes,
    /// True when it was noticed that a list is past its next update.
    is_known_stale: bool,
}

/// What became of a document that was fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Arrival {
    /// It is what is held.
    Unchanged,
    /// It replaces what was held, or stands beside it.
    Changed,
    /// It is older than what is held, which stays.
    Older,
}

#[derive(Debug, Default)]
struct Attempts {
    last: Option<Instant>,
    failures: u32,
    /// A fetch is under way.
    is_open: bool,
    last_fault: Option<String>,
}

impl CrlSlot {
    /// A slot without lists.
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            current: ArcSwapOption::empty(),
            attempts: Mutex::default(),
        }
    }

    /// What was loaded last, stale or not.
    pub(crate) fn loaded(&self) -> Option<Arc<LoadedLists>> {
        self.current.load_full()
    }

    /// The generation of what was loaded; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.current.load().as_ref().map_or(0, |loaded| loaded.generation)
    }

    /// How many lists it holds.
    pub(crate) fn len(&self) -> usize {
        self.current
            .load()
            .as_ref()
            .map_or(0, |loaded| loaded.lists.len())
    }

    /// When the first of its lists is due to be followed by another.
    pub(crate) fn ends(&self) -> Option<SystemTime> {
        let loaded = self.loaded();
        let lists = loaded.iter().flat_map(|loaded| &loaded.lists);
        lists.map(|list| list.next_update()).min()
    }

    /// The name for people and metrics; the places that certificates name share one, for they are not of our making.
    pub(crate) fn name(&self) -> &str {
        match &self.place {
            Place::Document(name, _) | Place::Url(name, NamedBy::Configuration) => name,
            Place::Url(_, NamedBy::Certificate) => "distribution-points",
        }
    }

    /// Why the last fetch failed.
    pub(crate) fn last_fault(&self) -> Option<String> {
        self.attempts().last_fault.clone()
    }

    /// True when it was asked once, whatever came of it.
    pub(super) fn was_tried(&self) -> bool {
        self.current.load().is_some() || self.attempts().last_fault.is_some()
    }

    /// Installs lists under a generation drawn by `next_generation`, unless they are what is held or older.
    pub(super) fn install(
        &self,
        document: Bytes,
        lists: Vec<RevocationList>,
        now: SystemTime,
        next_generation: impl FnOnce() -> u64,
    ) -> Arrival {
        let present = self.current.load_full();
        if present.as_ref().is_some_and(|held| held.document == document) {
            return Arrival::Unchanged;
        }
        let mut lists: Vec<_> = lists.into_iter().map(Arc::new).collect();
        for held in present.iter().flat_map(|present| &present.lists) {
            let signers = held.proven_signers();
            if signers.is_empty() || held.next_update() <= now {
                continue;
            }
            // Held and proven: only a list of the same signer may take its place. Another one may be a forgery on the
            // way here, and stands beside it; it counts for nothing unless it is signed by an issuer.
            let of_signer = |list: &RevocationList| signers.iter().any(|key| list.is_signed_by(key));
            let replaced = lists
                .iter()
                .position(|list| list.newer_than(held).is_some() && of_signer(list));
            match replaced {
                Some(position) => {
                    let order = lists.get(position).and_then(|list| list.newer_than(held));
                    if order == Some(Ordering::Less) {
                        // An older list that is still valid may be a replay.
                        return Arrival::Older;
                    }
                }
                None => lists.push(Arc::clone(held)),
            }
        }
        let is_known_stale = lists.iter().any(|list| list.next_update() <= now);
        self.current.store(Some(Arc::new(LoadedLists {
            lists,
            generation: next_generation(),
            document,
            is_known_stale,
        })));
        Arrival::Changed
    }

    /// Notices that a list went past its next update; true the first time, when it got a new generation.
    pub(super) fn note_stale(&self, now: SystemTime, next_generation: impl FnOnce() -> u64) -> bool {
        let Some(loaded) = self.current.load_full() else {
            return false;
        };
        if loaded.is_known_stale || loaded.lists.iter().all(|list| list.next_update() > now) {
            return false;
        }
        self.current.store(Some(Arc::new(LoadedLists {
            lists: loaded.lists.clone(),
            generation: next_generation(),
            document: loaded.document.clone(),
            is_known_stale: true,
        })));
        true
    }

    /// True when it should be fetched now.
    pub(super) fn is_due(&self, now: Instant, wall: SystemTime) -> bool {
        if matches!(self.place, Place::Document(..)) {
            return false;
        }
        let attempts = self.attempts();
        let Some(last) = attempts.last else {
            return true;
        };
        if attempts.is_open {
            return false;
        }
        let pause = match attempts.failures {
            0 => self.refresh_pause(wall),
            failures => Duration::from_secs(1 << failures.min(6)).min(MAX_PAUSE),
        };
        now.saturating_duration_since(last) >= pause
    }

    /// Half of what is left until the next update, so that a fetch that fails is tried again before it.
    fn refresh_pause(&self, wall: SystemTime) -> Duration {
        let left = self.ends().and_then(|end| end.duration_since(wall).ok());
        left.map_or(MAX_PAUSE, |left| (left / 2).clamp(REFRESH_LEAST, REFRESH_MOST))
    }

    pub(super) fn begin(&self, now: Instant) {
        let mut attempts = self.attempts();
        attempts.last = Some(now);
        attempts.is_open = true;
    }

    pub(super) fn succeed(&self) {
        let mut attempts = self.attempts();
        *attempts = Attempts {
            last: attempts.last,
            ..Attempts::default()
        };
    }

    /// Notes a failure; true when it is another one than the last, and worth a line in the log.
    pub(super) fn fail(&self, fault: String) -> bool {
        let mut attempts = self.attempts();
        attempts.is_open = false;
        attempts.failures = attempts.failures.saturating_add(1);
        let is_news = attempts.last_fault.as_ref() != Some(&fault);
        attempts.last_fault = Some(fault);
        is_news
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        // A poisoned lock guards plain values that are whole after every statement.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CrlSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlSlot")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
