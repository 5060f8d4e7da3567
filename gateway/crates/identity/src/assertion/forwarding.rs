//! What the endpoints of a pool are told of a request's principal and of its client certificate.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_model::{ListenerId, Principal, Reason, Rejection, SpiffeId};

use super::signer::Signer;
use crate::compile::IdentityRuntime;
use crate::mtls::{PeerIdentity, WorkloadBoard};
use crate::plan::ForwardPlan;

/// The field with the signed assertion.
pub const IDENTITY: HeaderName = HeaderName::from_static("x-portcullis-identity");
/// The field with the client's certificate, in the grammar that Envoy documents for it.
pub const CLIENT_CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// True for a field that only the gateway writes toward endpoints, and for its look-alikes: names that an endpoint
/// with CGI's environment reads as the same (RFC 3875 section 4.1.18).
#[must_use]
pub fn is_written_by_us(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    [IDENTITY.as_str(), CLIENT_CERTIFICATE.as_str()]
        .into_iter()
        .any(|ours| {
            let is_same =
                |(byte, our): (&u8, u8)| *byte == our || (our == b'-' && !byte.is_ascii_alphanumeric());
            name.len() == ours.len() && name.iter().zip(ours.bytes()).all(is_same)
        })
}

/// The gateway's own SPIFFE ID, wherever it is.
#[derive(Clone, Debug)]
pub(crate) enum OwnName {
    /// There is none.
    None,
    /// In the configuration.
    Given(Arc<SpiffeId>),
    /// On the workload board.
    Delivered(Arc<WorkloadBoard>),
}

impl OwnName {
    fn get(&self) -> Option<Arc<SpiffeId>> {
        match self {
            Self::None => None,
            Self::Given(id) => Some(Arc::clone(id)),
            Self::Delivered(board) => board.own_id(),
        }
    }
}

/// What one pool's endpoints are told.
pub struct Forwarding {
    plan: ForwardPlan,
    /// There is one where the plan names an audience.
    signer: Option<Arc<Signer>>,
    own: OwnName,
}

impl Forwarding {
    pub(crate) const fn new(plan: ForwardPlan, signer: Option<Arc<Signer>>, own: OwnName) -> Self {
        Self { plan, signer, own }
    }

    /// True when the client's certificate is among what is told.
    #[must_use]
    pub const fn tells_certificate(&self) -> bool {
        self.plan.client_certificate
    }

    /// Writes the fields for a principal and the client certificate of its connection, over any there are.
    ///
    /// # Errors
    /// `internal` when what is known of the principal does not fit: an endpoint is told everything or nothing.
    pub fn write(
        &self,
        principal: &Principal,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
        headers: &mut HeaderMap,
    ) -> Result<(), Rejection> {
        headers.remove(IDENTITY);
        headers.remove(CLIENT_CERTIFICATE);
        let refused = |rejection: Rejection| rejection.decided_by(&self.plan.origin);
        if let (Some(signer), Some(audience)) = (&self.signer, &self.plan.audience)
            && let Some(assertion) = signer.assertion(principal, audience, now).map_err(refused)?
        {
            headers.insert(IDENTITY, assertion);
        }
        if let Some(peer) = peer.filter(|peer| self.plan.client_certificate && holds(peer, now)) {
            headers.insert(CLIENT_CERTIFICATE, self.element(peer).map_err(refused)?);
        }
        Ok(())
    }

    /// The same for a rehearsal: what would be signed is described, so that nobody gets an assertion without a request.
    pub fn rehearse(
        &self,
        principal: &Principal,
        peer: Option<&PeerIdentity>,
        now: SystemTime,
        headers: &mut HeaderMap,
    ) -> Result<(), Rejection> {
        self.write(principal, peer, now, headers)?;
        if headers.contains_key(IDENTITY) {
            headers.insert(IDENTITY, HeaderValue::from_static("(signed when it is sent)"));
        }
        Ok(())
    }

    fn element(&self, peer: &PeerIdentity) -> Result<HeaderValue, Rejection> {
        peer.forwarded_element(self.own.get()).map_err(|fault| {
            Rejection::new(Reason::Internal).with_private(format!("no client certificate element: {fault}"))
        })
    }
}

/// True while the certificate itself holds: a connection may outlive it. Whether its chain does is the listener's
/// question; a chain may carry certificates that nobody had a use for.
fn holds(peer: &PeerIdentity, now: SystemTime) -> bool {
    (peer.not_before..=peer.not_after).contains(&now)
}

impl IdentityRuntime {
    /// True when the certificate that a connection proved may be told to an endpoint: a handshake for this name would
    /// accept it now. An attempt may come long after the request, which was asked the same when it came.
    #[must_use]
    pub fn vouches_for(
        &self,
        (listener, sni): (&ListenerId, Option<&str>),
        peer: &PeerIdentity,
        now: SystemTime,
    ) -> bool {
        let Some((_, tls)) = self.parts.listeners.get(listener) else {
            return false;
        };
        // Where no trust is asked any more nothing is verified.
        matches!(tls.still_accepts(sni, Some(peer), now), Ok(Some(_)))
    }
}

impl fmt::Debug for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
