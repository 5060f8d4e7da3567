//! A Request Body Object becomes a [`BodyRule`]: which media types are accepted, and how each is judged.

use serde_json::Value;

use super::compile::Compiler;
use super::document::{Dialect, Place};
use super::media::{MediaRange, is_json};
use super::operation::{BodyKind, BodyRule};
use super::shape::Shape;

impl<'d> Compiler<'d> {
    /// Compiles the rule for an operation's body.
    pub(super) fn body(&mut self, written: Place<'d>) -> Option<BodyRule> {
        let place = self.document.resolve(written)?;
        self.document
            .refuse_unknown_fields(&place, &["description", "content", "required"]);
        let content = place.get("content");
        let mut media = Vec::new();
        let mut is_sound = true;
        for (text, entry) in content.iter().flat_map(Place::members) {
            match (MediaRange::parse(text), self.document.resolve(entry.clone())) {
                (Some(range), Some(resolved)) => match self.body_kind(&range, &resolved) {
                    Some(kind) => media.push((range, kind)),
                    None => is_sound = false,
                },
                (None, _) => {
                    self.document.error(
                        "contract-media-type",
                        &entry,
                        format!("\"{text}\" is not a media type"),
                    );
                }
                (_, None) => is_sound = false,
            }
        }
        if content.is_none_or(|content| content.members().next().is_none()) {
            self.document.error(
                "contract-body",
                &place,
                "a body without `content` accepts nothing",
            );
        }
        media.sort_by_key(|(range, _)| std::cmp::Reverse(range.precision()));
        is_sound.then_some(BodyRule {
            is_required: place.is_set("required"),
            media,
        })
    }

    fn body_kind(&mut self, range: &MediaRange, entry: &Place<'d>) -> Option<BodyKind> {
        self.document
            .refuse_unknown_fields(entry, &["schema", "example", "examples", "encoding"]);
        let essence = range.essence().unwrap_or_default();
        let is_form = essence == "application/x-www-form-urlencoded";
        let Some(schema) = entry.get("schema") else {
            return Some(if is_json(&essence) {
                BodyKind::Json(None)
            } else {
                BodyKind::Opaque
            });
        };
        if let Some(encoding) = entry.get("encoding") {
            if is_form || essence.starts_with("multipart/") {
                self.document.error(
                    "contract-encoding",
                    &encoding,
                    "\"encoding\" is not supported yet",
                );
                return None;
            }
            self.document.warn(
                "contract-encoding",
                &encoding,
                "\"encoding\" has no meaning for this media type",
            );
        }
        if is_json(&essence) {
            return self
                .schemas
                .compile(&mut self.document, &schema)
                .map(|schema| BodyKind::Json(Some(schema)));
        }
        if is_form {
            let Some(Shape::Object(fields)) = Shape::of(&mut self.document, &schema) else {
                self.document.error(
                    "contract-body",
                    &schema,
                    "the schema of a form must be a flat object",
                );
                return None;
            };
            let schema = self.schemas.compile(&mut self.document, &schema)?;
            return Some(BodyKind::Form(fields, schema));
        }
        if !self.says_nothing(&schema) {
            self.document.error_with_hint(
                "contract-media-type",
                &schema,
                &format!("a schema for {range} cannot be enforced"),
                "only JSON and flat forms are checked; leave the schema out to accept the media type by name",
            );
            return None;
        }
        Some(BodyKind::Opaque)
    }

    /// True for a schema that any bytes fit: the ways in which both versions write "a file" or "some text".
    fn says_nothing(&mut self, schema: &Place<'d>) -> bool {
        let Some(schema) = self.document.resolve(schema.clone()) else {
            return false;
        };
        match schema.value {
            Value::Bool(accepts_all) => *accepts_all,
            Value::Object(words) => words.iter().all(|(word, value)| match word.as_str() {
                "type" => value == "string",
                "format" => value == "binary",
                "contentMediaType" => self.document.dialect == Dialect::OpenApi31,
                "title" | "description" | "example" | "examples" | "deprecated" | "externalDocs" => true,
                _ => word.starts_with("x-"),
            }),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
        }
    }
}
