//! The traffic's door: the only crate that names Pingora.
