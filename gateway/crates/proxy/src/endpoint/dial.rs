//! A new connection to an endpoint: TCP, then TLS with the pool's verifier, under one deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::UpstreamTls;
use portcullis_routing::attempt::TransportKind;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stream::UpstreamStream;

/// Where to, and how it is verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'a> {
    /// The endpoint.
    pub(crate) address: SocketAddr,
    /// The name it was resolved from.
    pub(crate) dns: Option<&'a str>,
    /// TLS toward it.
    pub(crate) tls: Option<&'a Arc<UpstreamTls>>,
}

/// What is offered in ALPN.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Offer {
    /// HTTP/1.1 alone.
    H1,
    /// HTTP/2 alone.
    H2,
    /// HTTP/2, or else HTTP/1.1.
    Either,
}

impl Offer {
    const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::H1 => &[b"http/1.1"],
            Self::H2 => &[b"h2"],
            Self::Either => &[b"h2", b"http/1.1"],
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialFault {
    /// TCP failed.
    #[error("the endpoint refused the connection")]
    Refused(#[source] io::Error),
    /// Time ran out.
    #[error("the endpoint did not accept the connection in time")]
    Late,
    /// TLS failed.
    #[error("the TLS handshake with the endpoint failed")]
    Tls(#[source] io::Error),
    /// The endpoint is somebody else.
    #[error("the endpoint did not prove the expected identity")]
    Identity(#[source] io::Error),
    /// Our own side is not ready.
    #[error("the gateway's own TLS material is missing")]
    Material(#[source] portcullis_identity::IdentityFault),
    /// The endpoint does not speak what the pool says.
    #[error("the endpoint does not speak HTTP/2")]
    Protocol,
}

impl DialFault {
    /// The evidence about the endpoint.
    pub(crate) const fn kind(&self) -> TransportKind {
        match self {
            Self::Refused(_) | Self::Late => TransportKind::Refused,
            Self::Tls(_) | Self::Material(_) => TransportKind::Tls,
            Self::Identity(_) => TransportKind::Identity,
            Self::Protocol => TransportKind::Protocol,
        }
    }
}

/// Connects; the flag is true when HTTP/2 is to be spoken.
pub(crate) async fn dial(
    to: &Destination<'_>,
    offer: Offer,
    limit: Duration,
) -> Result<(UpstreamStream, bool), DialFault> {
    timeout(limit, connect(to, offer))
        .await
        .map_err(|_| DialFault::Late)?
}

async fn connect(to: &Destination<'_>, offer: Offer) -> Result<(UpstreamStream, bool), DialFault> {
    let stream = TcpStream::connect(to.address).await.map_err(DialFault::Refused)?;
    stream.set_nodelay(true).map_err(DialFault::Refused)?;
    let Some(tls) = to.tls else {
        return Ok((UpstreamStream::Plain(stream), offer == Offer::H2));
    };
    let config = tls.client_config(offer.alpn()).map_err(DialFault::Material)?;
    let name: ServerName<'static> = tls.server_name(to.dns, to.address);
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(handshake_fault)?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if offer == Offer::H2 && !is_h2 {
        return Err(DialFault::Protocol);
    }
    Ok((UpstreamStream::Tls(Box::new(stream)), is_h2))
}

fn handshake_fault(error: io::Error) -> DialFault {
    let reason = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if reason.is_some_and(UpstreamTls::is_identity_mismatch) {
        return DialFault::Identity(error);
    }
    DialFault::Tls(error)
}
