//! Why a document holds no revocation list that can be used, and what to do about it.

/// Why a document holds no list that can be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CrlFault {
    /// Nothing in it is a list.
    #[error("it holds no revocation list, in DER or in PEM")]
    NoList,
    /// The PEM around a list is broken.
    #[error("it is not valid PEM")]
    Pem,
    /// More than `MAX_LISTS`.
    #[error("it holds more than 64 lists")]
    TooMany,
    /// RFC 5280 section 5.1.2.1.
    #[error("it is a version 1 list, which has no number and no extensions")]
    Version1,
    /// RFC 5280 section 5.1.2.5.
    #[error("it does not say when the next one comes (nextUpdate)")]
    NoNextUpdate,
    /// RFC 5280 section 5.2.4.
    #[error("it is a delta list, which says only what changed since another one")]
    Delta,
    /// RFC 5280 section 5.2.5 and 5.3.3.
    #[error("it is an indirect list, which speaks for other issuers")]
    Indirect,
    /// RFC 5280 section 5.2.5.
    #[error("it speaks for some reasons of revocation only")]
    SomeReasons,
    /// RFC 5280 section 5.2.
    #[error("it has a critical extension that we do not know")]
    CriticalExtension,
    /// Anything else.
    #[error("it cannot be read as a revocation list: {0}")]
    Unreadable(webpki::Error),
}

impl CrlFault {
    /// What to do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NoList | Self::Pem => {
                "a PEM list begins with `-----BEGIN X509 CRL-----`; `openssl crl -in FILE -text` shows what it is"
            }
            Self::TooMany => "name fewer lists",
            Self::Version1 => {
                "let the authority issue version 2 lists: for `openssl ca`, set `crlnumber` and `crl_extensions`"
            }
            Self::NoNextUpdate => {
                "let the authority say it: for `openssl ca`, set `default_crl_days` or `-crldays`"
            }
            Self::Delta | Self::Indirect | Self::SomeReasons => {
                "name the authority's complete list for its own certificates"
            }
            Self::CriticalExtension => {
                "RFC 5280 section 5.2 forbids to use it; ask the authority for a list without that extension"
            }
            Self::Unreadable(_) => "`openssl crl -in FILE -text` shows what it is",
        }
    }
}

impl From<webpki::Error> for CrlFault {
    fn from(error: webpki::Error) -> Self {
        match error {
            webpki::Error::UnsupportedCrlVersion => Self::Version1,
            webpki::Error::UnsupportedDeltaCrl => Self::Delta,
            webpki::Error::UnsupportedIndirectCrl => Self::Indirect,
            webpki::Error::UnsupportedRevocationReasonsPartitioning => Self::SomeReasons,
            webpki::Error::UnsupportedCriticalExtension => Self::CriticalExtension,
            other => Self::Unreadable(other),
        }
    }
}
