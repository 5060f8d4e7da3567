//! The hall: the order of a request, and the one place where the rooms meet.
//!
//! A request walks `begin → normalize → shed → match_route → authenticate → limit → validate_head → authorize →
//! validate_body → select_endpoint → prepare_upstream → observe → retry → record`. Each stage is a plain function
//! that takes the previous stage's output and ends in `?` ([`stages`] has the order on one page); the output of
//! `authorize` is an [`Admitted`], and only an [`Admitted`] leads to an endpoint. The traffic's door and `explain`
//! call the same functions through [`Exchange`].
//!
//! Nothing here opens a socket, reads a file or a clock. Read [`exchange`] first, then [`stages`].

pub mod answer;
pub mod boards;
pub mod body;
pub mod compile;
pub mod connection;
mod context;
pub mod exchange;
pub mod gateway;
pub mod inline_text;
mod lease;
pub mod plan;
pub mod record;
pub mod snapshot;
pub mod stages;
pub mod trace;

pub use answer::LocalAnswer;
pub use boards::{Boards, HeldBodies};
pub use compile::compile;
pub use connection::{ConnectionFacts, RawHead, TlsFacts};
pub use context::{Now, StageReport};
pub use exchange::{Admission, Exchange, Observation};
pub use gateway::Gateway;
pub use record::{DecisionRecord, Ending, RecordSink};
pub use snapshot::{Snapshot, SnapshotStore};
pub use stages::admitted::Admitted;
pub use stages::prepare_upstream::UpstreamHead;
pub use stages::select_endpoint::Target;
