//! `shed`: the listener's own limits, before any costly work.

use portcullis_admission::limit::{self, Charge, LimitFacts};
use portcullis_model::{Reason, Rejection, Stage};

use super::normalize::Canonical;
use crate::context::Context;

/// A canonical request that its listener lets in.
pub(crate) struct Unshed {
    pub(crate) canonical: Box<Canonical>,
}

/// Charges the listener's limits, all or none.
pub(crate) fn shed(context: &mut Context<'_>, canonical: Box<Canonical>) -> Result<Unshed, Rejection> {
    let Some(listener) = context.snapshot.listener(&context.connection.listener) else {
        return Err(
            Rejection::new(Reason::Internal).with_private("the listener is not part of the configuration")
        );
    };
    if listener.rate_limits.is_empty() {
        return Ok(Unshed { canonical });
    }
    let outcome = limit::check(
        &context.boards.limits,
        &listener.rate_limits,
        &LimitFacts {
            head: &canonical.head(),
            sni: context.connection.sni(),
            route: None,
            principal: None,
        },
        Charge {
            reason: Reason::ListenerRateLimited,
            roll: context.roll,
            now: context.now.mono,
        },
    );
    context.observe(Stage::Shed, outcome.observed);
    outcome.verdict?;
    context.note(Stage::Shed, None, || "within the listener's limits".to_owned());
    Ok(Unshed { canonical })
}
