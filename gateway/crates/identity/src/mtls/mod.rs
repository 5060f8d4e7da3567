//! Client certificates: who the peer says it is, and whose anchors say the same.

mod anchors;
mod peer;
mod trust;
mod workload;

pub(crate) use anchors::Anchors;
pub use peer::{PeerIdentity, PeerIdentityFault};
pub(crate) use trust::Trust;
pub use workload::{Svid, WorkloadBoard, WorkloadIdentity};
