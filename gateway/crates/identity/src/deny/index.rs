//! The entries of one source by what they name, so that a million of them cost a request a few look-ups.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::SpiffeId;

use super::entry::DenyEntry;
use super::name::{DenyKind, DenyName, TokenNames, Wildcard};

/// Where in the list of entries the one for a value stands.
type Places = HashMap<Arc<str>, usize>;

/// The entries of one source; never changed once built.
#[derive(Debug, Default)]
pub struct DenyIndex {
    entries: Vec<DenyEntry>,
    jti: Scoped,
    sub: Scoped,
    sid: Scoped,
    serial: Scoped,
    /// By trust domain.
    spiffe: HashMap<Arc<str>, Workloads>,
    /// A digest of what names certificates and until when, whatever its order.
    certificates: u64,
    /// How many entries held when it was built.
    held: Held,
}

/// How many entries deny at a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Held([usize; DenyKind::ALL.len()]);

impl Held {
    /// Those of a kind.
    #[must_use]
    pub fn of(&self, kind: DenyKind) -> usize {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    /// True when there is more of any kind than there was.
    pub(super) fn exceeds(&self, before: &Self) -> bool {
        self.0.iter().zip(before.0).any(|(now, before)| *now > before)
    }
}

/// Values that are meant everywhere, and those that are meant within one issuer or trust.
#[derive(Debug, Default)]
struct Scoped {
    everywhere: Places,
    within: HashMap<Arc<str>, Places>,
}

/// The workloads of one trust domain, by path.
#[derive(Debug, Default)]
struct Workloads {
    exact: Places,
    /// By what stands before the `*`.
    one: Places,
    /// By what stands before the `**`; empty for the whole domain.
    rest: Places,
}

impl DenyIndex {
    /// An index over entries; of several with one name the longest remains.
    ///
    /// Those that have ended stay: a clock that was set ahead by mistake must not lift for good what holds again once
    /// it is right.
    #[must_use]
    pub fn new(entries: Vec<DenyEntry>, now: SystemTime) -> Self {
        let mut index = Self {
            entries: Vec::with_capacity(entries.len()),
            ..Self::default()
        };
        for entry in entries {
            index.insert(entry);
        }
        index.entries.shrink_to_fit();
        index.certificates = index
            .entries
            .iter()
            .fold(0, |sum, entry| sum.wrapping_add(digest_of_certificates(entry)));
        index.held = index.count(now);
        index
    }

    /// Every entry, in the order written.
    #[must_use]
    pub fn entries(&self) -> &[DenyEntry] {
        &self.entries
    }

    /// True when there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries deny at this moment.
    #[must_use]
    pub fn count(&self, now: SystemTime) -> Held {
        let mut held = Held::default();
        for entry in self.entries.iter().filter(|entry| entry.holds(now)) {
            if let Some(count) = held.0.get_mut(entry.name.kind() as usize) {
                *count += 1;
            }
        }
        held
    }

    /// How many entries denied when it was built.
    pub(super) const fn held(&self) -> Held {
        self.held
    }

    /// A number that differs between lists that deny different certificates, or the same ones for longer.
    pub(super) const fn certificates(&self) -> u64 {
        self.certificates
    }

    /// The entry that denies a token, if one does.
    #[must_use]
    pub fn denies_token(&self, names: &TokenNames, now: SystemTime) -> Option<&DenyEntry> {
        let issuer = names.issuer.as_str();
        let named = |table: &Scoped, value: &Option<Arc<str>>| match value {
            Some(value) => self.scoped(table, value, issuer, now),
            None => None,
        };
        named(&self.jti, &names.jti)
            .or_else(|| named(&self.sub, &names.sub))
            .or_else(|| named(&self.sid, &names.sid))
            .or_else(|| names.spiffe.as_ref().and_then(|id| self.denies_workload(id, now)))
    }

    /// The entry that denies a certificate by its serial number under a trust, if one does.
    #[must_use]
    pub fn denies_serial(&self, serial: &str, trust: &str, now: SystemTime) -> Option<&DenyEntry> {
        self.scoped(&self.serial, serial, trust, now)
    }

    /// The entry that denies a certificate by its serial number whatever it is presented to, if one does.
    #[must_use]
    pub fn denies_serial_everywhere(&self, serial: &str, now: SystemTime) -> Option<&DenyEntry> {
        self.holding(self.serial.everywhere.get(serial), now)
    }

