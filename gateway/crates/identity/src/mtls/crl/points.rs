//! The places that certificates name: a bounded number of them, and none for longer than somebody needs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::board::NamedBy;
use super::slot::{CrlSlot, Place};

/// Lists that certificates name, at most: each may be 8 MiB, and an authority shards its lists into a few.
pub(super) const MAX_POINTS: usize = 64;
/// After which a place that no certificate names any more is forgotten, once its list has ended.
pub(super) const POINT_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The places that certificates name.
#[derive(Default)]
pub(super) struct Points(BTreeMap<Arc<str>, Point>);

/// A place that certificates name.
struct Point {
    slot: Arc<CrlSlot>,
    /// When a certificate that names it was looked up last.
    wanted: Instant,
    /// When its list changed last, or ended: whoever rests on it looks it up again from then on.
    changed: Option<Instant>,
}

impl Point {
    /// True when it was not looked up for long, and nothing that is remembered rests on its present list.
    fn is_idle(&self, now: Instant) -> bool {
        let is_looked_up = self.changed.is_some_and(|changed| changed <= self.wanted);
        let since = self.changed.unwrap_or(self.wanted);
        !is_looked_up && now.saturating_duration_since(since) >= POINT_KEPT
    }

    fn is_current(&self, wall: SystemTime) -> bool {
        let loaded = self.slot.loaded();
        let mut lists = loaded.iter().flat_map(|loaded| &loaded.lists);
        lists.any(|list| list.next_update() > wall)
    }
}

impl Points {
    /// The slot of a place that is known, which is wanted once more.
    pub(super) fn find(&mut self, url: &str, now: Instant) -> Option<Arc<CrlSlot>> {
        let point = self.0.get_mut(url)?;
        point.wanted = now;
        Some(Arc::clone(&point.slot))
    }

    /// True when it has place for no other.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_POINTS
    }

    /// A slot for a place that is not known yet.
    pub(super) fn add(&mut self, url: &str, now: Instant) -> Arc<CrlSlot> {
        let url: Arc<str> = Arc::from(url);
        let slot = Arc::new(CrlSlot::new(Place::Url(Arc::clone(&url), NamedBy::Certificate)));
        let point = Point {
            slot: Arc::clone(&slot),
            wanted: now,
            changed: None,
        };
        self.0.insert(url, point);
        slot
    }

    /// Notes that the list of a place changed or ended.
    pub(super) fn note_change(&mut self, url: &str, now: Instant) {
        if let Some(point) = self.0.get_mut(url) {
            point.changed = Some(now);
        }
    }

    /// Forgets the places that nobody needs any more; true when there were any.
    pub(super) fn sweep(&mut self, now: Instant, wall: SystemTime) -> bool {
        let before = self.0.len();
        self.0
            .retain(|_, point| !point.is_idle(now) || point.is_current(wall));
        self.0.len() < before
    }

    /// Forgets the place that was not looked up for longest, although its list is current; false when all are in use.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        let idle = self.0.iter().filter(|(_, point)| point.is_idle(now));
        let longest = idle.min_by_key(|(_, point)| point.wanted);
        let Some(url) = longest.map(|(url, _)| Arc::clone(url)) else {
            return false;
        };
        self.0.remove(&url).is_some()
    }

    /// The addresses, in their order.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}
