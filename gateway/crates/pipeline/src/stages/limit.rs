//! `limit`: how much this principal or tenant may ask; what an earlier point charged stays paid.

use portcullis_admission::limit::{self, Charge, LimitFacts, RateLimitFields};
use portcullis_model::{Reason, Rejection, Stage};

use super::authenticate::Authenticated;
use crate::context::Context;

/// A request within every limit.
pub(crate) struct Limited {
    pub(crate) authenticated: Authenticated,
    pub(crate) fields: Option<RateLimitFields>,
}

/// Charges the route's limits that need a principal, all or none.
pub(crate) fn limit(
    context: &mut Context<'_>,
    mut authenticated: Authenticated,
) -> Result<Limited, Rejection> {
    let early_fields = authenticated.early_fields.take();
    let routed = &authenticated.routed;
    if routed.route.limits.is_empty() {
        let count = routed.route.early_limits.len();
        context.note(Stage::Limit, None, || match count {
            0 => "the route has no limits".to_owned(),
            count => format!("within {count} limits, charged before authenticate"),
        });
        return Ok(Limited {
            authenticated,
            fields: early_fields,
        });
    }
    let outcome = limit::check(
        &context.boards.limits,
        &routed.route.limits,
        &LimitFacts {
            head: &routed.canonical.head(),
            sni: context.connection.sni(),
            route: Some(&routed.route.plan.id),
            principal: Some(&authenticated.principal),
        },
        Charge {
            reason: Reason::RateLimited,
            roll: context.roll,
            now: context.now.mono,
        },
    );
    context.observe(Stage::Limit, outcome.observed);
    outcome.verdict?;
    let count = routed.route.limits.len();
    context.note(Stage::Limit, None, || format!("within {count} limits"));
    let fields = RateLimitFields::merge(early_fields, outcome.fields);
    Ok(Limited {
        authenticated,
        fields,
    })
}
