//! What is known of a connection, and a request as the wire gave it: what the traffic's door hands to the hall.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Version};
use portcullis_identity::PeerIdentity;
use portcullis_model::ListenerId;

/// Facts of one connection; made once, after the handshake.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// The listener that accepted it.
    pub listener: ListenerId,
    /// The peer on the wire.
    pub peer: SocketAddr,
    /// Our side.
    pub local: SocketAddr,
    /// The TLS side; `None` on a plain listener.
    pub tls: Option<TlsFacts>,
}

/// Facts of a TLS connection.
#[derive(Debug)]
pub struct TlsFacts {
    /// The name the client asked for, lower case.
    pub sni: Option<String>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The client's certificate, when it showed one.
    pub peer: Option<Arc<PeerIdentity>>,
}

impl ConnectionFacts {
    /// The SNI name.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        self.tls.as_ref()?.sni.as_deref()
    }

    /// The client's certificate.
    #[must_use]
    pub fn peer_identity(&self) -> Option<&PeerIdentity> {
        self.tls.as_ref()?.peer.as_deref()
    }
}

/// A request's head as it was received: nothing in it is trusted yet.
#[derive(Clone, Copy, Debug)]
pub struct RawHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path and query as bytes of the wire, without scheme and authority.
    pub target: &'a [u8],
    /// `:authority`, or the authority of an absolute-form target.
    pub authority: Option<&'a str>,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// The protocol version.
    pub version: Version,
    /// The value of `Upgrade`, when the client asked for one.
    pub upgrade: Option<&'a str>,
    /// Whether a body follows: a length above zero, a transfer coding, or an h2 stream that is still open.
    pub has_body: bool,
}
