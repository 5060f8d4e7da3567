//! The TLS side of a pool: whom its endpoints must prove to be, and what we show them.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use crate::fault::IdentityFault;

/// A pool's TLS material.
#[derive(Debug)]
pub struct UpstreamTls {}

impl UpstreamTls {
    /// The configuration for a handshake that offers `alpn`, one of `[h2]`, `[http/1.1]` and `[h2, http/1.1]`.
    ///
    /// # Errors
    /// When our SVID or the peer's bundle has not arrived, or the list is another one.
    pub fn client_config(&self, _alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, IdentityFault> {
        Err(IdentityFault::NoSvid)
    }

    /// The name to hand to rustls: configured, the endpoint's own, or its address; never an empty one.
    #[must_use]
    pub fn server_name(&self, _dns: Option<&str>, address: SocketAddr) -> ServerName<'static> {
        ServerName::IpAddress(address.ip().into())
    }

    /// Changes with the trust, our SVID and the expected identity: connections of another key may not be reused.
    #[must_use]
    pub fn generation_key(&self) -> u64 {
        0
    }

    /// True when the endpoint proved to be somebody else, as against any other TLS failure.
    #[must_use]
    pub fn is_identity_mismatch(_error: &rustls::Error) -> bool {
        false
    }
}
