//! The lease of a live exchange: what lets it go on, asked again while it does.
//!
//! A request was judged once, when it began. One that lives on (a WebSocket, a stream of events, a long transfer) is
//! judged again when its proof ends and at every beat of the pulse: whether its principal is still proven, and, when
//! another configuration serves meanwhile, whether that one would still let the same request through to where it
//! runs. Nothing is charged again, and what the request was read as stays as it was: its canonical head, and its body
//! as far as that was kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_identity::{Credentials, PeerIdentity, Still, standing};
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
    /// Until when keys are waited for that confirm what was proven; `None`: it was confirmed.
    pub(crate) awaits_until: Option<Instant>,
}

/// How often a policy that gives no answer in time is asked again. A reload asks for everything that lives at once, and
/// what that costs must not be what ends it; one that never answers denies, as it would deny a new request.
const PATIENCE: u8 = 3;

/// What is still proven.
enum Proof {
    /// The principal, where the route asks for one.
    Confirmed(Option<Principal>),
    /// What was proven before; the keys that would confirm it may come within this time.
    Awaited(Duration),
}

impl Proof {
    const fn patience(&self) -> Option<Duration> {
        match self {
            Self::Confirmed(_) => None,
            Self::Awaited(patience) => Some(*patience),
        }
    }
}

/// What another configuration found.
pub(crate) struct Renewed {
    pub(crate) route: Arc<RouteBundle>,
    pub(crate) allowed: AllowedRegions,
    /// How long keys may be waited for that confirm the proof; `None`: it is confirmed.
    pub(crate) patience: Option<Duration>,
}

impl Lease {
    /// The lease of a request that begins.
    pub(crate) const fn begun(beats: u64) -> Self {
        Self {
            beats,
            route: None,
            unanswered: 0,
            awaits_until: None,
        }
    }

    /// Takes note of keys that are waited for, and of those that have come; the wait begins once.
    ///
    /// # Errors
    /// When they did not come in time: nothing confirms what was proven by them.
    pub(crate) fn await_keys(&mut self, patience: Option<Duration>, now: Instant) -> Result<(), Rejection> {
        let Some(patience) = patience else {
            self.awaits_until = None;
            return Ok(());
        };
        let until = *self.awaits_until.get_or_insert(now + patience);
        if now < until {
            return Ok(());
        }
        Err(Rejection::new(Reason::KeysUnavailable)
            .with_private("the keys that would confirm the token did not come in time"))
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

/// Judges under the configuration that judged last: only what was proven can have changed. Gives how long keys may be
/// waited for that confirm it; `None`: it is confirmed.
pub(crate) fn judge_proof(
    context: &Context<'_>,
    admitted: &Admitted,
    route: &RouteBundle,
) -> Result<Option<Duration>, Rejection> {
    prove(context, admitted, route).map(|proof| proof.patience())
}

/// Judges under another configuration, that of `context`.
pub(crate) fn judge_anew(
    context: &Context<'_>,
    admitted: &Admitted,
    region: Option<&RegionId>,
) -> Result<Renewed, Rejection> {
    let (route, params) = find_route(context, admitted)?;
    let proof = prove(context, admitted, &route)?;
    let principal = match &proof {
        Proof::Confirmed(Some(principal)) => principal,
        Proof::Confirmed(None) | Proof::Awaited(_) => &admitted.principal,
    };
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
        Some(_) | None => {
            let patience = proof.patience();
            Ok(Renewed {
                route,
                allowed,
                patience,
            })
        }
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
/// The credentials are those of the request. Keys that have not been here yet, as of an issuer whose configuration
/// changed, prove nothing and refute nothing: the principal stays, and is asked about again when the keys arrive, which
/// is a beat of the pulse, or do not arrive in time.
fn prove(context: &Context<'_>, admitted: &Admitted, route: &RouteBundle) -> Result<Proof, Rejection> {
    let principal = &admitted.principal;
    let peer = context.connection.peer_identity();
    let boards = &context.boards.identity;
    normalize::refuse_misdirected(context, &admitted.canonical.host)?;
    admitted
        .standing
        .judge(boards, principal, peer, context.now.wall)?;
    let Some(authenticator) = &route.authenticator else {
        return Ok(Proof::Confirmed(None));
    };
    let credentials = Credentials {
        headers: &admitted.canonical.headers,
        peer,
    };
    match authenticator.still_proves(credentials, context.now.wall)? {
        Still::Proven(found) if found.principal.identity == principal.identity => {
            Ok(Proof::Confirmed(Some(found.principal)))
        }
        Still::Proven(found) => {
            let private = format!("its credentials prove {} by now", found.principal);
            Err(Rejection::new(Reason::NotAuthenticated)
                .with_private(private)
                .decided_by(&found.by))
        }
        Still::AwaitsKeys(patience) if principal.is_proven() => Ok(Proof::Awaited(patience)),
        Still::AwaitsKeys(_) => Err(Rejection::new(Reason::KeysUnavailable).decided_by(&route.plan.origin)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_waited_for_once_and_not_for_ever() {
        let (mut lease, now) = (Lease::begun(0), Instant::now());
        let patience = Some(Duration::from_secs(60));

        lease.await_keys(patience, now).unwrap();
        lease.await_keys(patience, now + Duration::from_secs(59)).unwrap();
        let late = lease.await_keys(patience, now + Duration::from_secs(60));

        assert_eq!(late.unwrap_err().reason, Reason::KeysUnavailable);
    }

    #[test]
    fn keys_that_came_end_the_wait() {
        let (mut lease, now) = (Lease::begun(0), Instant::now());
        let patience = Some(Duration::from_secs(60));
        lease.await_keys(patience, now).unwrap();

        lease.await_keys(None, now + Duration::from_secs(30)).unwrap();

        assert_eq!(lease.awaits_until, None);
        lease.await_keys(patience, now + Duration::from_secs(60)).unwrap();
    }
}
