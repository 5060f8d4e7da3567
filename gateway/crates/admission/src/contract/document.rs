//! Finding one's way in an OpenAPI document: every value is known with its pointer, so that every problem names it.

use portcullis_model::{Problem, Problems};
use serde_json::{Map, Value};

use super::violation::escape;
use crate::plan::ContractPlan;

/// References that lead to references; a document with more is going in circles.
const MAX_HOPS: usize = 32;

/// Which dialect a document is written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// Its own subset of an early JSON Schema draft.
    OpenApi30,
    /// JSON Schema 2020-12.
    OpenApi31,
}

/// An OpenAPI document under compilation, with what was found wrong in it so far.
pub(super) struct Document<'d> {
    pub(super) dialect: Dialect,
    pub(super) problems: Problems,
    plan: &'d ContractPlan,
}

/// A value in the document and its JSON Pointer.
#[derive(Clone, Debug)]
pub(super) struct Place<'d> {
    pub(super) value: &'d Value,
    pub(super) pointer: String,
}

impl<'d> Place<'d> {
    /// A member of an object.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        self.value.get(name).map(|value| self.step(name, value))
    }

    /// The members, when it is an object.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'d str, Self)> + use<'_, 'd> {
        let members = self.value.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.as_str(), self.step(name, value)))
    }

    /// The items, when it is an array.
    pub(super) fn items(&self) -> impl Iterator<Item = Self> + use<'_, 'd> {
        let items = self.value.as_array().into_iter().flatten();
        items
            .enumerate()
            .map(|(index, value)| self.step(&index.to_string(), value))
    }

    /// A member that is text.
    pub(super) fn text(&self, name: &str) -> Option<&'d str> {
        self.value.get(name).and_then(Value::as_str)
    }

    /// True when a member is `true`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.value.get(name) == Some(&Value::Bool(true))
    }

    /// The object, or none.
    pub(super) fn object(&self) -> Option<&'d Map<String, Value>> {
        self.value.as_object()
    }

    fn step(&self, name: &str, value: &'d Value) -> Self {
        Self {
            value,
            pointer: format!("{}/{}", self.pointer, escape(name)),
        }
    }
}

impl<'d> Document<'d> {
    /// Opens a document; `None`, with a problem, when its version is not one we know.
    pub(super) fn open(plan: &'d ContractPlan) -> Result<Self, Problems> {
        let version = plan
            .document
            .get("openapi")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let dialect = match version.split('.').collect::<Vec<_>>().as_slice() {
            ["3", "0", ..] => Dialect::OpenApi30,
            ["3", "1", ..] => Dialect::OpenApi31,
            _ => {
                let message = format!("{}#/openapi: not an OpenAPI 3.0 or 3.1 document", plan.file);
                return Err(Problem::error("contract-version", &plan.origin, message).into());
            }
        };
        Ok(Self {
            dialect,
            problems: Problems::new(),
            plan,
        })
    }

    pub(super) fn root(&self) -> Place<'d> {
        Place {
            value: &self.plan.document,
            pointer: String::new(),
        }
    }

    /// Refuses the document because of something in it.
    pub(super) fn error(&mut self, code: &'static str, place: &Place<'_>, message: impl AsRef<str>) {
        self.problems.push(Problem::error(
            code,
            &self.plan.origin,
            self.located(place, message.as_ref()),
        ));
    }

    /// Refuses the document because of what a pointer names.
    pub(super) fn error_at(&mut self, code: &'static str, pointer: &str, message: &str) {
        self.error(
            code,
            &Place {
                value: &Value::Null,
                pointer: pointer.to_owned(),
            },
            message,
        );
    }

    /// Refuses the document and says what to do.
    pub(super) fn error_with_hint(
        &mut self,
        code: &'static str,
        place: &Place<'_>,
        message: &str,
        hint: &str,
    ) {
        self.problems
            .push(Problem::error(code, &self.plan.origin, self.located(place, message)).with_hint(hint));
    }

    /// Reports something that is probably not meant.
    pub(super) fn warn(&mut self, code: &'static str, place: &Place<'_>, message: impl AsRef<str>) {
        self.problems.push(Problem::warning(
            code,
            &self.plan.origin,
            self.located(place, message.as_ref()),
        ));
    }

    fn located(&self, place: &Place<'_>, message: &str) -> String {
        format!("{}#{}: {message}", self.plan.file, place.pointer)
    }

    /// Refuses fields of an object that nothing here reads: what is written must be enforced or refused.
    pub(super) fn refuse_unknown_fields(&mut self, place: &Place<'_>, known: &[&str]) {
        for (name, field) in place.members() {
            if !known.contains(&name) && !name.starts_with("x-") {
                self.error("contract-field", &field, format!("\"{name}\" is not known here"));
            }
        }
    }

    /// Follows `$ref` to where it leads, with the document's own components only.
    pub(super) fn resolve(&mut self, place: Place<'d>) -> Option<Place<'d>> {
        let mut place = place;
        for _ in 0..MAX_HOPS {
            let Some(reference) = place.get("$ref") else {
                return Some(place);
            };
            place = self.follow(&reference)?;
        }
        self.error("contract-reference", &place, "references lead in a circle");
        None
    }

    /// The place that the text of a `$ref` names.
    pub(super) fn follow(&mut self, reference: &Place<'d>) -> Option<Place<'d>> {
        let Some(text) = reference.value.as_str() else {
            self.error("contract-reference", reference, "a reference must be text");
            return None;
        };
        let Some(pointer) = text
            .strip_prefix('#')
            .filter(|pointer| pointer.is_empty() || pointer.starts_with('/'))
        else {
            self.error_with_hint(
                "contract-reference",
                reference,
                &format!("\"{text}\" is outside this document, which is not supported yet"),
                "bundle the document into one file first",
            );
            return None;
        };
        // A pointer in a URI fragment may be percent-encoded (RFC 6901 section 6).
        let pointer = portcullis_model::path::decode(pointer).into_owned();
        match self.plan.document.pointer(&pointer) {
            Some(value) => Some(Place { value, pointer }),
            None => {
                self.error(
                    "contract-reference",
                    reference,
                    format!("\"{text}\" leads nowhere"),
                );
                None
            }
        }
    }
}
