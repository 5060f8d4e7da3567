//! The operator's door: from the file as written to a plan that is valid, or to every problem it has.
//!
//! ```text
//! bytes ─tree─▶ file ─resolve─▶ sections ─link─▶ BootPlan + GatewayPlan ─compile─▶ Snapshot ─publish─▶ SnapshotStore
//! ```
//!
//! This room reads files and the environment it is given, and nothing else: it opens no socket, starts no
//! thread and reads no clock. It never accepts a key that nothing obeys: what is not built yet is refused by name.
//! Start reading at [`load`]; the keys of the file, with their documentation, stand in `file`.

mod boot;
mod compile;
mod deny_list;
mod file;
mod link;
mod load;
pub mod reload;
mod render;
mod resolve;
mod sources;
mod state_dir;

pub use boot::{AccessLogDestination, BootListener, BootPlan, EgressHost};
pub use compile::compile;
pub use deny_list::{MAX_DENY_ENTRIES, read_deny_entry, read_deny_list, read_kept_entries, unknown_names};
pub use file::json_schema;
pub use load::{LoadOptions, Loaded, Refused, load};
pub use render::{problems_to_json, render};
pub use sources::Sources;
pub use state_dir::{StateDirFlaw, judge_state_dir};
