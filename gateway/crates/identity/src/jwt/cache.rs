//! Tokens whose signature was checked, so that the next request with one costs a digest and a look-up.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::Principal;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::deny::TokenNames;

/// Memory for remembered tokens, by a cautious estimate of each; about sixteen thousand common ones.
const MAX_WEIGHT: u64 = 48 * 1024 * 1024;
/// How many entries the table expects.
const EXPECTED: usize = 16 * 1024;
/// What an entry costs beside its claims.
const ENTRY: u64 = 1024;

/// Verified tokens, bounded in memory.
///
/// The key holds the SHA-256 of the token, the issuer's configuration and the generation of its key set: when one
/// of them changes, nothing remembered before it can be found.
pub struct TokenCache {
    entries: Cache<TokenKey, Arc<Verified>, ByWeight>,
}

/// What a verdict depends on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct TokenKey {
    pub(crate) token: [u8; 32],
    pub(crate) issuer: [u8; 32],
    pub(crate) generation: u64,
}

/// A token that was verified, and what it proves while its window is open.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) principal: Principal,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    /// What the deny list may name of it.
    pub(crate) names: TokenNames,
    /// The token's size.
    pub(crate) weight: usize,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<TokenKey, Arc<Verified>> for ByWeight {
    /// Parsed claims take a few times the token's size.
    fn weight(&self, _key: &TokenKey, verified: &Arc<Verified>) -> u64 {
        ENTRY + 4 * verified.weight as u64
    }
}

impl TokenCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: Cache::with_weighter(EXPECTED, MAX_WEIGHT, ByWeight),
        }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn find(&self, key: &TokenKey) -> Option<Arc<Verified>> {
        self.entries.get(key)
    }

    pub(crate) fn remember(&self, key: TokenKey, verified: Arc<Verified>) {
        self.entries.insert(key, verified);
    }

    pub(crate) fn forget(&self, key: &TokenKey) {
        self.entries.remove(key);
    }
}

impl Default for TokenCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
