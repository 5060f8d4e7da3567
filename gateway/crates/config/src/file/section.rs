//! How a section of the file is read and described: one definition gives the type, its reader and its schema.
//!
//! A reader never stops at the first problem: a key that cannot be read is [`Key::Broken`], the rest goes on, and
//! whoever links the sections knows not to complain about what a broken key would have said.

use std::collections::BTreeMap;

use portcullis_model::{Origin, Problem, Problems};
use serde_json::{Map, Value, json};

use super::tree::{Entry, Node, NodeKind, join};

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> At<T> {
    pub(crate) const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// What became of a key.
#[derive(Debug, Default)]
pub(crate) enum Key<T> {
    /// It is not written.
    #[default]
    Absent,
    /// It is written, and a problem says why it could not be read.
    Broken,
    /// It was read.
    Is(At<T>),
}

impl<T> Key<T> {
    /// The value with its place.
    pub(crate) const fn at(&self) -> Option<&At<T>> {
        match self {
            Self::Is(at) => Some(at),
            Self::Absent | Self::Broken => None,
        }
    }

    /// The value.
    pub(crate) fn get(&self) -> Option<&T> {
        self.at().map(|at| &at.value)
    }

    /// True when nothing is written.
    pub(crate) const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Copy> Key<T> {
    /// The value, or what holds without one.
    pub(crate) fn or(&self, default: T) -> T {
        self.get().copied().unwrap_or(default)
    }
}

/// A list whose broken items were reported and left out.
#[derive(Debug)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<At<T>>,
    /// True when an item could not be read.
    pub(crate) broken: bool,
}

impl<T> List<T> {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, At<T>> {
        self.items.iter()
    }
}

/// The items of a list that may be absent.
pub(crate) fn items<T>(key: &Key<List<T>>) -> impl Iterator<Item = &At<T>> {
    key.get().into_iter().flat_map(List::iter)
}

/// The items of a value that may be absent, one or several.
pub(crate) fn one_or_many<T>(key: &Key<OneOrMany<T>>) -> impl Iterator<Item = &At<T>> {
    key.get().into_iter().flat_map(|many| many.0.iter())
}

/// The entries of a mapping that may be absent.
pub(crate) fn entries<T>(key: &Key<Named<T>>) -> impl Iterator<Item = &NamedEntry<T>> {
    key.get().into_iter().flat_map(|named| named.0.iter())
}

/// One value, or a list of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) List<T>);

/// Names with their values, in the order written.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<NamedEntry<T>>);

/// One name with its value.
#[derive(Debug)]
pub(crate) struct NamedEntry<T> {
    /// The name; its place is the key's.
    pub(crate) name: At<String>,
    /// What it stands for.
    pub(crate) value: Key<T>,
}

/// Definitions shared within the schema.
#[derive(Debug, Default)]
pub(crate) struct Definitions(pub(crate) BTreeMap<&'static str, Value>);

/// What can be read from a node.
pub(crate) trait Read: Sized {
    /// Reads, reporting every problem; `None` when there is no value to go on with.
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self>;

    /// The JSON Schema of what [`Read::read`] accepts.
    fn schema(definitions: &mut Definitions) -> Value;
}

/// Why a scalar does not mean what is wanted.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Flaw {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(self, origin: &Origin) -> Problem {
        let problem = Problem::error(self.code, origin, self.message);
        match self.hint {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }
    }
}

/// What can be read from a scalar.
pub(crate) trait Scalar: Sized {
    /// What is expected, as in `a duration like "30s"`.
    const EXPECTED: &'static str;

    /// Parses the text; `plain` tells an unquoted one.
    fn parse(text: &str, plain: bool) -> Result<Self, Flaw>;

    /// Its JSON Schema.
    fn schema() -> Value;
}

