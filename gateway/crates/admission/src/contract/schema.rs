//! Schemas of a document, compiled once each: what a reference reaches is gathered into one closed JSON Schema.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonschema::{Draft, PatternOptions, ValidationOptions, Validator};
use portcullis_model::Violation;
use serde_json::{Map, Value, json};

use super::document::{Document, Place};
use super::teller::Teller;
use super::translate::{Reference, Translation};
use super::violation::Pointer;

/// A compiled schema; cheap to share.
#[derive(Clone, Debug)]
pub(super) struct Schema(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    /// Gives the verdict.
    validator: Validator,
    /// Says why.
    teller: Teller,
}

impl Schema {
    /// Checks a value; `Err` has at least one violation.
    pub(super) fn check(
        &self,
        value: &Value,
        location: &'static str,
        base: &Pointer,
    ) -> Result<(), Vec<Violation>> {
        if self.0.validator.is_valid(value) {
            return Ok(());
        }
        Err(self.0.teller.tell(value, location, base))
    }
}

/// How every schema is checked: formats are asserted, patterns run in linear time, nothing is fetched.
pub(super) fn options() -> ValidationOptions<'static> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .with_format("byte", |text: &str| STANDARD.decode(text).is_ok())
}

/// Compiles the schemas of one document.
#[derive(Default)]
pub(super) struct SchemaCompiler {
    /// The number that a pointer has among the definitions.
    numbers: HashMap<String, usize>,
    /// Translated schemas by pointer; `None` when a problem was found in it.
    translated: HashMap<String, Option<Translated>>,
    /// Compiled schemas by pointer.
    compiled: HashMap<String, Option<Schema>>,
}

struct Translated {
    value: Value,
    references: Vec<Target>,
}

/// Where a reference leads, and whether it is about the very value that its schema is about.
#[derive(Clone)]
struct Target {
    pointer: String,
    is_in_place: bool,
}

impl SchemaCompiler {
    /// Compiles the schema at a place; problems go into the document.
    pub(super) fn compile<'d>(&mut self, document: &mut Document<'d>, place: &Place<'d>) -> Option<Schema> {
        // Operations that refer to the same component share its validator.
        let place = match place.object() {
            Some(object) if object.len() == 1 && object.contains_key("$ref") => {
                document.resolve(place.clone())?
            }
            Some(_) | None => place.clone(),
        };
        if let Some(known) = self.compiled.get(&place.pointer) {
            return known.clone();
        }
        let schema = self
            .translate(document, &place)
            .then(|| self.build(document, &place))
            .flatten();
        self.compiled.insert(place.pointer, schema.clone());
        schema
    }

    /// Translates a schema and all it reaches; false when a problem was found.
    fn translate<'d>(&mut self, document: &mut Document<'d>, place: &Place<'d>) -> bool {
        let mut open = vec![place.clone()];
        let mut seen = BTreeSet::new();
        let mut is_sound = true;
        while let Some(place) = open.pop() {
            if !seen.insert(place.pointer.clone()) {
                continue;
            }
            match self.translated.get(&place.pointer) {
                Some(Some(known)) => {
                    let root = document.root().value;
                    open.extend(known.references.iter().filter_map(|target| {
                        let pointer = target.pointer.clone();
                        root.pointer(&pointer).map(|value| Place { value, pointer })
                    }));
                }
                Some(None) => is_sound = false,
                None => {
                    let mut translation = Translation::new(document, &mut self.numbers);
                    let value = translation.translate(&place);
                    let references = translation.finish();
                    is_sound &= value.is_some();
                    open.extend(references.iter().map(|reference| reference.place.clone()));
                    let references = references.into_iter().map(Target::from).collect();
                    let translated = value.map(|value| Translated { value, references });
                    self.translated.insert(place.pointer, translated);
                }
            }
        }
        is_sound
    }

    fn build(&self, document: &mut Document<'_>, place: &Place<'_>) -> Option<Schema> {
        let mut definitions = Map::new();
        let mut pointers: BTreeMap<String, &str> = BTreeMap::new();
        let mut open = vec![place.pointer.as_str()];
        while let Some(pointer) = open.pop() {
            let number = self
                .numbers
                .get(pointer)
                .map_or_else(|| "root".to_owned(), usize::to_string);
            if pointers.insert(number.clone(), pointer).is_some() {
                continue;
            }
            let translated = self.translated.get(pointer)?.as_ref()?;
            definitions.insert(number, translated.value.clone());
            open.extend(translated.references.iter().map(|target| target.pointer.as_str()));
        }
        if let Some(pointer) = self.circle(&place.pointer) {
            document.error_at(
                "contract-circle",
                &pointer,
                "the schema refers to itself without going any deeper",
            );
            return None;
        }
        let start = self
            .numbers
            .get(&place.pointer)
            .map_or_else(|| "root".to_owned(), usize::to_string);
        // The teller takes the definitions as they are; the validator gets them with a place to start from.
        let teller = Teller::new(&definitions, &start);
        let closed = json!({ "$ref": format!("#/$defs/{start}"), "$defs": definitions });
        let validator = options().build(&closed).map_err(Box::new);
        match validator.and_then(|validator| {
            Ok(Compiled {
                validator,
                teller: teller?,
            })
        }) {
            Ok(compiled) => Some(Schema(Arc::new(compiled))),
            Err(error) => {
                let path = error.instance_path().as_str();
                let inside = path.strip_prefix("/$defs/").unwrap_or_default();
                let (number, rest) = inside
                    .split_once('/')
                    .map_or((inside, ""), |(number, rest)| (number, rest));
                let start = pointers.get(number).copied().unwrap_or(place.pointer.as_str());
                let pointer = if rest.is_empty() {
                    start.to_owned()
                } else {
                    format!("{start}/{rest}")
                };
                document.error_at(
                    "contract-schema",
                    &pointer,
                    &format!("not a valid schema: {error}"),
                );
                None
            }
        }
    }

    /// A schema that would be asked about the same value again and again, for ever.
    fn circle(&self, start: &str) -> Option<String> {
        // Depth first without recursion: a pointer on the way that is met again closes a circle.
        let mut finished: BTreeSet<&str> = BTreeSet::new();
        let mut everything = vec![start];
        while let Some(root) = everything.pop() {
            if finished.contains(root) {
                continue;
            }
            let mut way: Vec<(&str, std::slice::Iter<'_, Target>)> = vec![(root, self.references(root))];
            while let Some((pointer, targets)) = way.last_mut() {
                let Some(target) = targets.next() else {
                    finished.insert(pointer);
                    way.pop();
                    continue;
                };
                if !target.is_in_place {
                    everything.push(&target.pointer);
                } else if way.iter().any(|(on_the_way, _)| *on_the_way == target.pointer) {
                    return Some(target.pointer.clone());
                } else if !finished.contains(target.pointer.as_str()) {
                    way.push((&target.pointer, self.references(&target.pointer)));
                }
            }
        }
        None
    }

    fn references(&self, pointer: &str) -> std::slice::Iter<'_, Target> {
        self.translated
            .get(pointer)
            .and_then(Option::as_ref)
            .map_or(&[][..], |one| &one.references)
            .iter()
    }
}

impl From<Reference<'_>> for Target {
    fn from(reference: Reference<'_>) -> Self {
        Self {
            pointer: reference.place.pointer,
            is_in_place: reference.is_in_place,
        }
    }
}
