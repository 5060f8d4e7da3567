//! The lease of a live exchange: what lets it go on, asked again while it does.
//!
//! A request was judged once, when it began. One that lives on (a WebSocket, a stream of events, a long transfer) is
//! judged again when its proof ends and at every beat of the pulse: whether its principal is still proven, and, when
//! another configuration serves meanwhile, whether that one would still let the same request through to where it
//! runs. Nothing is charged again, and what the request was read as stays as it was: its canonical head, and its body
//! as far as that was kept.

use std::sync::Arc;
use std::time::Instant;

use portcullis_identity::{Credentials, PeerIdentity, standing};
use portcullis_model::{Principal, Reason, RegionId, Rejection};
use portcullis_routing::residency::AllowedRegions;
use portcullis_routing::route_table::Params;

use crate::body::BodyState;
use crate::context::{Context, Now};
use crate::snapshot::{Action, RouteBundle};
use crate::stages::admitted::Admitted;
use crate::stages::authorize::{self, Question};
use crate::stages::{normalize, validate_body};

/// Where a lease stands; every request carries one.
pub(crate) struct Lease {
    /// Beats of the pulse under which it was last judged.
    pub(crate) beats: u64,
    /// The route of the configuration that judged it last; `None` while that is the one it began with.
    pub(crate) route: Option<Arc<RouteBundle>>,
    /// How often a policy was asked in vain since.
    pub(crate) unanswered: u8,
}

/// How often a policy that gives no answer in time is asked again. A reload asks for everything that lives at once, and
/// what that costs must not be what ends it; one that never answers denies, as it would deny a new request.
const PATIENCE: u8 = 3;

/// What another configuration found.
pub(crate) struct Renewed {
    pub(crate) route: Arc<RouteBundle>,
    pub(crate) allowed: AllowedRegions,
}

impl Lease {
    /// The lease of a request that begins.
    pub(crate) const fn begun(beats: u64) -> Self {
        Self {
            beats,
            route: None,
            unanswered: 0,
        }
    }

    /// True when the rejection is only that a policy could not be asked, and it is worth another try.
    pub(crate) fn may_ask_again(&mut self, rejection: &Rejection) -> bool {
        let is_unanswered = matches!(rejection.reason, Reason::PolicyTimeout | Reason::PolicyFault);
        if !is_unanswered || self.unanswered == PATIENCE {
            return false;
        }
        self.unanswered += 1;
        true
    }
}

/// When what was proven ends, on the monotonic clock: the principal's proof, or the certificate that the connection
/// rests on whoever the principal is.
pub(crate) fn end_of_proof(principal: &Principal, peer: Option<&PeerIdentity>, now: Now) -> Option<Instant> {
    let shown = peer.map(|peer| standing::end_of(peer, now.wall));
    // The end that was next in a chain when it proved the principal need not have ended anything.
    let is_shown = principal.proof == portcullis_model::Proof::Mtls;
    let end = principal.expires_at.filter(|_| !is_shown);
    let end = end.into_iter().chain(shown).min()?;
    let left = end.duration_since(now.wall).unwrap_or_default();
    // An end that the clock cannot tell is none that anybody lives to see.
    now.mono.checked_add(left)
}

/// Judges under the configuration that judged last: only what was proven can have changed.
pub(crate) fn judge_proof(
    context: &Context<'_>,
    admitted: &Admitted,
    route: &RouteBundle,
) -> Result<(), Rejection> {
    prove(context, admitted, route).map(drop)
}

/// Judges under another configuration, that of `context`.
pub(crate) fn judge_anew(
    context: &Context<'_>,
    admitted: &Admitted,
    region: Option<&RegionId>,
) -> Result<Renewed, Rejection> {
    let (route, params) = find_route(context, admitted)?;
    let proven = prove(context, admitted, &route)?;
    let principal = proven.as_ref().unwrap_or(&admitted.principal);
    let allowed = match &route.residency {
        Some(residency) => residency.allowed(principal),
        None => Ok(AllowedRegions::All),
    };
    ask(
        context,
        admitted,
        (&route, &params),
        (principal, allowed.as_ref().ok()),
    )?;
    let allowed = allowed?;
    match region {
        Some(region) if !allowed.contains(region) => {
            let private = format!("region \"{region}\" is no longer one where the request may be processed");
            Err(Rejection::new(Reason::ResidencyUnavailable)
                .with_private(private)
                .decided_by(&route.plan.origin))
        }
        Some(_) | None => Ok(Renewed { route, allowed }),
    }
}