impl<T: Scalar> Read for T {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        let NodeKind::Scalar { text, plain } = &node.kind else {
            problems.push(wrong_type(Self::EXPECTED, node, origin));
            return None;
        };
        if node.is_null() {
            problems.push(wrong_type(Self::EXPECTED, node, origin));
            return None;
        }
        match Self::parse(text, *plain) {
            Ok(value) => Some(value),
            Err(flaw) => {
                problems.push(flaw.at(origin));
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        <Self as Scalar>::schema()
    }
}

impl<T: Read> Read for List<T> {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        let NodeKind::Sequence(nodes) = &node.kind else {
            problems.push(wrong_type("a list", node, origin).with_hint("write `[ … ]`"));
            return None;
        };
        let mut list = Self {
            items: Vec::with_capacity(nodes.len()),
            broken: false,
        };
        for (index, node) in nodes.iter().enumerate() {
            let origin = node.place.origin(format!("{}[{index}]", origin.path));
            match T::read(node, &origin, problems) {
                Some(value) => list.items.push(At::new(value, origin)),
                None => list.broken = true,
            }
        }
        Some(list)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "array", "items": T::schema(definitions) })
    }
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if matches!(node.kind, NodeKind::Sequence(_)) {
            return List::read(node, origin, problems).map(Self);
        }
        let value = T::read(node, origin, problems)?;
        Some(Self(List {
            items: vec![At::new(value, origin.clone())],
            broken: false,
        }))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let one = T::schema(definitions);
        json!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<T: Read> Read for Named<T> {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        let NodeKind::Mapping(written) = &node.kind else {
            problems.push(wrong_type("names with values", node, origin));
            return None;
        };
        let named = written.iter().map(|entry| {
            let name = entry.place.origin(join(&origin.path, &entry.key));
            let child = child_origin(entry, &origin.path);
            let value = match T::read(&entry.value, &child, problems) {
                Some(value) => Key::Is(At::new(value, child)),
                None => Key::Broken,
            };
            NamedEntry {
                name: At::new(entry.key.clone(), name),
                value,
            }
        });
        Some(Self(named.collect()))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "type": "object", "additionalProperties": T::schema(definitions) })
    }
}

/// A key's value stands at its own place; a list or a mapping at the place of the key that names it.
fn child_origin(entry: &Entry, parent: &str) -> Origin {
    let place = match entry.value.kind {
        NodeKind::Scalar { .. } if !entry.value.is_null() => &entry.value.place,
        NodeKind::Scalar { .. } | NodeKind::Sequence(_) | NodeKind::Mapping(_) => &entry.place,
    };
    place.origin(join(parent, &entry.key))
}

pub(crate) fn wrong_type(expected: &str, node: &Node, origin: &Origin) -> Problem {
    Problem::error(
        "wrong-type",
        origin,
        format!("expected {expected}, found {}", node.describe()),
    )
}

/// The nearest of some names, as a hint.
pub(crate) fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let nearest = names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(wrong, name), name))
        .filter(|(similarity, _)| *similarity > 0.55)
        .max_by(|(left, _), (right, _)| left.total_cmp(right));
    nearest.map(|(_, name)| format!("did you mean {name:?}?"))
}

/// The keys of a mapping while a section reads them.
pub(crate) struct Keys<'a> {
    entries: &'a [Entry],
    known: &'static [&'static str],
    origin: &'a Origin,
    problems: &'a mut Problems,
}

impl<'a> Keys<'a> {
    pub(crate) fn open(
        node: &'a Node,
        known: &'static [&'static str],
        origin: &'a Origin,
        problems: &'a mut Problems,
    ) -> Option<Self> {
        if let NodeKind::Mapping(entries) = &node.kind {
            return Some(Self {
                entries,
                known,
                origin,
                problems,
            });
        }
        problems.push(wrong_type("keys with values", node, origin));
        None
    }

    pub(crate) fn optional<T: Read>(&mut self, name: &str) -> Key<T> {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == name) else {
            return Key::Absent;
        };
        let origin = child_origin(entry, &self.origin.path);
        match T::read(&entry.value, &origin, self.problems) {
            Some(value) => Key::Is(At::new(value, origin)),
            None => Key::Broken,
        }
    }

    pub(crate) fn required<T: Read>(&mut self, name: &str) -> Key<T> {
        let key = self.optional(name);
        if key.is_absent() && self.is_misspelt(name) {
            return Key::Broken;
        }
        if key.is_absent() {
            let message = format!("the key {name:?} is missing");
            self.problems
                .push(Problem::error("missing-key", self.origin, message));
            return Key::Broken;
        }
        key
    }

    /// True when some key looks like this one: its problem says what is meant, and that is enough.
    fn is_misspelt(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| {
            !self.known.contains(&entry.key.as_str()) && did_you_mean(&entry.key, [name]).is_some()
        })
    }

    /// Refuses what is left: keys that later versions will have, and keys that nobody knows. True when there were any.
    pub(crate) fn close(self, later: &[&str]) -> bool {
        let Self { entries, known, .. } = self;
        let mut any = false;
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            any = true;
            let origin = entry.place.origin(join(&self.origin.path, &entry.key));
            if later.contains(&entry.key.as_str()) {
                let message = format!("`{}` is not supported yet", entry.key);
                self.problems
                    .push(Problem::error("not-supported-yet", &origin, message));
                continue;
            }
            let problem = Problem::error("unknown-key", &origin, format!("unknown key {:?}", entry.key));
            let hint = did_you_mean(&entry.key, known.iter().copied()).unwrap_or_else(|| {
                let list: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                format!("known here: {}", list.join(", "))
            });
            self.problems.push(problem.with_hint(hint));
        }
        any
    }
}

