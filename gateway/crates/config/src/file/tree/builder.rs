//! From the events of a YAML parser to nodes, with their bounds.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};
use portcullis_model::{Problem, Problems};

use super::{Entry, Node, NodeKind, Place, Stop, join};

/// Nesting beyond this is refused; the deepest documented key stands at 8, an OpenAPI document rarely at 30.
const MAX_DEPTH: usize = 64;
/// Nodes beyond this, counting what aliases expand to, are refused: about a hundred for each of 10,000 routes.
const MAX_NODES: usize = 1_000_000;
/// So many keys of a mapping are found faster by looking at each than by a hash.
const FEW_KEYS: usize = 8;

/// Builds nodes of a parser's events.
pub(super) struct Builder<'input, 'a> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
    file: &'a Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    pub(super) max_nodes: usize,
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
    pub(super) fn new(text: &'input str, file: &'a Arc<str>, problems: &'a mut Problems) -> Self {
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

    pub(super) fn document(&mut self) -> Result<Option<Node>, Stop> {
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

    pub(super) fn list(
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
