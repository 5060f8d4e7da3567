//! What a schema that is filled from text looks like: one value, a list, or a flat object.

use serde_json::{Map, Value};

use super::coerce::Kinds;
use super::document::{Document, Place};

/// Schemas within schemas that are looked through for a `type`.
const MAX_LOOKS: usize = 16;

/// The shape of a parameter or a form.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// One value or a list of values.
    Flat(Flat),
    /// Named values.
    Object(Fields),
}

/// One value, or a list of values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flat {
    One(Kinds),
    List(Kinds),
}

/// The members of a flat object.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    named: Vec<(String, Flat)>,
    /// What members without a schema of their own are read as.
    other: Kinds,
    /// Whether the schema says anything about members that it does not name.
    pub(super) is_bounded: bool,
}

/// Why pairs are not an object of the shape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Repeated(pub(super) String);

impl Shape {
    /// The shape of the schema at a place; a problem when text could mean several.
    pub(super) fn of<'d>(document: &mut Document<'d>, place: &Place<'d>) -> Option<Self> {
        let kinds = kinds(document, place, MAX_LOOKS);
        let is_any = kinds == Kinds::ANY;
        let has_scalar = Kinds::STRING.or(Kinds::NUMBER).or(Kinds::BOOLEAN).and(kinds) != Kinds::NONE;
        match (has_scalar, kinds.has(Kinds::ARRAY), kinds.has(Kinds::OBJECT)) {
            (true, false, false) => Some(Self::Flat(Flat::One(kinds))),
            // A schema that says nothing about its type is filled with text.
            (true, true, true) if is_any => Some(Self::Flat(Flat::One(Kinds::STRING))),
            (false, true, false) => {
                let item = items(document, place)?;
                Some(Self::Flat(Flat::List(item)))
            }
            (false, false, true) => fields(document, place).map(Self::Object),
            _ => {
                document.error_with_hint(
                    "contract-parameter",
                    place,
                    "text could be read as several of the types that this schema allows",
                    "allow one of: a single value, an array, an object",
                );
                None
            }
        }
    }
}

impl Fields {
    /// The names that have schemas.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    /// True when a member is a list.
    pub(super) fn has_lists(&self) -> bool {
        self.named.iter().any(|(_, flat)| matches!(flat, Flat::List(_)))
    }

    /// Builds the object; a name that stands for one value may come once.
    pub(super) fn read<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Value, Repeated> {
        let mut object = Map::new();
        for (name, text) in pairs {
            let flat = self
                .named
                .iter()
                .find(|(own, _)| own == name)
                .map(|(_, flat)| *flat);
            match flat.unwrap_or(Flat::One(self.other)) {
                Flat::One(kinds) => {
                    if object.insert(name.to_owned(), kinds.read(text)).is_some() {
                        return Err(Repeated(name.to_owned()));
                    }
                }
                Flat::List(kinds) => match object.get_mut(name) {
                    Some(Value::Array(list)) => list.push(kinds.read(text)),
                    _ => {
                        object.insert(name.to_owned(), Value::Array(vec![kinds.read(text)]));
                    }
                },
            }
        }
        Ok(Value::Object(object))
    }
}

/// The kinds of value that a schema leaves room for, seen from its outside.
fn kinds<'d>(document: &mut Document<'d>, place: &Place<'d>, looks: usize) -> Kinds {
    if looks == 0 || !place.value.is_object() {
        return Kinds::ANY;
    }
    let mut kinds = match place.value.get("type") {
        Some(Value::String(name)) => Kinds::named(name),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .map(Kinds::named)
            .fold(Kinds::NONE, Kinds::or),
        Some(_) | None => Kinds::ANY,
    };
    if let Some(value) = place.value.get("const") {
        kinds = kinds.and(Kinds::of(value));
    }
    if let Some(Value::Array(values)) = place.value.get("enum") {
        kinds = kinds.and(values.iter().map(Kinds::of).fold(Kinds::NONE, Kinds::or));
    }
    for part in conjuncts(document, place) {
        kinds = kinds.and(self::kinds(document, &part, looks - 1));
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(alternatives) = place.get(word) {
            let alternatives: Vec<_> = alternatives.items().collect();
            let either = alternatives
                .iter()
                .map(|alternative| self::kinds(document, alternative, looks - 1))
                .fold(Kinds::NONE, Kinds::or);
            kinds = kinds.and(either);
        }
    }
    kinds
}

