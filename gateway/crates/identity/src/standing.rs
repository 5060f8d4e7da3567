//! What a principal rests on after it was proven: asked again as long as the exchange lives that it began.
//!
//! The standing answers from what was proven, without the credential: whether its time is over and whether the deny
//! list names it. Whether a route would take the same credential today is its [`Authenticator`]'s to say
//! ([`Authenticator::authenticate_offline`]); both are asked, because keys that cannot be had at the moment must
//! neither end what was proven nor hide that it was revoked.
//!
//! [`Authenticator`]: crate::authenticator::Authenticator
//! [`Authenticator::authenticate_offline`]: crate::authenticator::Authenticator::authenticate_offline

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{Principal, Proof, Reason, Rejection, TrustId};

use crate::boards::Boards;
use crate::deny::DenyEntry;
use crate::jwt::Verified;
use crate::mtls::PeerIdentity;

/// By what a principal was proven; a clone shares it.
#[derive(Clone)]
pub struct Standing(Rest);

#[derive(Clone)]
enum Rest {
    Nothing,
    Token(Arc<Verified>),
    Certificate(TrustId),
}

impl Standing {
    /// The standing of a public route's principal: nothing was proven, and nothing ends.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self(Rest::Nothing)
    }

    /// Proven by a token.
    pub(crate) const fn token(verified: Arc<Verified>) -> Self {
        Self(Rest::Token(verified))
    }

    /// Proven by the certificate of the connection, under this trust.
    pub(crate) const fn certificate(trust: TrustId) -> Self {
        Self(Rest::Certificate(trust))
    }

    /// Asks again whether the proof holds: its time, then the deny list.
    ///
    /// `principal` is the one that was proven, `peer` the certificate of its connection.
    ///
    /// # Errors
    /// Returns the rejection that a new request with the same proof would meet.
    pub fn judge(
        &self,
        boards: &Boards,
        principal: &Principal,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
    ) -> Result<(), Rejection> {
        if principal.expires_at.is_some_and(|end| now >= end) {
            return Err(expired(principal.proof));
        }
        match (&self.0, peer) {
            (Rest::Token(verified), _) => {
                let entry = boards.denied.denies_token(&verified.names, now);
                refuse_denied(Reason::TokenRevoked, entry)
            }
            (Rest::Certificate(trust), Some(peer)) => {
                let entry = boards.denied.denies_certificate(peer, trust, now);
                refuse_denied(Reason::CertificateRevoked, entry)
            }
            (Rest::Certificate(_), None) | (Rest::Nothing, _) => Ok(()),
        }
    }
}

/// The end of what a certificate proves: the earliest end in its chain. A chain may carry certificates that its
/// verification had no use for; when one of those has ended already, the leaf's own end counts.
#[must_use]
pub fn end_of(peer: &PeerIdentity, now: SystemTime) -> SystemTime {
    if now <= peer.valid_until {
        peer.valid_until
    } else {
        peer.not_after
    }
}

fn refuse_denied(reason: Reason, entry: Option<Arc<DenyEntry>>) -> Result<(), Rejection> {
    match entry {
        Some(entry) => Err(entry.rejection(reason)),
        None => Ok(()),
    }
}

fn expired(proof: Proof) -> Rejection {
    match proof {
        Proof::Mtls => Rejection::new(Reason::CertificateExpired)
            .with_private("the certificate ended while the exchange was under way"),
        Proof::Jwt | Proof::None => {
            Rejection::new(Reason::TokenExpired).with_private("exp passed while the exchange was under way")
        }
    }
}

/// Without the claims.
impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Rest::Nothing => "Standing(nothing)",
            Rest::Token(_) => "Standing(token)",
            Rest::Certificate(_) => "Standing(certificate)",
        })
    }
}
