//! The deny list of this moment, swapped whole, from both of its sources.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use portcullis_model::TrustId;

use super::entry::{DenyEntry, DenySource};
use super::index::DenyIndex;
use super::metrics::DenyMetrics;
use super::name::TokenNames;
use crate::mtls::PeerIdentity;
use crate::pulse::Pulse;

/// Most entries that the admin port holds: it is for what cannot wait, the file for what lasts.
pub const MAX_ADMIN_ENTRIES: usize = 10_000;
/// A list that has less than one ended entry in so many is left as it is: an ended entry denies nobody anyway.
const WORTH_SWEEPING: usize = 8;

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
    turn: Mutex<()>,
    metrics: DenyMetrics,
    pulse: Arc<Pulse>,
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

impl DenyList {
    /// An empty list; every change beats the pulse.
    #[must_use]
    pub fn new(pulse: Arc<Pulse>) -> Self {
        let metrics = DenyMetrics::new();
        for side in [Side::File, Side::Admin] {
            metrics.show(side.as_str(), &DenyIndex::default());
        }
        Self {
            is_in_use: AtomicBool::new(false),
            certificates: AtomicU64::new(0),
            sides: ArcSwap::default(),
            turn: Mutex::new(()),
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
        let _turn = self.take_turn();
        let before = self.entries(side);
        self.swap(side, index);
        before
    }

    /// Adds an entry to the admin port's side; one with the same name gives way to it.
    pub fn add(&self, mut entry: DenyEntry, now: SystemTime) -> Added {
        let _turn = self.take_turn();
        let id: Arc<str> = Arc::from(entry.name.id());
        entry.source = DenySource::Admin { id: Arc::clone(&id) };
        let mut entries: Vec<DenyEntry> = self.entries(Side::Admin).entries().to_vec();
        let before = entries.len();
        entries.retain(|one| one.name != entry.name);
        let is_new = entries.len() == before;
        entries.retain(|one| one.holds(now));
        if entries.len() >= MAX_ADMIN_ENTRIES {
            return Added::Full;
        }
        entries.push(entry);
        self.swap(Side::Admin, DenyIndex::new(entries, now));
        if is_new {
            Added::New(id)
        } else {
            Added::Replaced(id)
        }
    }

    /// Takes an entry of the admin port back.
    pub fn remove(&self, id: &str, now: SystemTime) -> Removed {
        let _turn = self.take_turn();
        let mut entries: Vec<DenyEntry> = self.entries(Side::Admin).entries().to_vec();
        let is_it =
            |entry: &DenyEntry| matches!(&entry.source, DenySource::Admin { id: its } if **its == *id);
        let Some(place) = entries.iter().position(is_it) else {
            return Removed::Unknown;
        };
        let gone = entries.remove(place);
        self.swap(Side::Admin, DenyIndex::new(entries, now));
        Removed::Gone(gone)
    }

    /// Drops entries that have ended, where they are worth the work; the sides that changed.
    pub fn sweep(&self, now: SystemTime) -> Vec<Side> {
        let _turn = self.take_turn();
        let mut swept = Vec::new();
        for side in [Side::File, Side::Admin] {
            let index = self.entries(side);
            let ended = index.entries().iter().filter(|entry| !entry.holds(now)).count();
            if ended * WORTH_SWEEPING >= index.entries().len().max(1) {
                self.swap(side, DenyIndex::new(index.entries().to_vec(), now));
                swept.push(side);
            }
        }
        swept
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

    fn take_turn(&self) -> std::sync::MutexGuard<'_, ()> {
        // The list is swapped whole, so a turn that panicked left a whole list behind.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps one side in; the caller has the turn.
    fn swap(&self, side: Side, index: DenyIndex) {
        self.metrics.show(side.as_str(), &index);
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
