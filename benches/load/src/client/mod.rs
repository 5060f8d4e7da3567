//! Clients of our own, for what h2load cannot do: handshakes, waiting connections, drawn tokens, proof.

pub(crate) mod drawn;
pub(crate) mod h1;
pub(crate) mod h2c;
pub(crate) mod handshake;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::Result;
use crate::scenario::{Protocol, Session};

/// Anything that bytes go through.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A client's TLS: 1.3 only, one cipher suite and one key exchange, so that all proxies do the same work.
pub(crate) fn tls(
    authority: &CertificateDer<'static>,
    session: Session,
    protocol: Protocol,
) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone())
        .map_err(|error| format!("cannot trust the bench's authority: {error}"))?;
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = match session {
        Session::Full | Session::Resumed => vec![kx_group::X25519],
        Session::PostQuantum => vec![kx_group::X25519MLKEM768],
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| format!("cannot speak TLS 1.3: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = match session {
        Session::Resumed => Resumption::in_memory_sessions(16),
        Session::Full | Session::PostQuantum => Resumption::disabled(),
    };
    config.alpn_protocols = match protocol {
        Protocol::H1 => vec![b"http/1.1".to_vec()],
        Protocol::H2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

/// A TCP connection without delay.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    stream
        .set_nodelay(true)
        .map_err(|error| format!("cannot connect: {error}"))?;
    Ok(stream)
}

/// A TLS connection to an address; an address is no name, so nobody sends SNI, like h2load.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    TlsConnector::from(Arc::clone(config))
        .connect(name, connect(address).await?)
        .await
        .map_err(|error| format!("handshake failed: {error}"))
}

/// Plain or TLS, as the scenario says.
pub(crate) async fn open(address: SocketAddr, config: Option<&Arc<ClientConfig>>) -> Result<Box<dyn Wire>> {
    Ok(match config {
        Some(config) => Box::new(connect_tls(address, config).await?),
        None => Box::new(connect(address).await?),
    })
}
