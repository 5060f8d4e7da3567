//! rustls configurations: what every name of a listener shows and asks, and whom an upstream must prove to be.

mod certificate;
mod listener;
mod upstream;

pub(crate) use certificate::certified_key;
pub use listener::{ListenerTls, UnknownName};
pub use upstream::UpstreamTls;
