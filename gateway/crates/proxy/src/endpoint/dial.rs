//! A new connection to an endpoint: TCP, then TLS with the pool's verifier, under one deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::UpstreamTls;
use portcullis_routing::attempt::{Outcome, TransportKind};
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
    #[error("{}", self.why())]
    Refused(#[source] io::Error),
    /// The gateway has no descriptor, port or memory left for a connection: nothing was asked of the endpoint.
    #[error("{}", self.why())]
    Local(#[source] io::Error),
    /// Time ran out.
    #[error("{}", self.why())]
    Late,
    /// TLS failed.
    #[error("{}", self.why())]
    Tls(#[source] io::Error),
    /// The endpoint is somebody else.
    #[error("{}", self.why())]
    Identity(#[source] io::Error),
    /// Our own side is not ready.
    #[error("{}", self.why())]
    Material(#[source] portcullis_identity::IdentityFault),
    /// The endpoint does not speak what the pool says.
    #[error("{}", self.why())]
    Protocol,
}

impl DialFault {
    /// The evidence about the endpoint.
    pub(crate) const fn kind(&self) -> TransportKind {
        match self {
            Self::Refused(_) | Self::Local(_) | Self::Late => TransportKind::Refused,
            Self::Tls(_) | Self::Material(_) => TransportKind::Tls,
            Self::Identity(_) => TransportKind::Identity,
            Self::Protocol => TransportKind::Protocol,
        }
    }

    /// True when the gateway itself lacked something: no evidence about the endpoint, whatever [`Self::kind`] says.
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self, Self::Local(_) | Self::Material(_))
    }

    /// True when no socket could be made at all, toward whatever endpoint.
    pub(crate) fn is_out_of_descriptors(&self) -> bool {
        matches!(self, Self::Local(error) if is_descriptors(error))
    }

    /// The word it is counted under.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            ours if ours.is_ours() => "local",
            // Nobody reads "refused" and thinks of a packet filter that drops.
            Self::Late => "late",
            other => Outcome::Transport(other.kind()).as_str(),
        }
    }

    /// In words.
    pub(crate) const fn why(&self) -> &'static str {
        match self {
            Self::Refused(_) => "the endpoint refused the connection",
            Self::Local(_) => "the gateway has nothing left to make a connection with",
            Self::Late => "the endpoint did not accept the connection in time",
            Self::Tls(_) => "the TLS handshake with the endpoint failed",
            Self::Identity(_) => "the endpoint did not prove the expected identity",
            Self::Material(_) => "the gateway's own TLS material cannot be used",
            Self::Protocol => "the endpoint does not speak HTTP/2",
        }
    }

    /// What the operator can do about a lack of the gateway's own.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Local(error) if is_descriptors(error) => {
                Some("raise the process's limit of open files, or the host's")
            }
            Self::Local(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                Some("widen the host's range of local ports, or give the pool more endpoints")
            }
            Self::Local(_) => Some("give the host more memory"),
            Self::Material(_) => Some("look at the pool's `tls` and at where its certificate comes from"),
            Self::Refused(_) | Self::Late | Self::Tls(_) | Self::Identity(_) | Self::Protocol => None,
        }
    }
}

/// `ENFILE`: no descriptor left on the host.
const HOST_FULL: i32 = 23;
/// `EMFILE`: no descriptor left for the process.
const PROCESS_FULL: i32 = 24;

fn is_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(HOST_FULL | PROCESS_FULL))
}

/// Whose fault it is that there is no TCP connection.
fn tcp_fault(error: io::Error, address: SocketAddr) -> DialFault {
    let lacks = match error.kind() {
        io::ErrorKind::OutOfMemory => true,
        // A host without IPv6 says the same of every such address: another endpoint may be reached.
        io::ErrorKind::AddrNotAvailable => address.is_ipv4(),
        _ => false,
    };
    if lacks || is_descriptors(&error) {
        return DialFault::Local(error);
    }
    DialFault::Refused(error)
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
    let stream = TcpStream::connect(to.address)
        .await
        .map_err(|error| tcp_fault(error, to.address))?;
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
    let left = tls.note_accepted(stream.get_ref().1.peer_certificates().unwrap_or_default());
    Ok((UpstreamStream::tls(stream, left), is_h2))
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 1);

    #[test]
    fn what_the_gateway_lacks_is_told_from_what_the_endpoint_refuses() {
        // EMFILE, ENFILE, EADDRNOTAVAIL, ENOMEM
        for number in [24, 23, 99, 12] {
            let fault = tcp_fault(io::Error::from_raw_os_error(number), V4);

            assert!(fault.is_ours() && fault.advice().is_some(), "{number}");
            assert_eq!(fault.cause(), "local", "{number}");
        }
        // ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, ECONNRESET
        for number in [111, 113, 101, 110, 104] {
            let fault = tcp_fault(io::Error::from_raw_os_error(number), V4);

            assert!(!fault.is_ours() && fault.advice().is_none(), "{number}");
            assert_eq!(fault.cause(), "refused", "{number}");
        }
        let without_ipv6 = tcp_fault(io::Error::from_raw_os_error(99), V6);
        assert!(!without_ipv6.is_ours(), "another endpoint may be reached");
    }

    #[test]
    fn an_endpoint_that_is_late_is_counted_apart_from_one_that_refuses() {
        assert_eq!(DialFault::Late.cause(), "late");
        assert_eq!(DialFault::Late.kind(), TransportKind::Refused);
        assert!(!DialFault::Late.is_ours());
    }
}
