//! Who is on the other side: bearer tokens, client certificates, SPIFFE IDs, and the TLS material of every door.
//!
//! The room decides whether a credential proves a principal, and builds the rustls configurations that listeners
//! and upstreams use. It never opens a socket, reads a file or a clock: keys arrive through [`jwt::KeyFetch`],
//! revocation lists through [`mtls::CrlFetch`], workload identities through [`mtls::WorkloadBoard`], and time
//! through [`Clock`].
//!
//! Start with [`plan`] (what it is told), [`compile`] (what that becomes) and [`authenticator`] (how a request's
//! principal is found); then `jwt` for tokens, `mtls` for certificates, `tls` for handshakes.

pub mod assertion;
pub mod authenticator;
pub mod boards;
pub mod compile;
pub mod deny;
pub mod fault;
pub mod jwt;
pub mod metrics;

pub mod mtls;
pub mod plan;
pub mod pulse;
mod runtime;
pub mod standing;
#[cfg(test)]
mod testing;
pub mod tls;

pub use assertion::{AssertionBoard, Forwarding};
pub use authenticator::{Authenticated, Authenticator, Credentials, Scheme, Still};
pub use boards::{Boards, Clock};
pub use compile::{IdentityRuntime, IssuerStatus, compile};
pub use deny::DenyList;
pub use fault::IdentityFault;
pub use jwt::{
    CheckName, CheckOutcome, FetchFault, KeyBoard, KeyFetch, TokenCache, TokenCheck, TokenExamination,
};
pub use metrics::Metrics;
pub use mtls::{
    CertificateCheck, CertificateCheckName, CertificateExamination, CertificateFacts, CrlBoard, CrlFault,
    CrlFetch, CrlStatus, HeldIdentity, NamedBy, PeerIdentity, PeerIdentityFault, Svid, WorkloadBoard,
    WorkloadIdentity, WorkloadLack, WorkloadStatus,
};
pub use pulse::Pulse;
pub use standing::Standing;
pub use tls::{EndpointProof, ListenerTls, NoCertificate, UpstreamTls};
