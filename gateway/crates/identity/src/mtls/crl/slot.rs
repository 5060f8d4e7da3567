//! The lists from one place: what was loaded, and when to ask again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::arrival::{Arrival, merge};
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
    /// The document that they are, where all of it was taken.
    document: Option<Bytes>,
    /// How many of them are known to be past their next update.
    stale: usize,
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

    /// Where it is, in full.
    pub(super) fn address(&self) -> &str {
        match &self.place {
            Place::Document(address, _) | Place::Url(address, _) => address,
        }
    }

    /// Why the last fetch failed, or what it left out.
    pub(crate) fn last_fault(&self) -> Option<String> {
        self.attempts().last_fault.clone()
    }

    /// True when it was asked once, whatever came of it.
    pub(super) fn was_tried(&self) -> bool {
        self.current.load().is_some() || self.attempts().last_fault.is_some()
    }

    /// True when this is the document whose lists it holds.
    pub(super) fn holds(&self, document: &Bytes) -> bool {
        let current = self.current.load();
        let held = current.as_ref().and_then(|loaded| loaded.document.as_ref());
        held == Some(document)
    }

    /// Installs the lists of a document, as many as there is room for, under a generation drawn by `next_generation`.
    /// What is held and was proven stays until a newer list of its signer takes its place.
    pub(super) fn install(
        &self,
        document: Bytes,
        lists: Vec<RevocationList>,
        room: usize,
        now: SystemTime,
        next_generation: impl FnOnce() -> u64,
    ) -> Arrival {
        let present = self.current.load_full();
        let held = present.as_ref().map_or(&[][..], |present| &present.lists);
        let (lists, arrival) = merge(held, lists, room);
        if lists.is_empty() {
            return arrival;
        }
        let generation = match &present {
            Some(present) if !arrival.is_changed => present.generation,
            Some(_) | None => next_generation(),
        };
        // A document of which something was left out is looked through again when it comes again.
        let is_whole = arrival.older == 0 && arrival.beyond == 0;
        self.current.store(Some(Arc::new(LoadedLists {
            generation,
            document: is_whole.then_some(document),
            stale: stale(&lists, now),
            lists,
        })));
        arrival
    }

    /// Notices that lists went past their next update, or are current again because the clock was set back: how many
    /// are stale now, when that is news. What is held then has a new generation.
    pub(super) fn note_stale(&self, now: SystemTime, next_generation: impl FnOnce() -> u64) -> Option<usize> {
        let loaded = self.current.load_full()?;
        let stale = stale(&loaded.lists, now);
        if loaded.stale == stale {
            return None;
        }
        self.current.store(Some(Arc::new(LoadedLists {
            lists: loaded.lists.clone(),
            generation: next_generation(),
            document: loaded.document.clone(),
            stale,
        })));
        Some(stale)
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

    /// Notes that a document came, and what is wrong with it all the same; true when that is worth a line in the log.
    pub(super) fn succeed(&self, fault: Option<String>) -> bool {
        let mut attempts = self.attempts();
        let is_news = fault.is_some() && attempts.last_fault != fault;
        *attempts = Attempts {
            last: attempts.last,
            last_fault: fault,
            ..Attempts::default()
        };
        is_news
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

fn stale(lists: &[Arc<RevocationList>], now: SystemTime) -> usize {
    lists.iter().filter(|list| list.next_update() <= now).count()
}

impl fmt::Debug for CrlSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlSlot")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
