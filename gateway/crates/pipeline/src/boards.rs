//! What outlives a reload: evidence, buckets, keys. Boards hold no configuration; snapshots hold no counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_admission::limit::LimitTable;

/// Every long-lived board.
#[derive(Clone)]
pub struct Boards {
    /// Keys, verified tokens, workload identity.
    pub identity: portcullis_identity::Boards,
    /// Health, addresses, retry budgets.
    pub routing: portcullis_routing::Boards,
    /// Rate limit buckets.
    pub limits: Arc<LimitTable>,
    /// How many bytes of bodies are held.
    pub held: Arc<HeldBodies>,
}

/// The sum of all bodies held until they are judged.
#[derive(Debug, Default)]
pub struct HeldBodies {
    bytes: AtomicU64,
}

impl HeldBodies {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes room for more bytes under a ceiling; false, and nothing taken, when there is none.
    pub(crate) fn take(&self, bytes: u64, ceiling: u64) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > ceiling {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Room taken for one body; given back when dropped.
#[derive(Debug)]
pub(crate) struct HeldShare {
    board: Arc<HeldBodies>,
    bytes: u64,
    ceiling: u64,
}

impl HeldShare {
    /// Nothing taken yet.
    pub(crate) const fn new(board: Arc<HeldBodies>, ceiling: u64) -> Self {
        Self {
            board,
            bytes: 0,
            ceiling,
        }
    }

    /// Takes room for more bytes; false when there is none.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let is_taken = self.board.take(bytes, self.ceiling);
        if is_taken {
            self.bytes += bytes;
        }
        is_taken
    }
}

impl HeldShare {
    /// Gives all of it back.
    pub(crate) fn release(&mut self) {
        self.board.give_back(std::mem::take(&mut self.bytes));
    }
}

impl Drop for HeldShare {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_bodies_stop_at_the_ceiling_and_come_back() {
        let board = Arc::new(HeldBodies::new());
        let mut share = HeldShare::new(Arc::clone(&board), 100);

        assert!(share.grow(60));
        assert!(!share.grow(60));
        assert_eq!(board.bytes(), 60);
        drop(share);
        assert_eq!(board.bytes(), 0);
    }
}
