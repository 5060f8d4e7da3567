//! One operation: its parameters and its body.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use portcullis_model::{Reason, Rejection, RequestHead, Violation};

use super::body::BodyGate;
use super::media::{MediaRange, MediaType};
use super::parameter::{Parameter, Sources};
use super::schema::Schema;
use super::shape::Fields;
use super::violation::{MAX_VIOLATIONS, Pointer, violation};

/// One operation of a contract.
#[derive(Debug)]
pub struct Operation {
    pub(super) id: Arc<str>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<BodyRule>,
}

/// What an operation says about its request's body.
#[derive(Debug)]
pub(super) struct BodyRule {
    pub(super) is_required: bool,
    /// The most precise first.
    pub(super) media: Vec<(MediaRange, BodyKind)>,
}

/// How a body of one media type is judged.
#[derive(Debug)]
pub(super) enum BodyKind {
    /// Strict JSON, against a schema if there is one.
    Json(Option<Schema>),
    /// `application/x-www-form-urlencoded`, read as a flat object.
    Form(Fields, Schema),
    /// Named by the contract, which says no more about it than its size.
    Opaque,
}

/// Values of a path's parameters, by name, still percent-encoded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PathParams(pub(super) Vec<(Arc<str>, String)>);

/// Whether a request's body has to be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyNeed {
    /// The contract has nothing more to say; the body may stream.
    None,
    /// The body must be pushed through [`Operation::body_gate`] before a byte goes on.
    Gate,
}

impl BodyNeed {
    /// True when the body goes through a gate.
    #[must_use]
    pub const fn judges_body(self) -> bool {
        match self {
            Self::None => false,
            Self::Gate => true,
        }
    }
}

impl Operation {
    /// Its `operationId`, or `GET /path` with the path as the document writes it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// Judges the head. `has_body` says whether the message has a body, as its framing declares.
    ///
    /// # Errors
    /// Refuses parameters that do not fit with every violation found, at most 32; a media type that the contract does
    /// not name; a body where the operation takes none, and a required one that is missing.
    pub fn validate_head(
        &self,
        head: &RequestHead<'_>,
        params: &PathParams,
        has_body: bool,
    ) -> Result<BodyNeed, Rejection> {
        let sources = Sources::new(head, &params.0);
        let mut violations: Vec<Violation> = Vec::new();
        for parameter in &self.parameters {
            if let Err(found) = parameter.check(&sources) {
                violations.extend(found);
            }
            if violations.len() >= MAX_VIOLATIONS {
                violations.truncate(MAX_VIOLATIONS);
                break;
            }
        }
        if !violations.is_empty() {
            return Err(Rejection::new(Reason::ParametersInvalid).with_violations(violations));
        }
        self.body_need(head, has_body)
    }

    /// The gate for a request's body, or `None` when the contract has no more to say about it.
    #[must_use]
    pub fn body_gate(self: &Arc<Self>, head: &RequestHead<'_>, max: u64) -> Option<BodyGate> {
        match self.body_need(head, true) {
            Ok(BodyNeed::None) => None,
            Ok(BodyNeed::Gate) | Err(_) => {
                let media = self.media(head).ok();
                Some(BodyGate::new(Arc::clone(self), media, max))
            }
        }
    }

    fn body_need(&self, head: &RequestHead<'_>, has_body: bool) -> Result<BodyNeed, Rejection> {
        match (&self.body, has_body) {
            (None, false) => Ok(BodyNeed::None),
            (None, true) => Err(refused_media("no body").with_public("this operation takes no body")),
            (Some(rule), false) if rule.is_required => Err(Rejection::new(Reason::BodyMissing)),
            (Some(_), false) => Ok(BodyNeed::None),
            (Some(rule), true) => {
                let entry = self.media(head)?;
                Ok(match rule.media.get(entry) {
                    // A length says that there is a body; without one, only reading it can tell.
                    Some((_, BodyKind::Opaque)) if !rule.is_required || has_length(head) => BodyNeed::None,
                    Some(_) | None => BodyNeed::Gate,
                })
            }
        }
    }

    /// Which entry of `content` a request's media type falls under.
    fn media(&self, head: &RequestHead<'_>) -> Result<usize, Rejection> {
        let rule = self.body.as_ref().ok_or_else(|| refused_media("no body"))?;
        let accepted = || {
            let names: Vec<_> = rule.media.iter().map(|(range, _)| range.to_string()).collect();
            names.join(", ")
        };
        let media = match head.headers.contains_key(CONTENT_TYPE) {
            true => head
                .single_header(CONTENT_TYPE.as_str())
                .and_then(MediaType::parse),
            false => None,
        };
        let media = media.ok_or_else(|| refused_media(accepted()))?;
        let entry = rule.media.iter().position(|(range, _)| range.includes(&media));
        let entry = entry.ok_or_else(|| refused_media(accepted()))?;
        match rule.media.get(entry) {
            Some((_, BodyKind::Json(_) | BodyKind::Form(..))) => {
                // What is compressed cannot be judged, and is never passed on unjudged.
                let is_plain = head.headers.get_all(CONTENT_ENCODING).iter().all(|coding| {
                    coding
                        .to_str()
                        .is_ok_and(|coding| coding.trim().eq_ignore_ascii_case("identity"))
                });
                if !is_plain {
                    return Err(refused_media("a body without content coding"));
                }
                if !media.is_utf8() {
                    return Err(refused_media("charset utf-8"));
                }
            }
            Some((_, BodyKind::Opaque)) | None => {}
        }
        Ok(entry)
    }
}

fn refused_media(expected: impl Into<String>) -> Rejection {
    let told = violation("header", Pointer::of("content-type"), "content", expected);
    Rejection::new(Reason::MediaType).with_violations(vec![told])
}

fn has_length(head: &RequestHead<'_>) -> bool {
    let length = head
        .single_header(CONTENT_LENGTH.as_str())
        .and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| length > 0)
}
