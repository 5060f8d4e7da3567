//! Which facts a policy can read: paths below `input`, kept as a tree that the document is walked with.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// One step of a path below `input`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::policy) enum Step {
    /// A member of an object.
    Field(Arc<str>),
    /// An element of a list.
    Item(u64),
}

/// A path below `input`; everything at and below it counts as read. The empty path is `input` itself.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::policy) struct FactPath(pub(in crate::policy) Vec<Step>);

impl FactPath {
    /// A path of fields alone.
    pub(in crate::policy) fn of(fields: &[&str]) -> Self {
        Self(fields.iter().map(|field| Step::Field((*field).into())).collect())
    }

    /// True when reading this reads `other` too: it is the same or something above it.
    pub(in crate::policy) fn covers(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for FactPath {
    /// `input.request.headers["x-tenant"]`, as an author writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("input")?;
        for step in &self.0 {
            match step {
                Step::Field(name) if is_plain(name) => write!(f, ".{name}")?,
                Step::Field(name) => write!(f, "[{name:?}]")?,
                Step::Item(position) => write!(f, "[{position}]")?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The facts under which decisions are remembered.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct ReadSet {
    /// In order, none of them below another.
    paths: Vec<FactPath>,
    root: Node,
}

impl ReadSet {
    /// The set of these paths; what another one covers is left out.
    pub(in crate::policy) fn new(paths: impl IntoIterator<Item = FactPath>) -> Self {
        let sorted: BTreeSet<FactPath> = paths.into_iter().collect();
        let mut set = Self::default();
        for path in sorted {
            // In this order a path comes after those above it, and directly after the last one that covers it.
            if set.paths.last().is_some_and(|last| last.covers(&path)) {
                continue;
            }
            set.root.add(&path.0);
            set.paths.push(path);
        }
        set
    }

    /// The paths, in order.
    pub(in crate::policy) fn paths(&self) -> &[FactPath] {
        &self.paths
    }

    /// What is wanted of the whole document.
    pub(super) fn wanted(&self) -> Wanted<'_> {
        self.root.wanted()
    }
}

/// What is read below one place of the document.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    is_whole: bool,
    below: Vec<(Step, Node)>,
}

/// How much of a value is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// All of it.
    All,
    /// Some members or elements.
    Some(&'a Node),
}

impl Node {
    fn add(&mut self, path: &[Step]) {
        let Some((first, rest)) = path.split_first() else {
            self.is_whole = true;
            return;
        };
        if let Some((_, node)) = self.below.iter_mut().find(|(step, _)| step == first) {
            node.add(rest);
        } else {
            let mut node = Self::default();
            node.add(rest);
            self.below.push((first.clone(), node));
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        if self.is_whole {
            Wanted::All
        } else {
            Wanted::Some(self)
        }
    }
}

impl<'a> Wanted<'a> {
    /// What is read of a member, if anything.
    pub(super) fn field(self, name: &[u8]) -> Option<Self> {
        self.below(|step| matches!(step, Step::Field(field) if field.as_bytes() == name))
    }

    /// What is read of an element, if anything.
    pub(super) fn item(self, position: u64) -> Option<Self> {
        self.below(|step| matches!(step, Step::Item(item) if *item == position))
    }

    fn below(self, is_it: impl Fn(&Step) -> bool) -> Option<Self> {
        match self {
            Self::All => Some(Self::All),
            Self::Some(node) => node
                .below
                .iter()
                .find(|(step, _)| is_it(step))
                .map(|(_, node)| node.wanted()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_an_author_writes_it() {
        let mut path = FactPath::of(&["request", "headers", "x-tenant"]);
        path.0.push(Step::Item(0));

        assert_eq!(path.to_string(), "input.request.headers[\"x-tenant\"][0]");
        assert_eq!(FactPath::default().to_string(), "input");
    }

    #[test]
    fn a_path_below_another_one_adds_nothing() {
        let set = ReadSet::new([
            FactPath::of(&["route", "name"]),
            FactPath::of(&["principal", "claims", "a"]),
            FactPath::of(&["principal", "claims"]),
            FactPath::of(&["principal", "claims", "b", "c"]),
            FactPath::of(&["principal", "claims_of"]),
        ]);

        let shown: Vec<String> = set.paths().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "input.principal.claims",
                "input.principal.claims_of",
                "input.route.name"
            ]
        );
    }
}
