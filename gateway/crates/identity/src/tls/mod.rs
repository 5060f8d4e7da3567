//! rustls configurations: what every name of a listener shows and asks, and whom an upstream must prove to be.

mod certificate;
mod client_policy;
mod client_verifier;
mod listener;
mod server_verifier;
mod shown;
mod upstream;

#[cfg(test)]
pub(crate) use certificate::provider;
pub(crate) use certificate::{Names, OwnCertificate, certified_key};
pub(crate) use client_policy::ClientPolicy;
pub(crate) use listener::ListenerParts;
pub use listener::{ListenerTls, NoCertificate};
pub(crate) use shown::{Shown, SvidSource};
pub use upstream::{EndpointProof, UpstreamTls};
pub(crate) use upstream::{Peer, UpstreamParts};
