//! Bearer tokens: strict parsing, keys bound to algorithms, claims with types, and verdicts remembered.
//!
//! A token is parsed once, by [`token`]; nothing else ever looks at its bytes again but the signature check.

mod cache;
mod claims;
mod discovery;
mod examination;
mod issuer;
mod issuer_keys;
mod key_board;
mod key_metrics;
mod key_set;
mod key_slot;
mod shown;
mod strict_json;
mod token;
mod unknown_keys;
mod verify_key;
mod watch;
mod weak_rsa;
#[cfg(test)]
mod wycheproof_tests;

pub use cache::TokenCache;
pub(crate) use cache::Verified;
pub use examination::{CheckName, CheckOutcome, TokenCheck, TokenExamination};
pub(crate) use issuer::Issuer;
pub(crate) use issuer_keys::IssuerKeys;
pub use key_board::{FetchFault, KeyBoard, KeyFetch};
pub(crate) use key_metrics::KeyGauges;
pub use key_metrics::{KEY_AGE, KEY_EXPIRY, KEY_SUCCESS, KEYS};
pub use key_set::KeySetFault;
pub(crate) use key_set::{KeyPurpose, KeySet};
pub(crate) use key_slot::LoadedKeys;
pub(crate) use token::{MAX_TOKEN, Token, TokenRefusal};
pub(crate) use watch::{Examiner, Traffic, Watch};