    /// The entry that denies a workload, if one does.
    #[must_use]
    pub fn denies_workload(&self, id: &SpiffeId, now: SystemTime) -> Option<&DenyEntry> {
        let workloads = self.spiffe.get(id.trust_domain_name())?;
        let path = id.path();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let at = |places: &Places, path: &str| self.holding(places.get(path), now);
        at(&workloads.exact, path)
            .or_else(|| at(&workloads.one, parent))
            .or_else(|| {
                // Every `**` below which the workload stands; none of them is its own path.
                let above = path.rmatch_indices('/').map(|(end, _)| path.get(..end));
                above
                    .take_while(|_| !workloads.rest.is_empty())
                    .find_map(|above| at(&workloads.rest, above?))
            })
    }

    /// The entry with exactly this name, also one that has ended since.
    #[must_use]
    pub fn find(&self, name: &DenyName) -> Option<&DenyEntry> {
        let place = match name.kind() {
            DenyKind::Jti => self.jti.find(name),
            DenyKind::Sub => self.sub.find(name),
            DenyKind::Sid => self.sid.find(name),
            DenyKind::Serial => self.serial.find(name),
            DenyKind::Spiffe => {
                let parts = name.spiffe_parts()?;
                self.spiffe
                    .get(parts.domain)?
                    .places(parts.wildcard)
                    .get(parts.path)
            }
        };
        self.entries.get(*place?)
    }

    fn scoped(&self, table: &Scoped, value: &str, within: &str, now: SystemTime) -> Option<&DenyEntry> {
        self.holding(table.everywhere.get(value), now).or_else(|| {
            let places = table.within.get(within)?;
            self.holding(places.get(value), now)
        })
    }

    fn holding(&self, place: Option<&usize>, now: SystemTime) -> Option<&DenyEntry> {
        self.entries.get(*place?).filter(|entry| entry.holds(now))
    }

    fn insert(&mut self, entry: DenyEntry) {
        let next = self.entries.len();
        let Some((places, key)) = self.table_of(&entry.name) else {
            return;
        };
        match places.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(next);
                self.entries.push(entry);
            }
            Entry::Occupied(occupied) => {
                let place = *occupied.get();
                if let Some(earlier) = self.entries.get_mut(place)
                    && !earlier.outlasts(&entry)
                {
                    *earlier = entry;
                }
            }
        }
    }

    /// The table that a name belongs into, and its key there.
    fn table_of(&mut self, name: &DenyName) -> Option<(&mut Places, Arc<str>)> {
        let table = match name.kind() {
            DenyKind::Jti => &mut self.jti,
            DenyKind::Sub => &mut self.sub,
            DenyKind::Sid => &mut self.sid,
            DenyKind::Serial => &mut self.serial,
            DenyKind::Spiffe => {
                let parts = name.spiffe_parts()?;
                let workloads = self.spiffe.entry(Arc::from(parts.domain)).or_default();
                return Some((workloads.places_mut(parts.wildcard), Arc::from(parts.path)));
            }
        };
        let places = match name.within() {
            None => &mut table.everywhere,
            Some(within) => table.within.entry(Arc::clone(within)).or_default(),
        };
        Some((places, Arc::clone(name.value())))
    }
}

/// What an entry adds to the digest. Its end is part of it: one that had ended and is extended denies again what was
/// verified in between.
fn digest_of_certificates(entry: &DenyEntry) -> u64 {
    if !matches!(entry.name.kind(), DenyKind::Serial | DenyKind::Spiffe) {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    (&entry.name, entry.until).hash(&mut hasher);
    hasher.finish()
}

impl Scoped {
    fn find(&self, name: &DenyName) -> Option<&usize> {
        let places = match name.within() {
            None => &self.everywhere,
            Some(within) => self.within.get(within)?,
        };
        places.get(name.value())
    }
}

impl Workloads {
    const fn places(&self, wildcard: Wildcard) -> &Places {
        match wildcard {
            Wildcard::None => &self.exact,
            Wildcard::One => &self.one,
            Wildcard::Rest => &self.rest,
        }
    }

    const fn places_mut(&mut self, wildcard: Wildcard) -> &mut Places {
        match wildcard {
            Wildcard::None => &mut self.exact,
            Wildcard::One => &mut self.one,
            Wildcard::Rest => &mut self.rest,
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
