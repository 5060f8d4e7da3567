//! Finds what is wrong with a value that does not fit, in bounded time.
//!
//! The validator's own search collects the errors of every alternative at every level, which a recursive schema and a
//! nested value make exponential. Here every pair of a schema and a part of the value is looked at once, and of
//! alternatives only the verdict is asked, which the validator remembers.

use std::collections::{BTreeMap, HashMap, HashSet};

use jsonschema::{ValidationError, Validator, ValidatorMap};
use portcullis_model::Violation;
use serde_json::{Map, Value, json};

use super::schema::options;
use super::violation::{MAX_VIOLATIONS, Pointer, expected, violation};

/// Pairs of a schema and a part of the value that are looked at; far more than a body has values.
const MAX_PAIRS: usize = 400_000;

/// Words that say something about a value without looking into its parts.
const SHALLOW: [&str; 24] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "format",
    "maxItems",
    "minItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "not",
    "$comment",
];

/// Words of which only the verdict is asked, with the words that belong to them.
const PIECES: [(&str, &[&str], &str); 6] = [
    (
        "anyOf",
        &["anyOf"],
        "a value that fits at least one of the alternatives",
    ),
    (
        "oneOf",
        &["oneOf"],
        "a value that fits exactly one of the alternatives",
    ),
    (
        "if",
        &["if", "then", "else"],
        "a value that fits the schema that applies to it",
    ),
    (
        "dependentSchemas",
        &["dependentSchemas"],
        "a value that fits the schemas that apply to it",
    ),
    ("propertyNames", &["propertyNames"], "allowed property names"),
    (
        "patternProperties",
        &["patternProperties", "properties", "additionalProperties"],
        "properties that fit the schemas of their names",
    ),
];

/// A schema, taken apart.
#[derive(Debug)]
pub(super) struct Teller {
    validators: ValidatorMap,
    parts: Vec<Part>,
    start: usize,
}

/// One schema object.
#[derive(Debug, Default)]
struct Part {
    /// `false`: nothing fits.
    accepts_nothing: bool,
    /// The definition that has its shallow words.
    shallow: Option<String>,
    /// Definitions of which only the verdict is asked.
    pieces: Vec<(&'static str, String, &'static str)>,
    /// The definition of the whole, where words depend on one another; asked when nothing else was wrong.
    whole: Option<String>,
    /// Schemas about the same value.
    same: Vec<usize>,
    properties: HashMap<String, usize>,
    additional: Option<usize>,
    prefix: Vec<usize>,
    items: Option<usize>,
}

impl Teller {
    /// Takes the schema `start` apart, one of closed definitions.
    pub(super) fn new(
        definitions: &Map<String, Value>,
        start: &str,
    ) -> Result<Self, Box<ValidationError<'static>>> {
        let mut builder = Builder {
            definitions,
            known: BTreeMap::new(),
            parts: Vec::new(),
            extra: definitions.clone(),
            open: Vec::new(),
        };
        let start = builder.definition(start);
        while let Some((at, schema)) = builder.open.pop() {
            let part = builder.part(schema);
            if let Some(place) = builder.parts.get_mut(at) {
                *place = part;
            }
        }
        let Builder { parts, extra, .. } = builder;
        let validators = options().build_map(&json!({ "$defs": extra }))?;
        Ok(Self {
            validators,
            parts,
            start,
        })
    }

    /// What is wrong with a value that does not fit; at least one violation.
    pub(super) fn tell(&self, value: &Value, location: &'static str, base: &Pointer) -> Vec<Violation> {
        let mut told = Vec::new();
        let mut seen: HashSet<(usize, usize)> = HashSet::new();
        let mut open = vec![(self.start, value, base.clone())];
        while let Some((at, value, pointer)) = open.pop() {
            // Values are told apart by where they stand in memory; they do not move while they are looked at.
            if told.len() >= MAX_VIOLATIONS || seen.len() >= MAX_PAIRS {
                break;
            }
            let Some(part) = self
                .parts
                .get(at)
                .filter(|_| seen.insert((at, std::ptr::from_ref(value).addr())))
            else {
                continue;
            };
            let before = told.len();
            self.tell_shallow(part, value, location, &pointer, &mut told);
            let is_whole_wrong = || {
                part.whole
                    .as_ref()
                    .is_some_and(|whole| !self.accepts(whole, value))
            };
            if told.len() == before && is_whole_wrong() {
                told.push(violation(
                    location,
                    pointer.clone(),
                    "unevaluatedProperties",
                    "no additional parts",
                ));
            }
            part.open_parts(value, &pointer, &mut open);
        }
        if told.is_empty() {
            told.push(violation(
                location,
                base.clone(),
                "schema",
                "a value that fits the schema",
            ));
        }
        told.truncate(MAX_VIOLATIONS);
        told
    }

    fn tell_shallow(
        &self,
        part: &Part,
        value: &Value,
        location: &'static str,
        pointer: &Pointer,
        told: &mut Vec<Violation>,
    ) {
        if part.accepts_nothing {
            told.push(violation(
                location,
                pointer.clone(),
                "falseSchema",
                "no value here",
            ));
        }
        if let Some(validator) = part.shallow.as_ref().and_then(|name| self.validator(name)) {
            for error in validator.iter_errors(value).take(MAX_VIOLATIONS) {
                let (keyword, expected) = (error.kind().keyword(), expected(error.kind()));
                told.push(violation(location, pointer.clone(), keyword, expected));
            }
        }
        for (keyword, name, expected) in &part.pieces {
            if !self.accepts(name, value) {
                told.push(violation(location, pointer.clone(), keyword, *expected));
            }
        }
    }

    fn accepts(&self, name: &str, value: &Value) -> bool {
        self.validator(name)
            .is_none_or(|validator| validator.is_valid(value))
    }

    fn validator(&self, name: &str) -> Option<&Validator> {
        self.validators.get(&format!("#/$defs/{name}"))
    }
}

