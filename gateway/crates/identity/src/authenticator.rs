//! Who is asking, by the schemes of a route in their order.

use std::time::SystemTime;

use http::HeaderMap;
use portcullis_model::{IssuerId, Origin, Principal, Reason, Rejection, TrustId};

use crate::mtls::PeerIdentity;

/// One way to prove who one is, and where the route names it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// A bearer token of this issuer.
    Jwt(IssuerId, Origin),
    /// A client certificate under these anchors.
    Mtls(TrustId, Origin),
}

/// What a request brings.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Its fields.
    pub headers: &'a HeaderMap,
    /// The client certificate of its connection.
    pub peer: Option<&'a PeerIdentity>,
}

/// A proven principal and the line that accepted it.
#[derive(Clone, Debug, PartialEq)]
pub struct Authenticated {
    /// Who.
    pub principal: Principal,
    /// By which scheme.
    pub by: Origin,
}

/// The schemes of one route, ready to judge.
#[derive(Clone, Debug)]
pub struct Authenticator {}

impl Authenticator {
    /// Finds the principal; may wait up to a second for an issuer's keys.
    ///
    /// # Errors
    /// The first credential that is present decides; a 401 says how to authenticate.
    pub async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        now: SystemTime,
    ) -> Result<Authenticated, Rejection> {
        self.authenticate_offline(credentials, now)
    }

    /// The same without ever fetching keys.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`], and `keys-unavailable` for keys that were never loaded.
    pub fn authenticate_offline(
        &self,
        _credentials: Credentials<'_>,
        _now: SystemTime,
    ) -> Result<Authenticated, Rejection> {
        Err(Rejection::new(Reason::CredentialsMissing))
    }
}
