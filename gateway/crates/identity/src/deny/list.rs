//! The deny list of this moment, swapped whole, from both of its sources.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use portcullis_model::TrustId;

use super::entry::{DenyEntry, DenySource};
use super::index::{DenyIndex, Held};
use super::metrics::DenyMetrics;
use super::name::TokenNames;
use crate::mtls::PeerIdentity;
use crate::pulse::Pulse;

/// Most entries that the admin port holds: it is for what cannot wait, the file for what lasts.
pub const MAX_ADMIN_ENTRIES: usize = 10_000;
/// How long an entry of the admin port that has ended is kept, by a clock that nobody sets: the other one may have
/// been set ahead by mistake.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Which source of the list is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The operator's file.
    File,
    /// The admin port.
    Admin,
}

impl Side {
    /// The word used in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Admin => "admin",
        }
    }
}

/// What became of an entry for the admin port's side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Added {
    /// It holds now, by this id.
    New(Arc<str>),
    /// It took the place of an entry with the same name.
    Replaced(Arc<str>),
    /// There are [`MAX_ADMIN_ENTRIES`] already.
    Full,
}

/// What became of an entry that was to be taken back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Removed {
    /// It does not hold any more.
    Gone(DenyEntry),
    /// The admin port has no entry with this id.
    Unknown,
}

/// Who is refused although the credential is right.
pub struct DenyList {
    /// False while both sides are empty; what every request looks at first.
    is_in_use: AtomicBool,
    /// How often the certificates changed that are denied.
    certificates: AtomicU64,
    sides: ArcSwap<Sides>,
    /// One change at a time.
    turn: Mutex<Turn>,
    metrics: DenyMetrics,
    pulse: Arc<Pulse>,
}

/// What whoever changes the list remembers from change to change.
#[derive(Default)]
struct Turn {
    /// How many entries of each side held when that was counted last.
    file: Held,
    admin: Held,
    /// Since when an entry of the admin port has ended, by its id.
    ended: HashMap<Arc<str>, Instant>,
}

#[derive(Clone, Default)]
struct Sides {
    file: Arc<DenyIndex>,
    admin: Arc<DenyIndex>,
}

impl Sides {
    const fn of(&self, side: Side) -> &Arc<DenyIndex> {
        match side {
            Side::File => &self.file,
            Side::Admin => &self.admin,
        }
    }
}

impl Turn {
    const fn held(&mut self, side: Side) -> &mut Held {
        match side {
            Side::File => &mut self.file,
            Side::Admin => &mut self.admin,
        }
    }
}

impl DenyList {
    /// An empty list; every change beats the pulse.
    #[must_use]
    pub fn new(pulse: Arc<Pulse>) -> Self {
        let metrics = DenyMetrics::new();
        for side in [Side::File, Side::Admin] {
            metrics.show(side.as_str(), &Held::default());
        }
        Self {
            is_in_use: AtomicBool::new(false),
            certificates: AtomicU64::new(0),
            sides: ArcSwap::default(),
            turn: Mutex::default(),
            metrics,
            pulse,
        }
    }

    /// What is counted.
    #[must_use]
    pub const fn metrics(&self) -> &DenyMetrics {
        &self.metrics
    }

    /// The entry that denies a token that was verified, if one does; counted as a hit.
    #[must_use]
    pub fn denies_token(&self, names: &TokenNames, now: SystemTime) -> Option<Arc<DenyEntry>> {
        self.ask(|index| index.denies_token(names, now))
    }

    /// The entry that denies a certificate that was verified, by serial number under this trust or by SPIFFE ID, if
    /// one does; counted as a hit.
    #[must_use]
    pub fn denies_certificate(
        &self,
        peer: &PeerIdentity,
        trust: &TrustId,
        now: SystemTime,
    ) -> Option<Arc<DenyEntry>> {
        self.ask(|index| {
            let workload = || peer.spiffe_id.as_ref().ok();
            index
                .denies_serial(&peer.serial, trust.as_str(), now)
                .or_else(|| index.denies_workload(workload()?, now))
        })
    }

    /// The entry that denies the certificate of an endpoint, if one does; counted as a hit. Endpoints are verified
    /// under no trust of the configuration's, so that what is meant within one does not mean them.
    #[must_use]
    pub fn denies_endpoint(&self, peer: &PeerIdentity, now: SystemTime) -> Option<Arc<DenyEntry>> {
        self.ask(|index| {
            let workload = || peer.spiffe_id.as_ref().ok();
            index
                .denies_serial_everywhere(&peer.serial, now)
                .or_else(|| index.denies_workload(workload()?, now))
        })
    }

