//! What can break in this room, as against what is refused by decision.

use portcullis_model::{SpiffeId, TrustDomain};

/// Identity material that is missing or cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFault {
    /// A certificate chain without a certificate.
    #[error("the certificate chain is empty")]
    EmptyChain,
    /// A private key that is not one, or of a kind we cannot sign with.
    #[error("cannot use the private key")]
    PrivateKey(#[source] rustls::Error),
    /// A private key of another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The leaf of an SVID does not carry the SPIFFE ID it is said to have.
    #[error("the SVID does not carry the SPIFFE ID {0}")]
    SvidIdentity(String),
    /// A trust anchor that cannot be read.
    #[error("trust anchor {index} of {domain} cannot be read")]
    Anchor {
        /// Whose bundle.
        domain: TrustDomain,
        /// Zero-based position.
        index: usize,
        /// Why.
        #[source]
        source: webpki::Error,
    },
    /// mTLS is asked for, but no SVID of our own has arrived.
    #[error("no SVID of our own is available")]
    NoSvid,
    /// mTLS is asked for, and the SVID that was delivered last is over.
    #[error("our SVID {id} expired at {at} (seconds since the epoch), and no other one was delivered")]
    SvidExpired {
        /// Whom it named.
        id: SpiffeId,
        /// When it ended.
        at: u64,
    },
    /// No trust bundle has arrived for the domain.
    #[error("no trust bundle for {0} is available")]
    NoBundle(TrustDomain),
    /// An ALPN list that is none of the three supported ones.
    #[error("unsupported ALPN list")]
    Alpn,
    /// rustls refused the configuration.
    #[error("cannot build the TLS configuration")]
    Configuration(#[source] rustls::Error),
}
