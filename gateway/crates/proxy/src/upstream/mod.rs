//! The way to an endpoint: our own connector and sessions for HTTP/1.1 and HTTP/2.
//!
//! Pingora's connector cannot verify a SPIFFE ID, and turns verification off when a name is empty; ours verifies
//! always, keys its pool by what was verified, and corks: a request's head stays here until its body was judged.
//! Read [`connector`] first, then [`session`].

mod attempt;
mod connector;
mod dial;
mod h1;
mod h2;
mod pool;
mod session;
mod stream;

pub(crate) use attempt::{Attempt, AttemptFacts};
pub(crate) use connector::Mesh;
pub(crate) use dial::{Destination, DialFault, Offer, dial};
pub(crate) use stream::{ReadSide, SharedStream, UpstreamStream};
