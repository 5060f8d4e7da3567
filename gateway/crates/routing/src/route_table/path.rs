//! Path patterns: a tree of segments, and what one pattern takes out of a path.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_model::path::decode;
use regex::Regex;

use super::Params;
use crate::plan::SegmentPattern;

/// Routes by their segments. A node is visited at most once for a path, so a search costs no more than the tree has
/// nodes, whatever the path.
#[derive(Debug)]
pub(super) struct PathTree {
    nodes: Vec<Node>,
    regexes: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, usize>,
    any: Option<usize>,
    /// Routes whose path ends here.
    ends: Vec<usize>,
    /// Routes with `**` here.
    prefixes: Vec<usize>,
}

impl Default for PathTree {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            regexes: Vec::new(),
        }
    }
}

impl PathTree {
    /// Adds a route under its segments.
    pub(super) fn insert(&mut self, segments: &[SegmentPattern], is_prefix: bool, route: usize) {
        let mut at = 0;
        for segment in segments {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            at = match segment {
                SegmentPattern::Literal(text) => *node.literals.entry(text.clone()).or_insert(fresh),
                SegmentPattern::Any(_) => *node.any.get_or_insert(fresh),
            };
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            if is_prefix {
                node.prefixes.push(route)
            } else {
                node.ends.push(route)
            }
        }
    }

    /// Adds a route with a regular expression.
    pub(super) fn insert_regex(&mut self, route: usize) {
        self.regexes.push(route);
    }

    /// The routes with a regular expression.
    pub(super) fn regexes(&self) -> &[usize] {
        &self.regexes
    }

    /// Offers the routes whose segments match, most specific first, until one group of equally specific routes has
    /// an accepted one.
    pub(super) fn walk(
        &self,
        segments: &[&str],
        accept: &mut impl FnMut(&[usize]) -> Option<usize>,
    ) -> Option<usize> {
        self.walk_from(0, segments, accept)
    }

    fn walk_from(
        &self,
        at: usize,
        segments: &[&str],
        accept: &mut impl FnMut(&[usize]) -> Option<usize>,
    ) -> Option<usize> {
        let node = self.nodes.get(at)?;
        let below = match segments.split_first() {
            None => accept(&node.ends),
            Some((first, rest)) => {
                let literal = node
                    .literals
                    .get(*first)
                    .and_then(|child| self.walk_from(*child, rest, accept));
                literal.or_else(|| {
                    let any = node.any.filter(|_| !first.is_empty())?;
                    self.walk_from(any, rest, accept)
                })
            }
        };
        below.or_else(|| accept(&node.prefixes))
    }
}

/// What one pattern takes out of a path that it matches.
#[derive(Debug)]
pub(super) enum PathMatcher {
    /// Of segments.
    Segments {
        /// Leading literal segments.
        literals: usize,
        /// Where the named parameters stand.
        names: Vec<(usize, Arc<str>)>,
    },
    /// Of a regular expression, anchored at both ends.
    Regex {
        /// The expression.
        regex: Regex,
        /// Its named groups.
        names: Vec<Arc<str>>,
    },
}

impl PathMatcher {
    pub(super) fn of_segments(segments: &[SegmentPattern]) -> Self {
        let is_literal = |segment: &&SegmentPattern| matches!(segment, SegmentPattern::Literal(_));
        let names = segments
            .iter()
            .enumerate()
            .filter_map(|(index, segment)| match segment {
                SegmentPattern::Any(Some(name)) => Some((index, Arc::clone(name))),
                SegmentPattern::Any(None) | SegmentPattern::Literal(_) => None,
            });
        Self::Segments {
            literals: segments.iter().take_while(is_literal).count(),
            names: names.collect(),
        }
    }

    pub(super) fn of_regex(regex: Regex) -> Self {
        let names = regex.capture_names().flatten().map(Arc::from).collect();
        Self::Regex { regex, names }
    }

    pub(super) fn is_regex_match(&self, path: &str) -> bool {
        match self {
            Self::Segments { .. } => false,
            Self::Regex { regex, .. } => regex.is_match(path),
        }
    }

    pub(super) fn params(&self, path: &str) -> Params {
        match self {
            Self::Segments { names, .. } => {
                let mut segments = portcullis_model::path::segments(path).enumerate();
                let value = |(index, name): &(usize, Arc<str>)| {
                    let (_, segment) = segments.find(|(at, _)| at == index)?;
                    Some((Arc::clone(name), decode(segment).into_owned()))
                };
                names.iter().filter_map(value).collect()
            }
            Self::Regex { names, .. } if names.is_empty() => Params::new(),
            Self::Regex { regex, names } => {
                let Some(captures) = regex.captures(path) else {
                    return Params::new();
                };
                let value = |name: &Arc<str>| {
                    Some((
                        Arc::clone(name),
                        decode(captures.name(name)?.as_str()).into_owned(),
                    ))
                };
                names.iter().filter_map(value).collect()
            }
        }
    }

    /// The bytes that the leading literal segments take, with the slash before each.
    pub(super) fn literal_len(&self, path: &str) -> usize {
        match self {
            Self::Regex { .. } => 0,
            Self::Segments { literals, .. } => portcullis_model::path::segments(path)
                .take(*literals)
                .map(|segment| segment.len() + 1)
                .sum(),
        }
    }
}