impl Part {
    /// What is to be looked at next, the first last.
    fn open_parts<'v>(
        &self,
        value: &'v Value,
        pointer: &Pointer,
        open: &mut Vec<(usize, &'v Value, Pointer)>,
    ) {
        let from = open.len();
        open.extend(self.same.iter().map(|same| (*same, value, pointer.clone())));
        match value {
            Value::Object(members) if !self.properties.is_empty() || self.additional.is_some() => {
                for (name, member) in members {
                    if let Some(schema) = self.properties.get(name).copied().or(self.additional) {
                        open.push((schema, member, pointer.below(name)));
                    }
                }
            }
            Value::Array(items) if !self.prefix.is_empty() || self.items.is_some() => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(schema) = self.prefix.get(index).copied().or(self.items) {
                        open.push((schema, item, pointer.below(&index.to_string())));
                    }
                }
            }
            Value::Object(_) | Value::Array(_) => {}
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        if let Some(added) = open.get_mut(from..) {
            added.reverse();
        }
    }
}

struct Builder<'s> {
    definitions: &'s Map<String, Value>,
    known: BTreeMap<String, usize>,
    parts: Vec<Part>,
    /// The definitions and what was taken out of them.
    extra: Map<String, Value>,
    open: Vec<(usize, &'s Value)>,
}

impl<'s> Builder<'s> {
    fn definition(&mut self, name: &str) -> usize {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let at = self.reserve(self.definitions.get(name).unwrap_or(&Value::Bool(true)));
        self.known.insert(name.to_owned(), at);
        at
    }

    fn reserve(&mut self, schema: &'s Value) -> usize {
        let at = self.parts.len();
        self.parts.push(Part::default());
        self.open.push((at, schema));
        at
    }

    fn extract(&mut self, words: &Map<String, Value>, wanted: &[&str]) -> Option<String> {
        let taken: Map<_, _> = wanted
            .iter()
            .filter_map(|word| words.get(*word).map(|value| ((*word).to_owned(), value.clone())))
            .collect();
        if taken.is_empty() {
            return None;
        }
        Some(self.add(Value::Object(taken)))
    }

    fn add(&mut self, schema: Value) -> String {
        let name = format!("part{}", self.extra.len());
        self.extra.insert(name.clone(), schema);
        name
    }

    fn part(&mut self, schema: &'s Value) -> Part {
        let Some(words) = schema.as_object() else {
            return Part {
                accepts_nothing: *schema == Value::Bool(false),
                ..Part::default()
            };
        };
        let has_patterns = words.contains_key("patternProperties");
        let mut part = Part::default();
        let mut shallow: Map<_, _> = words
            .iter()
            .filter(|(word, _)| SHALLOW.contains(&word.as_str()))
            .map(|(word, value)| (word.clone(), value.clone()))
            .collect();
        if !has_patterns && words.get("additionalProperties") == Some(&Value::Bool(false)) {
            // Only the names matter here; the members are looked at on their own.
            let names = words
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten();
            let names: Map<_, _> = names.map(|(name, _)| (name.clone(), Value::Bool(true))).collect();
            shallow.insert("properties".to_owned(), Value::Object(names));
            shallow.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
        part.shallow = (!shallow.is_empty()).then(|| self.add(Value::Object(shallow)));
        for (keyword, wanted, expected) in PIECES.iter().filter(|(keyword, ..)| words.contains_key(*keyword))
        {
            part.pieces.extend(
                self.extract(words, wanted)
                    .map(|name| (*keyword, name, *expected)),
            );
        }
        if words.contains_key("unevaluatedProperties") || words.contains_key("unevaluatedItems") {
            part.whole = Some(self.add(schema.clone()));
        }
        if let Some(name) = words
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|text| text.strip_prefix("#/$defs/"))
        {
            part.same.push(self.definition(name));
        }
        part.same.extend(
            words
                .get("allOf")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|one| self.reserve(one)),
        );
        if let Some(properties) = words.get("properties").and_then(Value::as_object) {
            part.properties = properties
                .iter()
                .map(|(name, property)| (name.clone(), self.reserve(property)))
                .collect();
        }
        let additional = words
            .get("additionalProperties")
            .filter(|schema| !has_patterns && schema.is_object());
        part.additional = additional.map(|schema| self.reserve(schema));
        part.prefix = words
            .get("prefixItems")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|item| self.reserve(item))
            .collect();
        part.items = words.get("items").map(|items| self.reserve(items));
        part
    }
}
