//! One schema of a document becomes JSON Schema 2020-12; what cannot be enforced is a problem, never left out.

use std::collections::HashMap;

use jsonschema::Draft;
use serde_json::{Map, Number, Value, json};

use super::dialect::{Bound, Format, Keyword};
use super::document::{Dialect, Document, Place};
use super::schema::options;

/// Schemas within one another, without references; a document with more is not meant for people.
const MAX_NESTING: usize = 64;

/// What a schema may name as its own dialect.
const DIALECTS: [&str; 2] = [
    "https://json-schema.org/draft/2020-12/schema",
    "https://spec.openapis.org/oas/3.1/dialect/base",
];

/// A reference found in a schema.
pub(super) struct Reference<'d> {
    /// Where it leads.
    pub(super) place: Place<'d>,
    /// True when it is about the same value as the schema it stands in.
    pub(super) is_in_place: bool,
}

/// The translation of one schema.
pub(super) struct Translation<'t, 'd> {
    document: &'t mut Document<'d>,
    numbers: &'t mut HashMap<String, usize>,
    references: Vec<Reference<'d>>,
    is_sound: bool,
}

/// Where a subschema stands.
#[derive(Clone, Copy)]
struct Position {
    is_in_place: bool,
    nesting: usize,
}

impl Position {
    const fn in_place(self) -> Self {
        Self {
            is_in_place: self.is_in_place,
            nesting: self.nesting + 1,
        }
    }

    const fn deeper(self) -> Self {
        Self {
            is_in_place: false,
            nesting: self.nesting + 1,
        }
    }
}

impl<'t, 'd> Translation<'t, 'd> {
    pub(super) fn new(document: &'t mut Document<'d>, numbers: &'t mut HashMap<String, usize>) -> Self {
        Self {
            document,
            numbers,
            references: Vec::new(),
            is_sound: true,
        }
    }

    /// Translates; `None` when a problem was found.
    pub(super) fn translate(&mut self, place: &Place<'d>) -> Option<Value> {
        let value = self.schema(
            place,
            Position {
                is_in_place: true,
                nesting: 0,
            },
        );
        self.is_sound.then_some(value)
    }

