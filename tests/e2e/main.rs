//! The end-to-end tests: the real binary, real sockets, real TLS. One binary, so that Pingora is linked once.

mod support;
mod requests;
