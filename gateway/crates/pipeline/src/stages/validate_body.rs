//! `validate_body` for routes whose policy reads the body: judged whole, before `authorize`. On every other route the
//! body is judged on its way, by the [`BodyGate`](portcullis_admission::contract::BodyGate) in the exchange.

use bytes::Bytes;
use portcullis_admission::Observed;
use portcullis_model::{Mode, Origin, Rejection, Stage};
use serde_json::Value;

use super::validate_head::Checked;
use crate::context::Context;

/// A judged body: its bytes, and its JSON for a policy.
pub(crate) struct JudgedBody {
    pub(crate) bytes: Bytes,
    pub(crate) json: Option<Value>,
}

/// Judges a body that was read whole.
pub(crate) fn validate_body(
    context: &mut Context<'_>,
    checked: Checked,
    body: &[u8],
) -> Result<(Checked, JudgedBody), Rejection> {
    let bytes = Bytes::copy_from_slice(body);
    let routed = &checked.limited.authenticated.routed;
    let contract = routed.route.contract.as_ref();
    let gated = checked.operation.as_ref().filter(|found| found.judges_body);
    let gate = gated.and_then(|found| {
        let gate = found
            .operation
            .body_gate(&routed.canonical.head(), checked.body_max())?;
        Some((found.mode, gate))
    });
    let (Some((mode, mut gate)), Some(contract)) = (gate, contract) else {
        let json = parse(&routed.canonical.headers, body)?;
        return Ok((checked, JudgedBody { bytes, json }));
    };
    let verdict = gate.push(body).and_then(|()| gate.finish());
    let counted = verdict.as_ref().map(drop).map_err(|rejection| rejection.reason);
    context.count_contract(&contract.id, mode, counted);
    match verdict {
        Ok(held) => {
            context.note(Stage::ValidateBody, Some(&contract.origin), || {
                format!("{} bytes fit", body.len())
            });
            Ok((
                checked,
                JudgedBody {
                    bytes: held.bytes,
                    json: held.json,
                },
            ))
        }
        Err(rejection) if mode == Mode::Observe => {
            let one = observed(contract.id.as_str(), &contract.origin, &rejection);
            context.observe(Stage::ValidateBody, vec![one]);
            let json = parse(&routed.canonical.headers, body)?;
            Ok((checked, JudgedBody { bytes, json }))
        }
        Err(rejection) => Err(rejection.decided_by(&contract.origin)),
    }
}

/// The JSON that a policy reads where no contract judged it: strict, or refused.
pub(crate) fn parse(headers: &http::HeaderMap, body: &[u8]) -> Result<Option<Value>, Rejection> {
    let is_json = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|text| {
            text.split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        })
        .is_some_and(|media| media == "application/json" || media.ends_with("+json"));
    if !is_json {
        return Ok(None);
    }
    portcullis_admission::contract::parse_strict(body).map(Some)
}

/// What a contract in observe mode would have refused.
pub(crate) fn observed(contract: &str, origin: &Origin, rejection: &Rejection) -> Observed {
    let violation = rejection
        .detail
        .as_deref()
        .and_then(|detail| detail.violations.first());
    Observed {
        guard: format!("contract:{contract}"),
        origin: origin.clone(),
        reason: rejection.reason,
        text: violation.map(|one| format!("{} {} {}", one.location, one.pointer, one.keyword)),
    }
}
