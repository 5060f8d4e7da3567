//! `validate_head`: the head against the operation's contract, and how the body will be treated.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use portcullis_admission::contract::{BodyNeed, Lookup, Operation};
use portcullis_admission::plan::UnknownOperations;
use portcullis_model::{Mode, Reason, Rejection, Stage};

use super::limit::Limited;
use super::match_route::method_not_allowed;
use super::validate_body::observed;
use crate::context::Context;
use crate::snapshot::ContractBundle;

/// A contract holds bodies up to this size unless the route says otherwise.
pub(crate) const DEFAULT_CONTRACT_BODY: u64 = 1024 * 1024;
/// What can be read before `authorize`, and given out again on a second attempt.
pub(crate) const REPLAYABLE_BODY: u64 = 64 * 1024;

/// A request whose head fits its contract.
pub(crate) struct Checked {
    pub(crate) limited: Limited,
    pub(crate) operation: Option<CheckedOperation>,
}

/// The operation whose contract the body must fit.
pub(crate) struct CheckedOperation {
    pub(crate) operation: Arc<Operation>,
    /// Whether the verdict on the body counts.
    pub(crate) mode: Mode,
    /// Whether the body has a contract at all.
    pub(crate) judges_body: bool,
}

impl Checked {
    /// True when a policy must see the body before it can decide.
    pub(crate) fn needs_body(&self) -> bool {
        let routed = &self.limited.authenticated.routed;
        routed.route.reads_body && routed.canonical.has_body
    }

    /// The most that may be read for a policy.
    pub(crate) fn body_max(&self) -> u64 {
        self.limited
            .authenticated
            .routed
            .route
            .plan
            .body_max
            .unwrap_or(REPLAYABLE_BODY)
            .min(REPLAYABLE_BODY)
    }
}

/// Checks the head.
pub(crate) fn validate_head(context: &mut Context<'_>, limited: Limited) -> Result<Checked, Rejection> {
    let routed = &limited.authenticated.routed;
    refuse_declared_size(&limited)?;
    let Some(contract) = &routed.route.contract else {
        return Ok(Checked {
            limited,
            operation: None,
        });
    };
    let mode = contract.guard.mode_for(context.roll);
    if mode == Mode::Off {
        return Ok(Checked {
            limited,
            operation: None,
        });
    }
    let verdict = check(contract, &limited);
    context.count_contract(
        &contract.id,
        mode,
        verdict.as_ref().map(drop).map_err(|rejection| rejection.reason),
    );
    match verdict {
        Ok(found) => {
            let operation = found.map(|(operation, need)| {
                context.record.operation = Some(operation.shared_id());
                CheckedOperation {
                    operation,
                    mode,
                    judges_body: need.judges_body(),
                }
            });
            context.note(Stage::ValidateHead, Some(&contract.origin), || match &operation {
                Some(found) => format!(
                    "operation {} of contract \"{}\"",
                    found.operation.id(),
                    contract.id
                ),
                None => format!(
                    "contract \"{}\" does not know the operation and allows it",
                    contract.id
                ),
            });
            Ok(Checked { limited, operation })
        }
        Err(rejection) if mode == Mode::Observe => {
            let one = observed(contract.id.as_str(), &contract.origin, &rejection);
            context.observe(Stage::ValidateHead, vec![one]);
            Ok(Checked {
                limited,
                operation: None,
            })
        }
        Err(rejection) => Err(rejection.decided_by(&contract.origin)),
    }
}

fn check(
    contract: &ContractBundle,
    limited: &Limited,
) -> Result<Option<(Arc<Operation>, BodyNeed)>, Rejection> {
    let canonical = &limited.authenticated.routed.canonical;
    match contract.contract.operation(&canonical.method, &canonical.path) {
        Lookup::Found(found) => {
            let need = found
                .operation
                .validate_head(&canonical.head(), &found.params, canonical.has_body)?;
            Ok(Some((Arc::clone(found.operation), need)))
        }
        Lookup::MethodNotAllowed(_) | Lookup::Unknown
            if contract.unknown_operations == UnknownOperations::Allow =>
        {
            Ok(None)
        }
        Lookup::MethodNotAllowed(methods) => Err(method_not_allowed(Reason::OperationMethod, &methods)),
        Lookup::Unknown => Err(Rejection::new(Reason::OperationUnknown)),
    }
}

/// A declared length above the route's limit is refused before a byte of it is read.
fn refuse_declared_size(limited: &Limited) -> Result<(), Rejection> {
    let routed = &limited.authenticated.routed;
    let Some(length) = routed.canonical.headers.get(CONTENT_LENGTH) else {
        return Ok(());
    };
    let length: u64 = length
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Rejection::new(Reason::FieldInvalid))?;
    match effective_max(limited) {
        Some(max) if length > max => {
            Err(Rejection::new(Reason::BodyTooLargeDeclared).decided_by(&routed.route.plan.origin))
        }
        Some(_) | None => Ok(()),
    }
}

/// The route's limit: its own, or 1 MiB with a contract, or none.
pub(crate) fn effective_max(limited: &Limited) -> Option<u64> {
    let route = &limited.authenticated.routed.route;
    let own = route
        .plan
        .body_max
        .or_else(|| route.contract.as_ref().map(|_| DEFAULT_CONTRACT_BODY));
    if route.reads_body {
        Some(own.unwrap_or(REPLAYABLE_BODY).min(REPLAYABLE_BODY))
    } else {
        own
    }
}
