//! The ticket to an endpoint.

use std::sync::Arc;

use portcullis_admission::limit::RateLimitFields;
use portcullis_identity::Standing;
use portcullis_model::Principal;
use portcullis_routing::residency::AllowedRegions;

use super::normalize::Canonical;
use crate::body::BodyState;
use crate::snapshot::RouteBundle;

/// A request that every guard let pass. Only `stages` can make one, after `authorize`; selecting an
/// endpoint needs one, so "forgot to authorize" cannot be written.
pub struct Admitted {
    pub(crate) canonical: Box<Canonical>,
    pub(crate) route: Arc<RouteBundle>,
    pub(crate) prefix_len: usize,
    pub(crate) principal: Principal,
    /// What the principal rests on while the request is under way.
    pub(crate) standing: Standing,
    pub(crate) request_headers: Vec<(http::HeaderName, http::HeaderValue)>,
    pub(crate) limit_fields: Option<RateLimitFields>,
    pub(crate) allowed: AllowedRegions,
    pub(crate) body: BodyState,
    /// Out of reach outside `stages`, and with it the whole ticket.
    pub(super) _seal: Seal,
}

/// What only `stages` can put on a ticket.
pub(super) struct Seal;

impl Admitted {
    /// Another attempt starts: what was read of the body so far will be given again from its first byte.
    pub(crate) fn restart_body(&mut self) {
        match &mut self.body {
            BodyState::Stream { seen, .. } => *seen = 0,
            BodyState::Held(held) => {
                if let Some(gate) = held.operation.body_gate(&self.canonical.head(), held.max) {
                    held.restart(gate);
                }
            }
            BodyState::Released(_) => {}
        }
    }

    /// The route.
    #[must_use]
    pub fn route(&self) -> &RouteBundle {
        &self.route
    }

    /// The principal.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The canonical request.
    #[must_use]
    pub fn canonical(&self) -> &Canonical {
        &self.canonical
    }
}
