//! `authorize`: all rules of the route must allow; only here is a ticket made.

use portcullis_admission::policy::{
    self, Allowed, Ask, ClientCertificate, GatewayFacts, PolicyInput, RouteFacts,
};
use portcullis_model::{JurisdictionId, Mode, Reason, Rejection, Stage};
use portcullis_routing::residency::AllowedRegions;

use super::admitted::{Admitted, Seal};
use super::validate_body::JudgedBody;
use super::validate_head::{Checked, effective_max};
use crate::boards::HeldShare;
use crate::body::{BodyState, HeldBody};
use crate::context::Context;
use crate::snapshot::Snapshot;

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
    let snapshot = context.snapshot;
    let certificate = context.connection.peer_identity().map(|peer| ClientCertificate {
        spiffe_id: peer.spiffe_id.as_ref().ok(),
        fingerprint: &peer.fingerprint,
        not_after: peer.not_after,
    });
    let residency = if routed.route.asks_policy {
        jurisdictions(snapshot, allowed)
    } else {
        Vec::new()
    };
    let input = PolicyInput {
        request_id: &context.record.request_id,
        head: routed.canonical.head(),
        principal: &authenticated.principal,
        certificate,
        route: RouteFacts {
            name: &routed.route.plan.id,
            class: routed.route.plan.class.as_str(),
            params: &routed.params,
            operation: checked.operation.as_ref().map(|found| found.operation.id()),
            residency: &residency,
        },
        gateway: GatewayFacts {
            region: snapshot.routing.local(),
            revision: &snapshot.revision,
        },
        body,
    };
    // A rehearsal shows what the policy says, not what it said.
    let how = if context.is_offline {
        Ask::Afresh
    } else {
        Ask::Remembering
    };
    let outcome = policy::authorize(&routed.route.authorize, &input, context.roll, how);
    for rule in &outcome.trace {
        context.note_rule(rule);
    }
    context.count_policies(&outcome.trace);
    context.observe(Stage::Authorize, outcome.observed);
    outcome.verdict.map_err(|rejection| match outcome.decided_by {
        Some(origin) => rejection.decided_by(&origin),
        None => rejection,
    })
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
