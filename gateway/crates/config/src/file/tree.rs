//! YAML into a tree that remembers where everything stood.
//!
//! A deserialiser stops at the first thing it dislikes; an operator wants to hear of all of them. So the text is
//! read into this tree first (only a syntax error can end that), and the sections then read the tree key by key.
//! Size, depth and the expansion of aliases are bounded: the file may be hostile or simply broken.

use std::sync::Arc;

use portcullis_model::{Origin, Problem, Problems};
use serde_json::{Map, Number, Value};

mod builder;

use builder::Builder;

/// Nodes of one item of a long list, whose items are flat; one with more is refused.
const MAX_ITEM_NODES: usize = 256;

/// Where a node stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place {
    /// The file, as the operator named it.
    pub(crate) file: Arc<str>,
    /// One-based line.
    pub(crate) line: u32,
    /// One-based column.
    pub(crate) column: u32,
}

impl Place {
    /// The origin of an object at this place.
    pub(crate) fn origin(&self, path: impl Into<Arc<str>>) -> Origin {
        Origin {
            path: path.into(),
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
        }
    }
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) place: Place,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    /// A text; `plain` when it stood without quotes, so that it may also mean a number, a truth value or nothing.
    Scalar { text: String, plain: bool },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys with values, in order; every key once.
    Mapping(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    /// True for `~`, `null` and an empty value.
    pub(crate) fn is_null(&self) -> bool {
        match &self.kind {
            NodeKind::Scalar { text, plain } => *plain && matches!(text.as_str(), "" | "~" | "null"),
            NodeKind::Sequence(_) | NodeKind::Mapping(_) => false,
        }
    }

    /// What the node is, in an operator's words.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            NodeKind::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            NodeKind::Scalar { text, .. } => format!("{:?}", shorten(text)),
            NodeKind::Sequence(_) => "a list".to_owned(),
            NodeKind::Mapping(_) => "keys with values".to_owned(),
        }
    }

    fn count(&self) -> usize {
        match &self.kind {
            NodeKind::Scalar { .. } => 1,
            NodeKind::Sequence(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            NodeKind::Mapping(entries) => 1 + entries.iter().map(|entry| entry.value.count()).sum::<usize>(),
        }
    }

    /// The value as JSON, by YAML's core schema; for documents that other rooms read.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar { text, plain: false } => Value::String(text.clone()),
            NodeKind::Scalar { text, plain: true } => plain_to_json(text),
            NodeKind::Sequence(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            NodeKind::Mapping(entries) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }
}

/// At most 40 characters of a value, for messages.
pub(crate) fn shorten(text: &str) -> String {
    if text.chars().count() <= 40 {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(39).collect();
    short.push('…');
    short
}

fn plain_to_json(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let unsigned_text = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = unsigned_text.parse::<i64>() {
            return Value::Number(number.into());
        }
        if let Ok(number) = unsigned_text.parse::<u64>() {
            return Value::Number(number.into());
        }
        if let Some(number) = unsigned_text.parse::<f64>().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}

/// Reads one document; `None` for an empty one. What can be passed over is reported and passed over.
///
/// # Errors
/// The problem that ends the reading: a syntax error, or a bound.
pub(crate) fn parse(text: &str, file: &Arc<str>, problems: &mut Problems) -> Result<Option<Node>, Stop> {
    Builder::new(text, file, problems).document()
}

/// Reads one document that is a list and gives every item away as soon as it is read, so that a list of a million
/// takes the memory of one; false when there is no document at all. Anything else than a list is a problem.
///
/// # Errors
/// The problem that ends the reading: a syntax error, a bound, or one of `take`'s.
pub(crate) fn each_item(
    text: &str,
    file: &Arc<str>,
    problems: &mut Problems,
    take: impl FnMut(usize, &Node, &mut Problems) -> Result<(), Stop>,
) -> Result<bool, Stop> {
    let mut builder = Builder::new(text, file, problems);
    builder.max_nodes = MAX_ITEM_NODES;
    builder.list(take)
}

/// The problem that ends the reading of a file.
pub(crate) type Stop = Box<Problem>;

/// The path of a key below an object: `pools.orders`, or `hosts["a.example"]` for a name with dots.
pub(crate) fn join(path: &str, key: &str) -> String {
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), is_word) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (false, false) => format!("{path}[{key:?}]"),
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