/// One key of a section's schema.
pub(crate) struct KeySchema {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) doc: String,
    pub(crate) schema: Value,
}

/// The schema of a section: an object with exactly these keys.
pub(crate) fn section_schema(doc: &str, keys: Vec<KeySchema>) -> Value {
    let required: Vec<_> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut properties = Map::new();
    for key in keys {
        let mut schema = key.schema;
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), Value::String(key.doc.trim().to_owned()));
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let mut object = json!({
        "type": "object",
        "description": doc.trim(),
        "properties": properties,
        "additionalProperties": false,
    });
    if let (false, Some(object)) = (required.is_empty(), object.as_object_mut()) {
        object.insert("required".to_owned(), json!(required));
    }
    object
}

/// Defines a section: its documented keys, each `required` or `optional`, and the keys that are refused by name
/// until they are built (`later`).
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        struct $name:ident {
            $( $(#[doc = $key_doc:literal])* $need:ident $field:ident $(as $key:literal)? : $ty:ty, )*
        }
        $( later { $($later:literal),* $(,)? } )?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $( $(#[doc = $key_doc])* pub(crate) $field: $crate::file::section::Key<$ty>, )*
            /// True when keys stood here that were refused, so that a missing one may be among them.
            pub(crate) has_refused_keys: bool,
        }

        impl $name {
            /// The keys this section has.
            pub(crate) const KEYS: &'static [&'static str] =
                &[$( $crate::file::section::key_name!($field $($key)?) ),*];
            /// The keys that are refused until they are built.
            pub(crate) const LATER: &'static [&'static str] = &[$( $($later),* )?];
        }

        impl $crate::file::section::Read for $name {
            fn read(
                node: &$crate::file::tree::Node,
                origin: &::portcullis_model::Origin,
                problems: &mut ::portcullis_model::Problems,
            ) -> Option<Self> {
                let mut keys = $crate::file::section::Keys::open(node, Self::KEYS, origin, problems)?;
                let mut section = Self {
                    $( $field: keys.$need::<$ty>($crate::file::section::key_name!($field $($key)?)), )*
                    has_refused_keys: false,
                };
                section.has_refused_keys = keys.close(Self::LATER);
                Some(section)
            }

            fn schema(definitions: &mut $crate::file::section::Definitions) -> ::serde_json::Value {
                let name = stringify!($name);
                if !definitions.0.contains_key(name) {
                    definitions.0.insert(name, ::serde_json::Value::Null);
                    let keys = vec![$( $crate::file::section::KeySchema {
                        name: $crate::file::section::key_name!($field $($key)?),
                        required: stringify!($need) == "required",
                        doc: [$($key_doc),*].join("\n"),
                        schema: <$ty as $crate::file::section::Read>::schema(definitions),
                    } ),*];
                    let schema = $crate::file::section::section_schema(&[$($doc),*].join("\n"), keys);
                    definitions.0.insert(name, schema);
                }
                ::serde_json::json!({ "$ref": format!("#/$defs/{name}") })
            }
        }
    };
}

macro_rules! key_name {
    ($field:ident $key:literal) => {
        $key
    };
    ($field:ident) => {
        stringify!($field)
    };
}

/// Gives words of the file to the variants of an enum; `later` words are refused until they are built.
macro_rules! words {
    ($ty:ty { $($word:literal => $value:expr),* $(,)? } $( later { $($later:literal),* $(,)? } )?) => {
        impl $crate::file::section::Scalar for $ty {
            const EXPECTED: &'static str = "a word";

            fn parse(text: &str, _plain: bool) -> Result<Self, $crate::file::section::Flaw> {
                const LATER: &[&str] = &[$( $($later),* )?];
                match text {
                    $( $word => Ok($value), )*
                    later if LATER.contains(&later) => Err($crate::file::section::Flaw::new(
                        "not-supported-yet",
                        format!("`{later}` is not supported yet"),
                    )),
                    other => Err($crate::file::section::unknown_word(other, &[$($word),*])),
                }
            }

            fn schema() -> ::serde_json::Value {
                ::serde_json::json!({ "enum": [$($word),*] })
            }
        }
    };
}

pub(crate) use {key_name, section, words};

/// A word that none of the known ones is.
pub(crate) fn unknown_word(text: &str, words: &[&str]) -> Flaw {
    let list: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    let flaw = Flaw::new("bad-value", format!("{text:?} is not one of {}", list.join(", ")));
    match did_you_mean(text, words.iter().copied()) {
        Some(hint) => flaw.with_hint(hint),
        None => flaw,
    }
}
