//! The deny list: tokens and certificates that are refused although everything about them is right.
//!
//! A list has two sources that never mix: the operator's file, replaced whole, and the admin port, entry by entry.
//! Both are compiled into an [`DenyIndex`] aside and swapped in; whoever asks sees one whole list or the next. The
//! list is asked for every request after its credential was proven, remembered or not, so that no cache stands
//! between an entry and its effect. Asking an empty list costs one load of an atomic.
//!
//! Start with [`DenyList`]; [`DenyName`] says what an entry may name.

mod entry;
mod index;
mod list;
mod metrics;
mod name;

pub use entry::{DenyEntry, DenySource};
pub use index::{DenyIndex, Held};
pub use list::{Added, DenyList, MAX_ADMIN_ENTRIES, Removed, Side};
pub use metrics::{
    DENY_ENTRIES, DENY_HITS, DENY_LOAD_FAILED, DENY_LOADED, DENY_LOADS, DENY_SHRUNK, DenyMetrics,
};
pub use name::{DenyKind, DenyName, DenyNameFault, TokenNames};
