//! Client certificates: who the peer says it is, and whose anchors say the same.

mod anchors;
mod peer;
mod trust;
mod workload;

pub(crate) use anchors::{Anchors, Usage};
pub use peer::{PeerIdentity, PeerIdentityFault};
pub(crate) use trust::{AnchorSource, Trust, TrustFault};
pub use workload::{Svid, WorkloadBoard, WorkloadIdentity};
