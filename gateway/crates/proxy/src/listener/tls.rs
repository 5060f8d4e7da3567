//! TLS termination: the ClientHello chooses the configuration, so that every name can ask for its own client
//! certificates and every reload starts a new generation of sessions.

use std::sync::Arc;

use pingora_core::protocols::l4::stream::Stream as L4Stream;
use portcullis_identity::tls::ListenerTls;
use portcullis_identity::{NoCertificate, PeerIdentity};
use portcullis_pipeline::TlsFacts;
use rustls::{CertificateError, ProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// A fatal `unrecognized_name` (RFC 6066 section 3) as a whole TLS record: before the ServerHello it is plaintext.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// A fatal `internal_error` (RFC 8446 section 6.2): the lack is ours.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// Sealed bytes that wait for a client that reads slowly, at most.
const UNWRITTEN_RECORDS: usize = 32 * 1024;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeFault {
    /// There is nothing to show for the name.
    #[error(transparent)]
    NoCertificate(#[from] NoCertificate),
    /// The client left, or the handshake failed.
    #[error("the handshake failed")]
    Failed(#[source] std::io::Error),
}

impl HandshakeFault {
    /// The label of the metric, from a closed list.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::NoCertificate(NoCertificate::UnknownName(_)) => "unknown-name",
            Self::NoCertificate(NoCertificate::Unusable { .. }) => "no-certificate",
            Self::Failed(cause) => refused_for(cause).unwrap_or("failed"),
        }
    }

    /// True when the client showed a certificate and it was refused.
    pub(crate) fn is_for_the_client_certificate(&self) -> bool {
        matches!(self, Self::Failed(cause) if refused_for(cause).is_some())
    }
}

/// Why the client's certificate was refused, when that is what ended the handshake.
fn refused_for(cause: &std::io::Error) -> Option<&'static str> {
    let fault = cause.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(fault) = fault else {
        return None;
    };
    Some(match fault {
        CertificateError::Revoked => "revoked",
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => "status-unknown",
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "expired",
        _ => "untrusted",
    })
}

/// A client's TLS connection.
pub(crate) struct Terminated {
    /// The stream.
    pub(crate) stream: TlsStream<L4Stream>,
    /// What is known of it.
    pub(crate) facts: TlsFacts,
    /// True when ALPN chose HTTP/2.
    pub(crate) is_h2: bool,
}

/// Terminates TLS on an accepted socket; the caller bounds the time.
pub(crate) async fn terminate(stream: L4Stream, tls: &ListenerTls) -> Result<Terminated, HandshakeFault> {
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
    let mut hello = acceptor.await.map_err(HandshakeFault::Failed)?;
    let sni = hello.client_hello().server_name().map(str::to_ascii_lowercase);
    let config = match tls.server_config(sni.as_deref()) {
        Ok(config) => config,
        Err(refusal) => {
            let alert = match &refusal {
                NoCertificate::UnknownName(_) => UNRECOGNIZED_NAME,
                NoCertificate::Unusable { .. } => INTERNAL_ERROR,
            };
            // The client may be gone already; the refusal stands either way.
            let _ = hello.io.write_all(&alert).await;
            let _ = hello.io.shutdown().await;
            return Err(refusal.into());
        }
    };
    let mut stream = hello.into_stream(config).await.map_err(HandshakeFault::Failed)?;
    let (_, connection) = stream.get_mut();
    connection.set_buffer_limit(Some(UNWRITTEN_RECORDS));
    let peer = connection
        .peer_certificates()
        .filter(|chain| !chain.is_empty())
        .map(PeerIdentity::from_chain);
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let is_h2 = connection.alpn_protocol() == Some(b"h2");
    Ok(Terminated {
        facts: TlsFacts {
            sni,
            version,
            peer: peer.map(Arc::new),
        },
        is_h2,
        stream,
    })
}
