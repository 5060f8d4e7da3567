//! YAML into a tree that remembers where everything stood.
//!
//! A deserialiser stops at the first thing it dislikes; an operator wants to hear of all of them. So the text is
//! read into this tree first (only a syntax error can end that), and the sections then read the tree key by key.
//! Size, depth and the expansion of aliases are bounded: the file may be hostile or simply broken.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};
use portcullis_model::{Origin, Problem, Problems};
use serde_json::{Map, Number, Value};

/// Nesting beyond this is refused; the deepest documented key stands at 8, an OpenAPI document rarely at 30.
const MAX_DEPTH: usize = 64;
/// Nodes beyond this, counting what aliases expand to, are refused: about a hundred for each of 10,000 routes.
const MAX_NODES: usize = 1_000_000;
/// The same for one item of a long list, whose items are flat.
const MAX_ITEM_NODES: usize = 256;
/// So many keys of a mapping are found faster by looking at each than by a hash.
const FEW_KEYS: usize = 8;

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

struct Builder<'input, 'a> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
    file: &'a Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    max_nodes: usize,
    problems: &'a mut Problems,
}

/// The way from the root to a node; a text only where a problem needs one.
#[derive(Clone, Copy)]
enum Way<'a> {
    Root,
    Key(&'a Way<'a>, &'a str),
    Item(&'a Way<'a>, usize),
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(above, key) => f.write_str(&join(&above.to_string(), key)),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

impl<'input, 'a> Builder<'input, 'a> {
    fn new(text: &'input str, file: &'a Arc<str>, problems: &'a mut Problems) -> Self {
        let mut options = Options::default();
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        options.set_emit_comments(false);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            file,
            anchors: HashMap::new(),
            nodes: 0,
            max_nodes: MAX_NODES,
            problems,
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => return Err(self.second_document(&span)),
                event => root = Some(self.node(event, &span, Way::Root, 0)?),
            }
        }
    }

    fn list(
        &mut self,
        mut take: impl FnMut(usize, &Node, &mut Problems) -> Result<(), Stop>,
    ) -> Result<bool, Stop> {
        let mut is_there = false;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(is_there),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if is_there => return Err(self.second_document(&span)),
                Event::SequenceStart(_, _, tag) => {
                    is_there = true;
                    let place = self.place(&span);
                    self.refuse_tag(tag.is_some(), &place, Way::Root);
                    self.items(&mut take)?;
                }
                event => {
                    is_there = true;
                    let node = self.node(event, &span, Way::Root, 0)?;
                    let origin = node.place.origin("");
                    let message = format!("expected a list, found {}", node.describe());
                    self.problems.push(Problem::error("wrong-type", &origin, message));
                }
            }
        }
    }

    fn items(
        &mut self,
        take: &mut impl FnMut(usize, &Node, &mut Problems) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for index in 0.. {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            self.nodes = 0;
            let item = self.node(event, &span, Way::Item(&Way::Root, index), 1)?;
            take(index, &item, self.problems)?;
        }
        Ok(())
    }

    fn second_document(&self, span: &Span) -> Stop {
        let problem = Problem::error(
            "yaml-documents",
            &self.place(span).origin(""),
            "a second document in one file",
        );
        Box::new(problem.with_hint("remove the `---` between them, or use a directory of files"))
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let marker = error.marker();
        let origin = Place {
            file: Arc::clone(self.file),
            line: u32::try_from(marker.line()).unwrap_or(0),
            column: u32::try_from(marker.col() + 1).unwrap_or(0),
        }
        .origin("");
        Box::new(Problem::error(
            "yaml-syntax",
            &origin,
            format!("not valid YAML: {}", error.info()),
        ))
    }

    fn place(&self, span: &Span) -> Place {
        Place {
            file: Arc::clone(self.file),
            line: u32::try_from(span.start.line()).unwrap_or(0),
            column: u32::try_from(span.start.col() + 1).unwrap_or(0),
        }
    }

    fn node(&mut self, event: Event<'input>, span: &Span, path: Way<'_>, depth: usize) -> Result<Node, Stop> {
        let place = self.place(span);
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > self.max_nodes {
            let message = format!(
                "nested deeper than {MAX_DEPTH} levels or larger than {} values",
                self.max_nodes
            );
            return Err(Box::new(Problem::error(
                "too-large",
                &place.origin(path.to_string()),
                message,
            )));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &place, path);
                let plain = style == ScalarStyle::Plain;
                let node = Node {
                    kind: NodeKind::Scalar {
                        text: text.into_owned(),
                        plain,
                    },
                    place,
                };
                self.remember(anchor, &node);
                Ok(node)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &place, path);
                let kind = NodeKind::Sequence(self.sequence(path, depth)?);
                let node = Node { kind, place };
                self.remember(anchor, &node);
                Ok(node)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &place, path);
                let kind = NodeKind::Mapping(self.mapping(path, depth)?);
                let node = Node { kind, place };
                self.remember(anchor, &node);
                Ok(node)
            }
            Event::Alias(anchor) => self.alias(anchor, &place, path),
            other => {
                let message = format!("not valid YAML here: {other:?}");
                Err(Box::new(Problem::error(
                    "yaml-syntax",
                    &place.origin(path.to_string()),
                    message,
                )))
            }
        }
    }

    fn alias(&mut self, anchor: usize, place: &Place, path: Way<'_>) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let message = "an alias inside its own anchor";
            return Err(Box::new(Problem::error(
                "yaml-alias",
                &place.origin(path.to_string()),
                message,
            )));
        };
        self.nodes += node.count();
        if self.nodes > self.max_nodes {
            let message = format!("aliases expand to more than {} values", self.max_nodes);
            return Err(Box::new(Problem::error(
                "too-large",
                &place.origin(path.to_string()),
                message,
            )));
        }
        Ok(node)
    }

    fn sequence(&mut self, path: Way<'_>, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let item = self.node(event, &span, Way::Item(&path, items.len()), depth + 1)?;
            items.push(item);
        }
    }

    fn mapping(&mut self, path: Way<'_>, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, u32> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let name = self.node(event, &span, path, depth + 1)?;
            let (event, span) = self.next()?;
            let NodeKind::Scalar { text: key, .. } = name.kind else {
                let problem = Problem::error(
                    "wrong-type",
                    &name.place.origin(path.to_string()),
                    "a key must be a text",
                );
                self.problems.push(problem);
                self.node(event, &span, path, depth + 1)?;
                continue;
            };
            let value = self.node(event, &span, Way::Key(&path, &key), depth + 1)?;
            if let Some(line) = first_line(&entries, &lines, &key) {
                let message = format!("{key:?} stands here a second time");
                let origin = name.place.origin(Way::Key(&path, &key).to_string());
                let problem = Problem::error("duplicate-key", &origin, message)
                    .with_hint(format!("the first one is on line {line}"));
                self.problems.push(problem);
                continue;
            }
            if entries.len() >= FEW_KEYS {
                lines.insert(key.clone(), name.place.line);
            }
            entries.push(Entry {
                key,
                place: name.place,
                value,
            });
        }
    }

    fn refuse_tag(&mut self, tagged: bool, place: &Place, path: Way<'_>) {
        if tagged {
            self.problems.push(Problem::error(
                "yaml-tag",
                &place.origin(path.to_string()),
                "YAML tags are not used here",
            ));
        }
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }
}

/// The line of a key that stands there already: the first few are looked through, the others looked up.
fn first_line(entries: &[Entry], lines: &HashMap<String, u32>, key: &str) -> Option<u32> {
    let few = entries.iter().take(FEW_KEYS).find(|entry| entry.key == key);
    few.map(|entry| entry.place.line)
        .or_else(|| lines.get(key).copied())
}

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
