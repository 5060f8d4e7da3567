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
    /// A digest of what names certificates, whatever its order.
    certificates: u64,
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
    /// An index over entries. Those that have ended are left out; of several with one name the longest remains.
    #[must_use]
    pub fn new(entries: Vec<DenyEntry>, now: SystemTime) -> Self {
        let mut index = Self {
            entries: Vec::with_capacity(entries.len()),
            ..Self::default()
        };
        for entry in entries {
            if entry.holds(now) {
                index.insert(entry);
            }
        }
        index.entries.shrink_to_fit();
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

    /// How many entries there are of a kind.
    #[must_use]
    pub fn count(&self, kind: DenyKind) -> usize {
        match kind {
            DenyKind::Jti => self.jti.len(),
            DenyKind::Sub => self.sub.len(),
            DenyKind::Sid => self.sid.len(),
            DenyKind::Serial => self.serial.len(),
            DenyKind::Spiffe => self.spiffe.values().map(Workloads::len).sum(),
        }
    }

    /// A number that differs between lists that deny different certificates.
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
                if matches!(entry.name.kind(), DenyKind::Serial | DenyKind::Spiffe) {
                    let mut hasher = DefaultHasher::new();
                    entry.name.hash(&mut hasher);
                    self.certificates = self.certificates.wrapping_add(hasher.finish());
                }
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

impl Scoped {
    fn len(&self) -> usize {
        self.everywhere.len() + self.within.values().map(Places::len).sum::<usize>()
    }

    fn find(&self, name: &DenyName) -> Option<&usize> {
        let places = match name.within() {
            None => &self.everywhere,
            Some(within) => self.within.get(within)?,
        };
        places.get(name.value())
    }
}

impl Workloads {
    fn len(&self) -> usize {
        self.exact.len() + self.one.len() + self.rest.len()
    }

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
