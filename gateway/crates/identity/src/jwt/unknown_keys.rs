//! Key ids that were asked for and that no fetch brought: asking the issuer again at once would bring nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Most ids remembered. When more are invented, the rest are as good as new, and a new one costs at most what any
/// unknown id costs: one fetch in a cooldown.
const MAX_IDS: usize = 1024;
/// For how many cooldowns an id is taken for unknown: an issuer may sign with a key a little before its key set
/// says so everywhere.
const COOLDOWNS: u32 = 6;

/// Unknown key ids, by a keyed digest that nobody outside can aim at.
#[derive(Clone, Debug, Default)]
pub(super) struct UnknownKeys {
    hasher: RandomState,
    /// When each was first asked for.
    asked: HashMap<u64, Instant>,
}

impl UnknownKeys {
    /// Notes that somebody asks for the id. True when a key set was fetched since it was first asked for, so that
    /// the id is known to be unknown for a while.
    pub(super) fn was_answered(
        &mut self,
        id: &str,
        now: Instant,
        fetched: Option<Instant>,
        cooldown: Duration,
    ) -> bool {
        let lasts = cooldown * COOLDOWNS;
        let is_current = |asked: &Instant| now.saturating_duration_since(*asked) < lasts;
        let digest = self.hasher.hash_one(id);
        if let Some(asked) = self.asked.get(&digest).filter(|asked| is_current(asked)) {
            return fetched.is_some_and(|fetched| fetched >= *asked);
        }
        if self.asked.len() >= MAX_IDS && !self.asked.contains_key(&digest) {
            self.asked.retain(|_, asked| is_current(asked));
        }
        if self.asked.len() < MAX_IDS || self.asked.contains_key(&digest) {
            self.asked.insert(digest, now);
        }
        false
    }

    /// New keys arrived: every id is worth asking for again.
    pub(super) fn forget(&mut self) {
        self.asked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOLDOWN: Duration = Duration::from_secs(10);

    #[test]
    fn an_id_is_unknown_once_a_fetch_did_not_bring_it_and_worth_asking_for_later() {
        let (mut unknown, start) = (UnknownKeys::default(), Instant::now());
        let later = start + Duration::from_secs(1);

        assert!(!unknown.was_answered("a", start, None, COOLDOWN));
        assert!(!unknown.was_answered("a", later, None, COOLDOWN));
        assert!(unknown.was_answered("a", later, Some(later), COOLDOWN));
        assert!(!unknown.was_answered("b", later, Some(start), COOLDOWN));
        assert!(!unknown.was_answered("a", start + COOLDOWN * COOLDOWNS, Some(later), COOLDOWN));
    }

    #[test]
    fn a_fetch_that_began_before_the_id_was_asked_for_says_nothing_about_it() {
        let (mut unknown, start) = (UnknownKeys::default(), Instant::now());
        let asked = start + Duration::from_secs(1);

        assert!(!unknown.was_answered("a", asked, Some(start), COOLDOWN));
        assert!(!unknown.was_answered("a", asked, Some(start), COOLDOWN));
    }

    #[test]
    fn the_memory_of_invented_ids_is_bounded() {
        let (mut unknown, start) = (UnknownKeys::default(), Instant::now());

        for number in 0..100_000 {
            unknown.was_answered(&format!("invented-{number}"), start, None, COOLDOWN);
        }

        assert_eq!(unknown.asked.len(), MAX_IDS);
        assert!(unknown.asked.capacity() <= 4 * MAX_IDS);
        let late = start + COOLDOWN * COOLDOWNS;
        assert!(!unknown.was_answered("new", late, None, COOLDOWN));
        assert_eq!(unknown.asked.len(), 1);
    }
}
