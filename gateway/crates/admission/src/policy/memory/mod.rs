//! Remembered decisions: the same facts get the same decision without asking the engine again.
//!
//! A policy without clock and randomness decides by its text, its data and what it reads of `input`. Text and data
//! belong to the compiled policy, and so does its memory: a changed policy is compiled anew and begins with an empty
//! one, so that no decision outlives what made it. What it can read is known when it is compiled (`rego::reads`), and
//! exactly these values are the key (`key`), compared in full: no two different requests ever share an entry, whatever
//! a client sends. Only decisions are remembered, never faults.

mod key;
mod read_set;
mod terms;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, Weighter};

use super::decision::Decision;
use super::input::Document;
use key::Key;

pub(super) use read_set::{FactPath, ReadSet, Step};
pub(super) use terms::terms;
pub use terms::{Obstacle, Remembering};

/// Memory for one policy's decisions, in bytes, by a cautious estimate of each.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The bound on their number.
const MAX_ENTRIES: usize = 32 * 1024;

/// The least that an entry counts for, so that the bytes bound the number too.
const MIN_ENTRY: u64 = MAX_BYTES / MAX_ENTRIES as u64;

/// What an entry costs beside its key and its decision's texts.
const ENTRY: usize = 256;

/// What one header field of a decision costs beside its bytes.
const FIELD: usize = 96;

/// Whether a decision came out of memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recall {
    /// The policy is evaluated every time.
    Never,
    /// Its decisions are remembered, and this one was evaluated because it was asked for afresh.
    Fresh,
    /// It was remembered.
    Hit,
    /// It was evaluated and, unless it failed, is remembered now.
    Miss {
        /// Decisions that had to be forgotten for it.
        evicted: u64,
    },
}

/// The decisions of one compiled policy.
pub(super) struct Memory {
    reads: ReadSet,
    decisions: Cache<Box<[u8]>, Arc<Decision>, ByBytes, RandomState, CountEvictions>,
}

impl Memory {
    /// An empty memory for a policy that can read these facts.
    pub(super) fn new(reads: ReadSet) -> Self {
        Self::bounded(reads, MAX_ENTRIES, MAX_BYTES)
    }

    fn bounded(reads: ReadSet, entries: usize, bytes: u64) -> Self {
        Self {
            reads,
            // The keyed hasher of the standard library: clients choose what is hashed here.
            decisions: Cache::with(entries, bytes, ByBytes, RandomState::new(), CountEvictions),
        }
    }

    /// What the decisions are remembered under.
    pub(super) const fn reads(&self) -> &ReadSet {
        &self.reads
    }

    /// The remembered decision, or what `evaluate` decides now.
    pub(super) fn recall<F>(
        &self,
        document: &Document<'_>,
        evaluate: impl FnOnce() -> Result<Decision, F>,
    ) -> (Result<Arc<Decision>, F>, Recall) {
        let Some(key) = Key::of(document, &self.reads) else {
            return (evaluate().map(Arc::new), Recall::Miss { evicted: 0 });
        };
        if let Some(decision) = self.decisions.get(key.as_bytes()) {
            return (Ok(decision), Recall::Hit);
        }
        let decision = match evaluate() {
            Ok(decision) => Arc::new(decision),
            Err(fault) => return (Err(fault), Recall::Miss { evicted: 0 }),
        };
        let mut evicted = 0;
        self.decisions
            .insert_with_lifecycle(key.as_bytes().into(), Arc::clone(&decision), &mut evicted);
        (Ok(decision), Recall::Miss { evicted })
    }

    /// How many decisions are remembered.
    pub(super) fn len(&self) -> usize {
        self.decisions.len()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("reads", &self.reads.paths())
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<[u8]>, Arc<Decision>> for ByBytes {
    fn weight(&self, key: &Box<[u8]>, decision: &Arc<Decision>) -> u64 {
        let fields = decision.headers.iter().chain(&decision.request_headers);
        let fields: usize = fields
            .map(|(name, value)| FIELD + name.as_str().len() + value.len())
            .sum();
        let reason = decision.reason.as_ref().map_or(0, String::len);
        u64::try_from(ENTRY + key.len() + reason + fields)
            .unwrap_or(u64::MAX)
            .max(MIN_ENTRY)
    }
}

/// Counts what an insertion pushes out.
#[derive(Clone)]
struct CountEvictions;

impl Lifecycle<Box<[u8]>, Arc<Decision>> for CountEvictions {
    type RequestState = u64;

    fn on_evict(&self, evicted: &mut u64, _: Box<[u8]>, _: Arc<Decision>) {
        *evicted = evicted.saturating_add(1);
    }
}

#[cfg(test)]
mod generated;
#[cfg(test)]
#[path = "property_tests.rs"]
mod property;
#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