/// The route of the same name, when it would still be the one of this request.
fn find_route(context: &Context<'_>, admitted: &Admitted) -> Result<(Arc<RouteBundle>, Params), Rejection> {
    let id = &admitted.route.plan.id;
    let canonical = &admitted.canonical;
    let Some(route) = context.snapshot.route(id) else {
        let private = format!("the route \"{id}\" was removed");
        return Err(Rejection::new(Reason::RouteNotFound).with_private(private));
    };
    let listener = context.snapshot.listener(&context.connection.listener);
    let found = listener.and_then(|listener| listener.routes.find(&canonical.head()).ok());
    let found = found.filter(|found| found.value.plan.id == *id);
    let is_forwarded = matches!(route.action, Action::Forward { .. });
    let Some(found) = found.filter(|_| is_forwarded) else {
        let private = format!("the route \"{id}\" no longer takes this request");
        return Err(Rejection::new(Reason::RouteNotFound)
            .with_private(private)
            .decided_by(&route.plan.origin));
    };
    if canonical.wants_websocket && !route.plan.websocket {
        return Err(Rejection::new(Reason::UpgradeNotAllowed).decided_by(&route.plan.origin));
    }
    let oddities = canonical.oddities.within(route.plan.path_allow);
    oddities.map_err(|reason| Rejection::new(reason).decided_by(&route.plan.origin))?;
    let params = if route.asks_policy {
        found.params(&canonical.path)
    } else {
        Params::new()
    };
    Ok((Arc::clone(route), params))
}

/// Whether the principal is still proven, and the principal as the same credentials prove it now.
///
/// The credentials are those of the request. Keys that cannot be had at the moment prove nothing and refute nothing:
/// the principal stays, and is asked about again when the keys arrive, which is a beat of the pulse.
fn prove(
    context: &Context<'_>,
    admitted: &Admitted,
    route: &RouteBundle,
) -> Result<Option<Principal>, Rejection> {
    let principal = &admitted.principal;
    let peer = context.connection.peer_identity();
    let boards = &context.boards.identity;
    normalize::refuse_misdirected(context, &admitted.canonical.host)?;
    admitted
        .standing
        .judge(boards, principal, peer, context.now.wall)?;
    let Some(authenticator) = &route.authenticator else {
        return Ok(None);
    };
    let credentials = Credentials {
        headers: &admitted.canonical.headers,
        peer,
    };
    match authenticator.authenticate_offline(credentials, context.now.wall) {
        Ok(found) if found.principal.identity == principal.identity => Ok(Some(found.principal)),
        Ok(found) => {
            let private = format!("its credentials prove {} by now", found.principal);
            Err(Rejection::new(Reason::NotAuthenticated)
                .with_private(private)
                .decided_by(&found.by))
        }
        Err(rejection) if rejection.reason == Reason::KeysUnavailable && principal.is_proven() => Ok(None),
        Err(rejection) => Err(rejection),
    }
}

/// Asks the rules of the route as they are now.
fn ask(
    context: &Context<'_>,
    admitted: &Admitted,
    (route, params): (&RouteBundle, &Params),
    (principal, allowed): (&Principal, Option<&AllowedRegions>),
) -> Result<(), Rejection> {
    let body = match &admitted.body {
        BodyState::Released(bytes) if route.reads_body => {
            validate_body::parse(&admitted.canonical.headers, bytes)?
        }
        // A body that was passed on as it came is not here any more: a policy that reads it finds none.
        BodyState::Released(_) | BodyState::Stream { .. } | BodyState::Held(_) => None,
    };
    let outcome = authorize::put(
        context,
        &Question {
            canonical: &admitted.canonical,
            principal,
            route,
            params,
            operation: context.record.operation.as_deref(),
            allowed,
            body: body.as_ref(),
        },
    );
    match (outcome.verdict, outcome.decided_by) {
        (Ok(_), _) => Ok(()),
        (Err(rejection), Some(origin)) => Err(rejection.decided_by(&origin)),
        (Err(rejection), None) => Err(rejection),
    }
}
