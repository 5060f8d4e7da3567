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

use portcullis_model::{Principal, Reason, Rejection, TrustId};

use crate::boards::Boards;
use crate::deny::DenyEntry;
use crate::jwt::Verified;
use crate::mtls::{PeerIdentity, over};

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
    /// `principal` is the one that was proven, `peer` the certificate of its connection. Of a chain only the leaf's time
    /// is looked at: whether its path still holds is for a trust to say, which knows what it needs of the chain.
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
        match (&self.0, peer) {
            (Rest::Token(_), _) if principal.expires_at.is_some_and(|end| now >= end) => {
                Err(expired(Reason::TokenExpired, "exp passed"))
            }
            (Rest::Certificate(_), Some(peer)) if peer.has_ended(now) => {
                Err(expired(Reason::CertificateExpired, "the certificate ended"))
            }
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

/// When what a certificate proves has to be asked about again: at the first end in its chain that lies ahead. A chain may
/// carry certificates that its verification had no use for, so that nothing need have ended then; the next end is waited
/// for after that. In the past once all have ended.
#[must_use]
pub fn end_of(peer: &PeerIdentity, now: SystemTime) -> SystemTime {
    over(peer.end_ahead(now))
}

fn refuse_denied(reason: Reason, entry: Option<Arc<DenyEntry>>) -> Result<(), Rejection> {
    match entry {
        Some(entry) => Err(entry.rejection(reason)),
        None => Ok(()),
    }
}

fn expired(reason: Reason, what: &str) -> Rejection {
    Rejection::new(reason).with_private(format!("{what} while the exchange was under way"))
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
