//! Bearer tokens: strict parsing, keys bound to algorithms, claims with types, and verdicts remembered.

mod cache;
mod key_board;

pub use cache::TokenCache;
pub use key_board::{FetchFault, KeyBoard, KeyFetch};
