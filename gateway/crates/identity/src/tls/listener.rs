//! The TLS side of a listener: one rustls configuration per certificate and client-certificate policy.

use std::sync::Arc;

use rustls::ServerConfig;

/// No certificate of the listener covers the name: answer with the alert `unrecognized_name`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no certificate covers {0:?}")]
pub struct UnknownName(pub String);

/// A listener's TLS material.
#[derive(Debug)]
pub struct ListenerTls {}

impl ListenerTls {
    /// The configuration for a handshake that asks for `sni`.
    ///
    /// # Errors
    /// When no certificate covers the name.
    pub fn server_config(&self, sni: Option<&str>) -> Result<Arc<ServerConfig>, UnknownName> {
        Err(UnknownName(sni.unwrap_or_default().to_owned()))
    }

    /// Whether a request for `host` may travel on a connection that asked for `sni`.
    #[must_use]
    pub fn is_directed(&self, _sni: Option<&str>, _host: &str) -> bool {
        false
    }
}