    /// What the schema refers to.
    pub(super) fn finish(self) -> Vec<Reference<'d>> {
        self.references
    }

    fn refuse(&mut self, code: &'static str, place: &Place<'_>, message: &str) {
        self.is_sound = false;
        self.document.error(code, place, message);
    }

    fn schema(&mut self, place: &Place<'d>, position: Position) -> Value {
        if position.nesting > MAX_NESTING {
            self.refuse("contract-schema", place, "the schema is nested too deeply");
            return Value::Bool(false);
        }
        let dialect = self.document.dialect;
        let Some(object) = place.object() else {
            let is_boolean = place.value.is_boolean();
            // 3.0 knows booleans under additionalProperties alone, which is where they are met.
            if !is_boolean {
                self.refuse("contract-schema", place, "a schema must be an object");
            }
            return place.value.clone();
        };
        if let (Dialect::OpenApi30, Some(reference)) = (dialect, place.get("$ref")) {
            // OpenAPI 3.0: what stands beside a reference has no meaning.
            return json!({ "$ref": self.reference(&reference, position) });
        }
        let mut translated = Map::new();
        for (word, field) in place.members() {
            self.keyword(word, &field, place, position, &mut translated);
        }
        if dialect == Dialect::OpenApi30 {
            self.adapt_30(place, object, &mut translated);
        } else {
            self.note_read_only(place);
        }
        Value::Object(translated)
    }

    fn keyword(
        &mut self,
        word: &str,
        field: &Place<'d>,
        schema: &Place<'d>,
        position: Position,
        translated: &mut Map<String, Value>,
    ) {
        let value = match Keyword::of(self.document.dialect, word) {
            Keyword::Assertion => field.value.clone(),
            Keyword::InPlace => self.schema(field, position.in_place()),
            Keyword::InPlaceList => self.list(field, position.in_place()),
            Keyword::InPlaceMap => self.map(field, position.in_place()),
            Keyword::Child => self.schema(field, position.deeper()),
            Keyword::ChildList => self.list(field, position.deeper()),
            Keyword::ChildMap => self.map(field, position.deeper()),
            Keyword::PatternMap => {
                for (pattern, entry) in field.members() {
                    self.check_pattern(pattern, &entry);
                }
                self.map(field, position.deeper())
            }
            Keyword::Pattern => {
                self.check_pattern(field.value.as_str().unwrap_or_default(), field);
                field.value.clone()
            }
            Keyword::Format => return self.format(field, translated),
            Keyword::Reference => Value::String(self.reference(field, position)),
            Keyword::Discriminator => return self.check_discriminator(field, schema),
            Keyword::ExclusiveFlag | Keyword::Nullable | Keyword::Annotation | Keyword::Container => return,
            Keyword::Misleading => {
                let message =
                    format!("\"{word}\" is an annotation in JSON Schema 2020-12 and is not checked");
                return self.document.warn("contract-annotation", field, message);
            }
            Keyword::Unsupported => {
                let is_known_dialect = field.value.as_str().is_some_and(|text| DIALECTS.contains(&text));
                if word != "$schema" || !is_known_dialect {
                    self.refuse(
                        "contract-keyword",
                        field,
                        &format!("\"{word}\" is not supported yet"),
                    );
                }
                return;
            }
            Keyword::Unknown => {
                let message = format!("\"{word}\" is not a keyword of this OpenAPI version");
                return self.refuse("contract-keyword", field, &message);
            }
        };
        if word == "allOf" {
            // Bounds of a format may have come first.
            push_all_of(translated, value);
        } else {
            translated.insert(word.to_owned(), value);
        }
    }

    fn list(&mut self, field: &Place<'d>, position: Position) -> Value {
        if !field.value.is_array() {
            return field.value.clone();
        }
        Value::Array(field.items().map(|item| self.schema(&item, position)).collect())
    }

    fn map(&mut self, field: &Place<'d>, position: Position) -> Value {
        if !field.value.is_object() {
            return field.value.clone();
        }
        Value::Object(
            field
                .members()
                .map(|(name, member)| (name.to_owned(), self.schema(&member, position)))
                .collect(),
        )
    }

    fn reference(&mut self, reference: &Place<'d>, position: Position) -> String {
        let Some(place) = self.document.follow(reference) else {
            self.is_sound = false;
            return "#".to_owned();
        };
        let next = self.numbers.len();
        let number = *self.numbers.entry(place.pointer.clone()).or_insert(next);
        self.references.push(Reference {
            place,
            is_in_place: position.is_in_place,
        });
        format!("#/$defs/{number}")
    }

    /// Compiled alone, so that the problem points at the pattern. Only patterns that run in linear time are accepted.
    fn check_pattern(&mut self, pattern: &str, place: &Place<'_>) {
        if options().build(&json!({ "pattern": pattern })).is_err() {
            self.is_sound = false;
            self.document.error_with_hint(
                "contract-pattern",
                place,
                "the pattern is not valid or needs backtracking",
                "look-around and back-references are not supported, because they take unbounded time",
            );
        }
    }

    fn format(&mut self, field: &Place<'d>, translated: &mut Map<String, Value>) {
        let Some(name) = field.value.as_str() else {
            return self.refuse("contract-schema", field, "a format must be text");
        };
        let is_built_in = |name: &str| options().is_known_format(Draft::Draft202012, name);
        match Format::of(name, is_built_in) {
            Format::Checked => {
                translated.insert("format".to_owned(), field.value.clone());
            }
            Format::Bounds(low, high) => {
                push_all_of(
                    translated,
                    json!([{ "minimum": number(low), "maximum": number(high) }]),
                );
            }
            Format::Annotation => {}
            Format::Misleading => {
                let message = format!("format \"{name}\" says nothing about text in JSON and is not checked");
                self.document.warn("contract-annotation", field, message);
            }
            Format::Unknown => {
                self.is_sound = false;
                self.document.error_with_hint(
                    "contract-format",
                    field,
                    &format!("format \"{name}\" is not checked by anybody"),
                    "leave it out, or say what is meant with `pattern`",
                );
            }
        }
    }

    /// A discriminator picks one alternative; without it the alternatives are all tried. That is no weaker only when
    /// every alternative pins the property to its own values, so that at most the picked one can fit.
    fn check_discriminator(&mut self, field: &Place<'d>, schema: &Place<'d>) {
        let property = field.text("propertyName").unwrap_or_default();
        let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf"));
        let alternatives: Vec<_> = alternatives.iter().flat_map(Place::items).collect();
        let is_pinned = |document: &mut Document<'d>, alternative: Place<'d>| {
            let Some(target) = document.resolve(alternative) else {
                return false;
            };
            let is_required = target
                .get("required")
                .is_some_and(|names| names.items().any(|name| name.value == property));
            let pinned = target
                .get("properties")
                .and_then(|properties| properties.get(property));
            let is_single =
                pinned.is_some_and(|pinned| pinned.get("const").is_some() || pinned.get("enum").is_some());
            is_required && is_single
        };
        let is_safe = !alternatives.is_empty()
            && alternatives
                .into_iter()
                .all(|alternative| is_pinned(self.document, alternative));
        if !is_safe {
            self.is_sound = false;
            self.document.error_with_hint(
                "contract-discriminator",
                field,
                "the discriminator would not be enforced",
                "require the property in every alternative of `oneOf` and pin it there with `const` or `enum`",
            );
        }
    }

    /// OpenAPI 3.0's own words: `nullable`, boolean `exclusiveMinimum`, and `required` that spares `readOnly`.
    fn adapt_30(
        &mut self,
        place: &Place<'d>,
        object: &Map<String, Value>,
        translated: &mut Map<String, Value>,
    ) {
        if let Some(kind) = place.get("type") {
            let names = ["string", "number", "integer", "boolean", "array", "object"];
            if !kind.value.as_str().is_some_and(|name| names.contains(&name)) {
                self.refuse("contract-schema", &kind, "not a type of OpenAPI 3.0");
            } else if place.is_set("nullable") {
                translated.insert("type".to_owned(), json!([kind.value, "null"]));
            }
        }
        for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
            match object.get(flag) {
                None | Some(Value::Bool(false)) => {}
                Some(Value::Bool(true)) => {
                    if let Some(value) = translated.remove(bound) {
                        translated.insert(flag.to_owned(), value);
                    }
                }
                Some(_) => self.refuse(
                    "contract-schema",
                    place,
                    &format!("\"{flag}\" is true or false in OpenAPI 3.0"),
                ),
            }
        }
        // OpenAPI 3.0.4: a property that is read-only is required in responses alone.
        let spared: Vec<_> = self.read_only_required(place);
        if let Some(Value::Array(required)) = translated.get_mut("required") {
            required.retain(|name| {
                !name
                    .as_str()
                    .is_some_and(|name| spared.iter().any(|spared| spared == name))
            });
        }
    }

    /// JSON Schema 2020-12 knows no exception for what is read-only; most authors expect one.
    fn note_read_only(&mut self, place: &Place<'d>) {
        for name in self.read_only_required(place) {
            let message = format!("\"{name}\" is read-only and yet required of requests");
            self.document.warn("contract-read-only", place, message);
        }
    }

    fn read_only_required(&mut self, place: &Place<'d>) -> Vec<String> {
        let (Some(required), Some(properties)) = (place.get("required"), place.get("properties")) else {
            return Vec::new();
        };
        let names: Vec<_> = required.items().filter_map(|name| name.value.as_str()).collect();
        names
            .into_iter()
            .filter(|name| {
                let property = properties.get(name);
                property.is_some_and(|property| {
                    property.is_set("readOnly")
                        || property.get("$ref").is_some()
                            && self
                                .document
                                .resolve(property)
                                .is_some_and(|target| target.is_set("readOnly"))
                })
            })
            .map(str::to_owned)
            .collect()
    }
}

fn push_all_of(translated: &mut Map<String, Value>, more: Value) {
    match (translated.get_mut("allOf"), more) {
        (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
        (_, more) => {
            translated.insert("allOf".to_owned(), more);
        }
    }
}

fn number(bound: Bound) -> Value {
    match bound {
        Bound::Integer(bound) => bound.into(),
        Bound::Float(bound) => Number::from_f64(bound).map_or(Value::Null, Value::Number),
    }
}