/// The schemas that hold beside a schema: what it refers to and its `allOf`.
fn conjuncts<'d>(document: &mut Document<'d>, place: &Place<'d>) -> Vec<Place<'d>> {
    let mut parts: Vec<_> = place.get("allOf").iter().flat_map(Place::items).collect();
    if let Some(reference) = place.get("$ref") {
        parts.extend(document.follow(&reference));
    }
    parts
}

/// The places of a keyword in a schema and in all that holds beside it.
fn found<'d>(document: &mut Document<'d>, place: &Place<'d>, word: &str, looks: usize) -> Vec<Place<'d>> {
    if looks == 0 {
        return Vec::new();
    }
    let mut places: Vec<_> = place.get(word).into_iter().collect();
    for part in conjuncts(document, place) {
        places.extend(found(document, &part, word, looks - 1));
    }
    places
}

fn items<'d>(document: &mut Document<'d>, place: &Place<'d>) -> Option<Kinds> {
    if let Some(prefix) = found(document, place, "prefixItems", MAX_LOOKS).first() {
        document.error(
            "contract-parameter",
            prefix,
            "\"prefixItems\" is not supported where text is read",
        );
        return None;
    }
    let all = found(document, place, "items", MAX_LOOKS);
    let kinds = all
        .iter()
        .map(|items| kinds(document, items, MAX_LOOKS))
        .fold(Kinds::ANY, Kinds::and);
    scalar(document, all.first().unwrap_or(place), kinds)
}

/// The kinds of one text, or a problem when it would have to be a list or an object.
fn scalar(document: &mut Document<'_>, place: &Place<'_>, kinds: Kinds) -> Option<Kinds> {
    if kinds == Kinds::ANY {
        return Some(Kinds::STRING);
    }
    if kinds.and(Kinds::ARRAY.or(Kinds::OBJECT)) != Kinds::NONE || kinds == Kinds::NULL {
        document.error(
            "contract-parameter",
            place,
            "lists and objects within a list or an object cannot be read from text",
        );
        return None;
    }
    Some(kinds)
}

fn fields<'d>(document: &mut Document<'d>, place: &Place<'d>) -> Option<Fields> {
    if let Some(patterns) = found(document, place, "patternProperties", MAX_LOOKS).first() {
        document.error(
            "contract-parameter",
            patterns,
            "\"patternProperties\" is not supported where text is read",
        );
        return None;
    }
    let mut named = Vec::new();
    for properties in found(document, place, "properties", MAX_LOOKS) {
        for (name, property) in properties.members() {
            let flat = match Shape::of(document, &property)? {
                Shape::Flat(flat) => flat,
                Shape::Object(_) => {
                    document.error(
                        "contract-parameter",
                        &property,
                        "an object within an object cannot be read from text",
                    );
                    return None;
                }
            };
            named.push((name.to_owned(), flat));
        }
    }
    let additional = found(document, place, "additionalProperties", MAX_LOOKS);
    let mut other = Kinds::STRING;
    for schema in additional.iter().filter(|schema| schema.value.is_object()) {
        let kinds = kinds(document, schema, MAX_LOOKS);
        other = scalar(document, schema, kinds)?;
    }
    let is_bounded = additional.iter().any(|schema| *schema.value != Value::Bool(true))
        || [
            "unevaluatedProperties",
            "propertyNames",
            "minProperties",
            "maxProperties",
        ]
        .iter()
        .any(|word| !found(document, place, word, MAX_LOOKS).is_empty());
    Some(Fields {
        named,
        other,
        is_bounded,
    })
}
