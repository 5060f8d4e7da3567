//! Bearer tokens: strict parsing, keys bound to algorithms, claims with types, and verdicts remembered.
//!
//! A token is parsed once, by [`token`]; nothing else ever looks at its bytes again but the signature check.

mod cache;
mod claims;
mod discovery;
mod examination;
mod issuer;
mod key_board;
mod key_set;
mod key_slot;
mod strict_json;
mod token;

pub use cache::TokenCache;
pub(crate) use cache::Verified;
pub use examination::{CheckName, CheckOutcome, TokenCheck, TokenExamination};
pub(crate) use issuer::Issuer;
pub use key_board::{FetchFault, KeyBoard, KeyFetch};
pub use key_set::KeySetFault;
pub(crate) use key_slot::COOLDOWN;
pub(crate) use token::{MAX_TOKEN, Token, TokenRefusal};
