//! Client certificates: who the peer says it is, and whose anchors say the same.

mod anchors;
pub(crate) mod crl;
mod examination;
mod examiner;
mod facts;
mod first_to_accept;
mod forwarded;
mod held;
mod peer;
mod trust;
mod workload;
mod workload_metrics;
mod workload_status;

pub(crate) use anchors::{Anchors, ChainFault, Usage};
pub use crl::{CrlBoard, CrlFault, CrlFetch, CrlStatus, NamedBy};
pub(crate) use crl::{CrlMetrics, MAX_LISTS, Revocation, RevocationFault, RevocationParts};
pub use examination::{CertificateCheck, CertificateCheckName, CertificateExamination};
pub use facts::CertificateFacts;
pub(crate) use first_to_accept::first_to_accept;
pub use held::HeldIdentity;
pub use peer::{PeerIdentity, PeerIdentityFault};
pub(crate) use peer::{over, parse_workload};
pub(crate) use trust::{AnchorSource, CertificateRefusal, Generation, Trust, TrustFault};
pub use workload::{Svid, WorkloadBoard, WorkloadIdentity};
pub use workload_metrics::{SVID_EXPIRES_IN, WORKLOAD_AGE, WORKLOAD_CONNECTED, WorkloadMetrics};
pub use workload_status::{WorkloadLack, WorkloadStatus};

#[cfg(test)]
mod hostile_tests;
