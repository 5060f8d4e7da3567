//! What the traffic's door and `explain` hold: the current snapshot, the boards, and where records go.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::boards::Boards;
use crate::connection::ConnectionFacts;
use crate::context::Now;
use crate::exchange::Exchange;
use crate::record::RecordSink;
use crate::snapshot::{Snapshot, SnapshotStore};

/// The hall, ready to take requests.
pub struct Gateway {
    store: Arc<SnapshotStore>,
    boards: Arc<Boards>,
    sink: Arc<dyn RecordSink>,
    clock: fn() -> Now,
    random: fn() -> u64,
    apart: Option<Clocks>,
}

/// Each clock by itself: the monotonic one and the wall's.
type Clocks = (fn() -> Instant, fn() -> SystemTime);

impl Gateway {
    /// Puts a gateway together; `clock` and `random` are given so that nothing here reads either.
    #[must_use]
    pub fn new(
        store: Arc<SnapshotStore>,
        boards: Arc<Boards>,
        sink: Arc<dyn RecordSink>,
        clock: fn() -> Now,
        random: fn() -> u64,
    ) -> Self {
        Self {
            store,
            boards,
            sink,
            clock,
            random,
            apart: None,
        }
    }

    /// Gives each clock by itself: most stages need one of them, and reading both costs twice.
    #[must_use]
    pub const fn with_clocks(mut self, mono: fn() -> Instant, wall: fn() -> SystemTime) -> Self {
        self.apart = Some((mono, wall));
        self
    }

    /// `begin`: one snapshot, one id, one draw, one start time.
    #[must_use]
    pub fn begin(self: &Arc<Self>, connection: Arc<ConnectionFacts>) -> Exchange {
        Exchange::begin(Arc::clone(self), connection)
    }

    /// The snapshot of now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.store.load()
    }

    /// Where snapshots are published.
    #[must_use]
    pub const fn store(&self) -> &Arc<SnapshotStore> {
        &self.store
    }

    /// What outlives reloads.
    #[must_use]
    pub const fn boards(&self) -> &Arc<Boards> {
        &self.boards
    }

    /// Where records go.
    #[must_use]
    pub fn sink(&self) -> &dyn RecordSink {
        &*self.sink
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        (self.clock)()
    }

    /// The monotonic clock.
    #[must_use]
    pub fn mono(&self) -> Instant {
        match self.apart {
            Some((mono, _)) => mono(),
            None => self.now().mono,
        }
    }

    /// The wall's clock.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        match self.apart {
            Some((_, wall)) => wall(),
            None => self.now().wall,
        }
    }

    /// A fresh random number.
    #[must_use]
    pub fn random(&self) -> u64 {
        (self.random)()
    }
}
