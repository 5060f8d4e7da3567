//! Tokens whose signature was checked.

/// Verified tokens, bounded.
#[derive(Debug, Default)]
pub struct TokenCache {}

impl TokenCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
