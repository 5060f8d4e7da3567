//! The order of a request on one page: each stage needs the previous one's output, so a wrong order is a type error.

pub(crate) mod admitted;
pub(crate) mod authenticate;
pub(crate) mod authorize;
pub(crate) mod cors;
pub(crate) mod limit;
pub(crate) mod match_route;
pub mod normalize;
pub(crate) mod observe;
pub mod prepare_upstream;
pub(crate) mod record;
pub(crate) mod retry;
pub mod select_endpoint;
pub(crate) mod shed;
pub(crate) mod validate_body;
pub(crate) mod validate_head;

use portcullis_model::Rejection;

use self::match_route::Matched;
use self::validate_head::Checked;
use crate::answer::{self, LocalAnswer};
use crate::connection::RawHead;
use crate::context::Context;
use crate::snapshot::Action;
use crate::stages::admitted::Admitted;

/// Where the guards leave a request.
pub(crate) enum Outcome {
    /// On its way to an endpoint.
    Forward(Box<Admitted>),
    /// Answered here.
    Answer(LocalAnswer),
    /// A policy reads the body first.
    NeedsBody(Box<Checked>),
}

/// `normalize` to `authorize`.
pub(crate) async fn admit(context: &mut Context<'_>, raw: RawHead<'_>) -> Result<Outcome, Rejection> {
    let canonical = normalize::normalize(context, raw)?;
    let unshed = shed::shed(context, canonical)?;
    let matched = match match_route::match_route(context, unshed)? {
        Matched::Answered(answer) => return Ok(Outcome::Answer(answer)),
        Matched::Route(matched) => matched,
    };
    let authenticated = authenticate::authenticate(context, matched).await?;
    let limited = limit::limit(context, authenticated)?;
    let checked = validate_head::validate_head(context, limited)?;
    if checked.needs_body() {
        return Ok(Outcome::NeedsBody(Box::new(checked)));
    }
    let admitted = authorize::authorize(context, checked, None)?;
    Ok(conclude(context, admitted))
}

/// The rest for a route whose policy reads the body: `validate_body` runs before `authorize`.
pub(crate) fn admit_with_body(
    context: &mut Context<'_>,
    checked: Checked,
    body: &[u8],
) -> Result<Outcome, Rejection> {
    let (checked, body) = validate_body::validate_body(context, checked, body)?;
    let admitted = authorize::authorize(context, checked, Some(body))?;
    Ok(conclude(context, admitted))
}

/// An admitted request is forwarded, or answered by its route.
fn conclude(context: &Context<'_>, admitted: Admitted) -> Outcome {
    let mut answer = match &admitted.route.action {
        Action::Forward { .. } => return Outcome::Forward(Box::new(admitted)),
        Action::KeySet => answer::key_set(&context.snapshot.identity.assertion_keys()),
        Action::Answer {
            status,
            headers,
            body,
        } => LocalAnswer {
            status: *status,
            headers: headers.clone(),
            body: body.clone(),
        },
    };
    observe::local_fields(&admitted, &mut answer.headers);
    Outcome::Answer(answer)
}