    /// True while there is any entry.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.is_in_use.load(Ordering::Acquire)
    }

    /// Grows whenever other certificates are denied than before: what was verified under another number is to be
    /// verified again.
    #[must_use]
    pub fn certificates(&self) -> u64 {
        self.certificates.load(Ordering::Acquire)
    }

    /// The entries of one side as they are now.
    #[must_use]
    pub fn entries(&self, side: Side) -> Arc<DenyIndex> {
        Arc::clone(self.sides.load().of(side))
    }

    /// Replaces one side whole and gives the one before back: freeing a million entries takes its time, and must not
    /// happen to the request that looked at them last.
    pub fn publish(&self, side: Side, index: DenyIndex) -> Arc<DenyIndex> {
        let mut turn = self.take_turn();
        let before = self.entries(side);
        self.swap(side, index, &mut turn);
        before
    }

    /// Adds an entry to the admin port's side; one with the same name gives way to it.
    pub fn add(&self, mut entry: DenyEntry, now: SystemTime) -> Added {
        let mut turn = self.take_turn();
        let id: Arc<str> = Arc::from(entry.name.id());
        entry.source = DenySource::Admin { id: Arc::clone(&id) };
        let mut entries: Vec<DenyEntry> = self.entries(Side::Admin).entries().to_vec();
        let before = entries.len();
        entries.retain(|one| one.name != entry.name);
        let is_new = entries.len() == before;
        if entries.len() >= MAX_ADMIN_ENTRIES {
            // Whatever has ended gives way, one for one: the longest ago first.
            let ended = entries.iter().enumerate().filter(|(_, one)| !one.holds(now));
            let Some((place, _)) = ended.min_by_key(|(_, one)| one.until) else {
                return Added::Full;
            };
            entries.remove(place);
        }
        entries.push(entry);
        self.swap(Side::Admin, DenyIndex::new(entries, now), &mut turn);
        if is_new {
            Added::New(id)
        } else {
            Added::Replaced(id)
        }
    }

    /// Takes an entry of the admin port back.
    pub fn remove(&self, id: &str, now: SystemTime) -> Removed {
        let mut turn = self.take_turn();
        let mut entries: Vec<DenyEntry> = self.entries(Side::Admin).entries().to_vec();
        let is_it =
            |entry: &DenyEntry| matches!(&entry.source, DenySource::Admin { id: its } if **its == *id);
        let Some(place) = entries.iter().position(is_it) else {
            return Removed::Unknown;
        };
        let gone = entries.remove(place);
        self.swap(Side::Admin, DenyIndex::new(entries, now), &mut turn);
        Removed::Gone(gone)
    }

    /// Follows the clocks between changes: shows how many entries hold, asks again for what lives when some hold that
    /// did not (the clock was set back), and forgets those of the admin port that have ended a day ago. The file's
    /// stay as long as they stand in it. True when the admin port's side changed.
    pub fn follow_clock(&self, now: SystemTime, mono: Instant) -> bool {
        let mut turn = self.take_turn();
        let is_shorter = self.forget_ended(now, mono, &mut turn);
        let mut hold_again = false;
        for side in [Side::File, Side::Admin] {
            let held = self.entries(side).count(now);
            self.metrics.show(side.as_str(), &held);
            hold_again |= held.exceeds(turn.held(side));
            *turn.held(side) = held;
        }
        if hold_again {
            self.certificates.fetch_add(1, Ordering::AcqRel);
            self.pulse.beat();
        }
        is_shorter
    }

    /// Drops what has ended at every look for a day.
    fn forget_ended(&self, now: SystemTime, mono: Instant, turn: &mut Turn) -> bool {
        let admin = self.entries(Side::Admin);
        let mut ended = HashMap::new();
        let mut kept = Vec::with_capacity(admin.entries().len());
        for entry in admin.entries() {
            let DenySource::Admin { id } = &entry.source else {
                kept.push(entry.clone());
                continue;
            };
            if entry.holds(now) {
                kept.push(entry.clone());
                continue;
            }
            let since = turn.ended.get(id).copied().unwrap_or(mono);
            if mono.saturating_duration_since(since) < KEPT {
                ended.insert(Arc::clone(id), since);
                kept.push(entry.clone());
            }
        }
        turn.ended = ended;
        let is_shorter = kept.len() < admin.entries().len();
        if is_shorter {
            self.swap(Side::Admin, DenyIndex::new(kept, now), turn);
        }
        is_shorter
    }

    fn ask(&self, look: impl Fn(&DenyIndex) -> Option<&DenyEntry>) -> Option<Arc<DenyEntry>> {
        if !self.is_in_use() {
            return None;
        }
        let sides = self.sides.load();
        let entry = look(&sides.file).or_else(|| look(&sides.admin))?;
        self.metrics
            .hits
            .with_label_values(&[entry.name.kind().as_str()])
            .inc();
        Some(Arc::new(entry.clone()))
    }

    fn take_turn(&self) -> MutexGuard<'_, Turn> {
        // The list is swapped whole, so a turn that panicked left a whole list behind.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps one side in; the caller has the turn.
    fn swap(&self, side: Side, index: DenyIndex, turn: &mut Turn) {
        *turn.held(side) = index.held();
        self.metrics.show(side.as_str(), &index.held());
        let mut sides = Sides::clone(&self.sides.load());
        let are_others = sides.of(side).certificates() != index.certificates();
        match side {
            Side::File => sides.file = Arc::new(index),
            Side::Admin => sides.admin = Arc::new(index),
        }
        let is_in_use = !sides.file.is_empty() || !sides.admin.is_empty();
        // Who sees the flag sees the list that it was set for; who misses a list that just emptied asks it in vain.
        self.sides.store(Arc::new(sides));
        self.is_in_use.store(is_in_use, Ordering::Release);
        if are_others {
            self.certificates.fetch_add(1, Ordering::AcqRel);
        }
        self.pulse.beat();
    }
}

impl fmt::Debug for DenyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = self.sides.load();
        f.debug_struct("DenyList")
            .field("file", &sides.file.entries().len())
            .field("admin", &sides.admin.entries().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
