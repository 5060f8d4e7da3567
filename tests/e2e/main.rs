//! The end-to-end tests: the real binary, real sockets, real TLS. One binary, so that Pingora is linked once.

#![allow(unreachable_pub, missing_docs, reason = "a test binary has no outside")]

mod support;
mod requests;
