//! Client certificates: who the peer says it is, and whose anchors say the same.

mod anchors;
mod facts;
mod peer;
mod trust;
mod workload;
mod workload_status;

pub(crate) use anchors::{Anchors, Usage};
pub use facts::CertificateFacts;
pub use peer::{PeerIdentity, PeerIdentityFault};
pub(crate) use trust::{AnchorSource, Trust, TrustFault};
pub use workload::{Svid, WorkloadBoard, WorkloadIdentity};
pub use workload_status::{WorkloadLack, WorkloadStatus};
