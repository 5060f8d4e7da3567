//! `authorize`: all rules of the route must allow; only here is a ticket made.

use portcullis_admission::policy::{
    self, Allowed, Ask, AuthorizeOutcome, ClientCertificate, GatewayFacts, PolicyInput, RouteFacts,
};
use portcullis_model::{JurisdictionId, Mode, Principal, Reason, Rejection, Stage};
use portcullis_routing::residency::AllowedRegions;
use portcullis_routing::route_table::Params;

use super::admitted::{Admitted, Seal};
use super::normalize::Canonical;
use super::validate_body::JudgedBody;
use super::validate_head::{Checked, effective_max};
use crate::boards::HeldShare;
use crate::body::{BodyState, HeldBody};
use crate::context::Context;
use crate::snapshot::{RouteBundle, Snapshot};

/// What the rules of a route are asked about.
pub(crate) struct Question<'a> {
    pub(crate) canonical: &'a Canonical,
    pub(crate) principal: &'a Principal,
    pub(crate) route: &'a RouteBundle,
    pub(crate) params: &'a Params,
    /// The contract's operation.
    pub(crate) operation: Option<&'a str>,
    /// Where it may be processed; `None` when that is not known.
    pub(crate) allowed: Option<&'a AllowedRegions>,
    /// The body, where it is known and JSON.
    pub(crate) body: Option<&'a serde_json::Value>,
}

/// Asks every rule, and gives the ticket.
pub(crate) fn authorize(
    context: &mut Context<'_>,
    checked: Checked,
    body: Option<JudgedBody>,
) -> Result<Admitted, Rejection> {
    let allowed_regions = match &checked.limited.authenticated.routed.route.residency {
        Some(residency) => residency.allowed(&checked.limited.authenticated.principal),
        None => Ok(AllowedRegions::All),
    };
    let json = body.as_ref().and_then(|body| body.json.as_ref());
    let Allowed { request_headers } = ask(context, &checked, allowed_regions.as_ref().ok(), json)?;
    let allowed = allowed_regions?;
    let body = body_state(context, &checked, body)?;
    let limited = checked.limited;
    let authenticated = limited.authenticated;
    let routed = authenticated.routed;
    Ok(Admitted {
        canonical: routed.canonical,
        route: routed.route,
        prefix_len: routed.prefix_len,
        principal: authenticated.principal,
        standing: authenticated.standing,
        request_headers,
        limit_fields: limited.fields,
        allowed,
        body,
        _seal: Seal,
    })
}

fn ask(
    context: &mut Context<'_>,
    checked: &Checked,
    allowed: Option<&AllowedRegions>,
    body: Option<&serde_json::Value>,
) -> Result<Allowed, Rejection> {
    let authenticated = &checked.limited.authenticated;
    let routed = &authenticated.routed;
    let outcome = put(
        context,
        &Question {
            canonical: &routed.canonical,
            principal: &authenticated.principal,
            route: &routed.route,
            params: &routed.params,
            operation: checked.operation.as_ref().map(|found| found.operation.id()),
            allowed,
            body,
        },
    );
    for rule in &outcome.trace {
        context.note_rule(rule);
    }
    context.observe(Stage::Authorize, outcome.observed);
    outcome.verdict.map_err(|rejection| match outcome.decided_by {
        Some(origin) => rejection.decided_by(&origin),
        None => rejection,
    })
}

/// Puts the question to every rule of the route.
pub(crate) fn put(context: &Context<'_>, question: &Question<'_>) -> AuthorizeOutcome {
    let snapshot = context.snapshot;
    let certificate = context.connection.peer_identity().map(|peer| ClientCertificate {
        spiffe_id: peer.spiffe_id.as_ref().ok(),
        fingerprint: &peer.fingerprint,
        not_after: peer.not_after,
    });
    let route = question.route;
    let residency = if route.asks_policy {
        jurisdictions(snapshot, question.allowed)
    } else {
        Vec::new()
    };
    let input = PolicyInput {
        request_id: &context.record.request_id,
        head: question.canonical.head(),
        principal: question.principal,
        certificate,
        route: RouteFacts {
            name: &route.plan.id,
            class: route.plan.class.as_str(),
            params: question.params,
            operation: question.operation,
            residency: &residency,
        },
        gateway: GatewayFacts {
            region: snapshot.routing.local(),
            revision: &snapshot.revision,
        },
        body: question.body,
    };
    // A rehearsal shows what the policy says, not what it said.
    let how = if context.is_offline {
        Ask::Afresh
    } else {
        Ask::Remembering
    };
    let outcome = policy::authorize(&route.authorize, &input, context.roll, how);
    context.count_policies(&outcome.trace);
    outcome
}

/// How the body goes on: released when it was judged already, held under a contract, streamed otherwise.
fn body_state(
    context: &Context<'_>,
    checked: &Checked,
    body: Option<JudgedBody>,
) -> Result<BodyState, Rejection> {
    if let Some(body) = body {
        return Ok(BodyState::Released(body.bytes));
    }
    let max = effective_max(&checked.limited);
    let routed = &checked.limited.authenticated.routed;
    let held = checked
        .operation
        .as_ref()
        .filter(|found| found.judges_body && routed.canonical.has_body);
    let (Some(found), Some(contract), Some(max)) = (held, routed.route.contract.as_ref(), max) else {
        return Ok(BodyState::Stream { max, seen: 0 });
    };
    let Some(gate) = found.operation.body_gate(&routed.canonical.head(), max) else {
        return Err(
            Rejection::new(Reason::Internal).with_private("an operation that judges bodies has no gate")
        );
    };
    let ceiling = context.snapshot.plan.held_bodies;
    Ok(BodyState::Held(Box::new(HeldBody {
        gate,
        max,
        share: HeldShare::new(std::sync::Arc::clone(&context.boards.held), ceiling),
        origin: contract.origin.clone(),
        is_observed: found.mode == Mode::Observe,
        received: Vec::new(),
        observed: None,
        operation: std::sync::Arc::clone(&found.operation),
    })))
}

/// The jurisdictions that lie wholly within the allowed regions; empty where everything is allowed.
fn jurisdictions(snapshot: &Snapshot, allowed: Option<&AllowedRegions>) -> Vec<JurisdictionId> {
    match allowed {
        None | Some(AllowedRegions::All) => Vec::new(),
        Some(allowed) => snapshot
            .plan
            .routing
            .jurisdictions
            .iter()
            .filter(|(_, regions)| {
                !regions.is_empty() && regions.iter().all(|region| allowed.contains(region))
            })
            .map(|(id, _)| id.clone())
            .collect(),
    }
}
