//! `authenticate`: limits that need no principal, so that a flood of bad credentials pays; then who is asking.

use portcullis_admission::limit::{self, Charge, LimitFacts, RateLimitFields};
use portcullis_identity::{Credentials, Standing};
use portcullis_model::{Identity, Principal, Reason, Rejection, Stage};

use super::match_route::Routed;
use crate::context::Context;

/// A routed request with a principal.
pub(crate) struct Authenticated {
    pub(crate) routed: Routed,
    pub(crate) principal: Principal,
    pub(crate) standing: Standing,
    pub(crate) early_fields: Option<RateLimitFields>,
}

/// Finds the principal.
pub(crate) async fn authenticate(
    context: &mut Context<'_>,
    routed: Routed,
) -> Result<Authenticated, Rejection> {
    let early_fields = charge_early(context, &routed)?;
    let Some(authenticator) = &routed.route.authenticator else {
        context.note(Stage::Authenticate, Some(&routed.route.plan.origin), || {
            "a public route: anonymous".to_owned()
        });
        context.record.principal = Some(Identity::Anonymous);
        return Ok(Authenticated {
            routed,
            principal: Principal::anonymous(),
            standing: Standing::anonymous(),
            early_fields,
        });
    };
    let credentials = Credentials {
        headers: &routed.canonical.headers,
        peer: context.connection.peer_identity(),
    };
    let found = if context.is_offline {
        authenticator.authenticate_offline(credentials, context.now.wall)
    } else {
        authenticator.authenticate(credentials, context.now.wall).await
    };
    let found = found.map_err(|rejection| decided_by_the_route(rejection, &routed))?;
    let principal = found.principal;
    context.record.principal = Some(principal.identity.clone());
    context.record.tenant = principal.attributes.tenant.clone();
    context.note(Stage::Authenticate, Some(&found.by), || {
        format!(
            "{} \"{principal}\" by {}",
            principal.kind(),
            principal.proof.as_str()
        )
    });
    Ok(Authenticated {
        routed,
        principal,
        standing: found.standing,
        early_fields,
    })
}

/// A refusal that no scheme of its own decided, as of missing credentials, is the demand of the first scheme.
fn decided_by_the_route(rejection: Rejection, routed: &Routed) -> Rejection {
    let is_decided = rejection
        .detail
        .as_ref()
        .is_some_and(|detail| detail.decided_by.is_some());
    match routed.route.plan.authenticate.first() {
        Some(scheme) if !is_decided => rejection.decided_by(&scheme.origin),
        Some(_) | None => rejection,
    }
}

fn charge_early(context: &mut Context<'_>, routed: &Routed) -> Result<Option<RateLimitFields>, Rejection> {
    if routed.route.early_limits.is_empty() {
        return Ok(None);
    }
    let outcome = limit::check(
        &context.boards.limits,
        &routed.route.early_limits,
        &LimitFacts {
            head: &routed.canonical.head(),
            sni: context.connection.sni(),
            route: Some(&routed.route.plan.id),
            principal: None,
        },
        Charge {
            reason: Reason::RateLimitedEarly,
            roll: context.roll,
            now: context.now.mono,
        },
    );
    context.observe(Stage::Authenticate, outcome.observed);
    outcome.verdict?;
    Ok(outcome.fields)
}
