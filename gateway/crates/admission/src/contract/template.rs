//! Path templates, matched segment by segment on canonical paths; the concrete goes before the templated.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_model::path;

/// Paths and what stands at them.
#[derive(Debug)]
pub(super) struct PathTable<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    concrete: HashMap<String, Node<T>>,
    /// The more literal text around the parameter, the earlier.
    templated: Vec<(Around, Node<T>)>,
    end: Option<End<T>>,
}

#[derive(Debug)]
struct End<T> {
    item: T,
    names: Vec<Arc<str>>,
}

/// Literal text around a segment's parameter.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Around {
    before: String,
    after: String,
}

/// What stands at a path, with the names of its parameters and their still encoded values.
#[derive(Debug)]
pub(super) struct Found<'t, 'p, T> {
    pub(super) item: &'t T,
    pub(super) values: Vec<(&'t Arc<str>, &'p str)>,
}

/// A path template, parsed.
#[derive(Clone, Debug)]
pub(super) struct Template {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
enum Segment {
    Concrete(String),
    Templated(Around, Arc<str>),
}

impl Template {
    /// Parses a template below a base path.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn parse(base: &str, template: &str) -> Result<Self, &'static str> {
        if !template.starts_with('/') {
            return Err("a path must start with a slash");
        }
        let full = format!("{base}{template}");
        let texts: Vec<_> = path::segments(&full).collect();
        let last = texts.len().saturating_sub(1);
        let mut segments = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            if text.is_empty() && index < last {
                return Err("an empty segment can never be asked for");
            }
            segments.push(segment(text)?);
        }
        Ok(Self { segments })
    }

    /// The names of its parameters, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Templated(_, name) => Some(name),
            Segment::Concrete(_) => None,
        })
    }
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    let Some((before, rest)) = text.split_once('{') else {
        if text.contains('}') {
            return Err("a brace is not closed");
        }
        return concrete(text).map(Segment::Concrete);
    };
    let (name, after) = rest.split_once('}').ok_or("a brace is not closed")?;
    if name.is_empty() || before.contains('}') || after.contains(['{', '}']) {
        return Err("a segment may have one parameter");
    }
    Ok(Segment::Templated(
        Around {
            before: concrete(before)?,
            after: concrete(after)?,
        },
        name.into(),
    ))
}

/// A literal as canonical paths write it.
fn concrete(text: &str) -> Result<String, &'static str> {
    if text == "." || text == ".." {
        return Err("a dot segment can never be asked for");
    }
    if text.contains(['?', '#']) {
        return Err("a path has no query and no fragment");
    }
    let mut canonical = String::with_capacity(text.len());
    for byte in path::decode(text).bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
        if is_plain {
            canonical.push(char::from(byte));
        } else {
            canonical.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(canonical)
}

impl<T> Default for PathTable<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            concrete: HashMap::new(),
            templated: Vec::new(),
            end: None,
        }
    }
}

impl<T> PathTable<T> {
    /// Adds a path.
    ///
    /// # Errors
    /// Gives the item back when a path that matches exactly the same is there already.
    pub(super) fn insert(&mut self, template: &Template, item: T) -> Result<(), T> {
        let mut node = &mut self.root;
        for segment in &template.segments {
            node = match segment {
                Segment::Concrete(text) => node.concrete.entry(text.clone()).or_default(),
                Segment::Templated(around, _) => node.templated(around),
            };
        }
        if node.end.is_some() {
            return Err(item);
        }
        node.end = Some(End {
            item,
            names: template.names().cloned().collect(),
        });
        Ok(())
    }

    /// What stands at a canonical path.
    pub(super) fn find<'t, 'p>(&'t self, path: &'p str) -> Option<Found<'t, 'p, T>> {
        let segments: Vec<_> = path::segments(path).collect();
        let mut values = Vec::new();
        let end = self.root.find(&segments, &mut values)?;
        Some(Found {
            item: &end.item,
            values: end.names.iter().zip(values).collect(),
        })
    }
}

impl<T> Node<T> {
    fn templated(&mut self, around: &Around) -> &mut Self {
        let known = self.templated.iter().position(|(known, _)| known == around);
        let index = known.unwrap_or_else(|| {
            let at = self
                .templated
                .partition_point(|(known, _)| known.literal_len() >= around.literal_len());
            self.templated.insert(at, (around.clone(), Self::default()));
            at
        });
        match self.templated.get_mut(index) {
            Some((_, node)) => node,
            // Unreachable, since the index was just found; any node will do for the compiler.
            None => self.concrete.entry(String::new()).or_default(),
        }
    }

    /// Goes back and tries the next when a promising branch ends: no more steps than the table has nodes.
    fn find<'p>(&self, segments: &[&'p str], values: &mut Vec<&'p str>) -> Option<&End<T>> {
        let Some((segment, rest)) = segments.split_first() else {
            return self.end.as_ref();
        };
        if let Some(end) = self
            .concrete
            .get(*segment)
            .and_then(|node| node.find(rest, values))
        {
            return Some(end);
        }
        for (around, node) in &self.templated {
            let Some(value) = around.value(segment) else {
                continue;
            };
            values.push(value);
            if let Some(end) = node.find(rest, values) {
                return Some(end);
            }
            values.pop();
        }
        None
    }
}

impl Around {
    fn literal_len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// The parameter's value in a segment; it is never empty.
    fn value<'p>(&self, segment: &'p str) -> Option<&'p str> {
        let value = segment
            .strip_prefix(self.before.as_str())?
            .strip_suffix(self.after.as_str())?;
        (!value.is_empty()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(templates: &[&'static str]) -> PathTable<&'static str> {
        let mut table = PathTable::default();
        for template in templates {
            table
                .insert(&Template::parse("/api", template).unwrap(), *template)
                .unwrap();
        }
        table
    }

    fn found(table: &PathTable<&'static str>, path: &str) -> Option<(&'static str, Vec<(String, String)>)> {
        let Found { item, values } = table.find(path)?;
        Some((
            item,
            values
                .into_iter()
                .map(|(name, value)| (name.to_string(), value.to_owned()))
                .collect(),
        ))
    }

    #[test]
    fn the_concrete_goes_before_the_templated_and_the_templated_still_gets_the_rest() {
        let table = table(&[
            "/a/{id}",
            "/a/mine",
            "/a/{id}/b",
            "/a/mine/c",
            "/f/{name}.json",
            "/f/{name}",
        ]);

        assert_eq!(found(&table, "/api/a/mine").unwrap().0, "/a/mine");
        assert_eq!(
            found(&table, "/api/a/yours").unwrap(),
            ("/a/{id}", vec![("id".into(), "yours".into())])
        );
        assert_eq!(
            found(&table, "/api/a/mine/b").unwrap().1,
            [("id".into(), "mine".into())]
        );
        assert_eq!(
            found(&table, "/api/f/x.json").unwrap(),
            ("/f/{name}.json", vec![("name".into(), "x".into())])
        );
        assert_eq!(found(&table, "/api/f/.json").unwrap().0, "/f/{name}");
    }

    #[test]
    fn other_paths_are_not_found() {
        let table = table(&["/a/{id}"]);

        for path in [
            "/",
            "/api",
            "/api/a",
            "/api/a/",
            "/a/1",
            "/api/a/1/",
            "/api/a/1/b",
            "/api/A/1",
        ] {
            assert_eq!(found(&table, path), None, "{path}");
        }
        assert!(found(&table, "/api/a/1").is_some());
    }

    #[test]
    fn a_trailing_slash_is_another_path() {
        let table = table(&["/a/", "/b"]);

        assert!(found(&table, "/api/a/").is_some() && found(&table, "/api/a").is_none());
        assert!(found(&table, "/api/b").is_some() && found(&table, "/api/b/").is_none());
    }

    #[test]
    fn literals_are_compared_in_their_canonical_form() {
        let table = table(&["/caf\u{e9} x/%7Ea"]);

        assert!(found(&table, "/api/caf%C3%A9%20x/~a").is_some());
    }

    #[test]
    fn two_paths_that_match_the_same_are_a_conflict_and_names_do_not_tell_them_apart() {
        let mut table = table(&["/a/{id}/b", "/a/{x}/c"]);
        let again = Template::parse("/api", "/a/{other}/b").unwrap();

        assert_eq!(table.insert(&again, "again"), Err("again"));
        assert_eq!(found(&table, "/api/a/1/c").unwrap().1, [("x".into(), "1".into())]);
    }

    #[test]
    fn templates_that_can_never_match_are_refused() {
        for template in [
            "a", "/a//b", "/a/../b", "/{a}{b}", "/{a", "/a}", "/{}", "/a?b", "/a/.",
        ] {
            assert!(Template::parse("", template).is_err(), "{template}");
        }
        assert!(Template::parse("", "/").is_ok());
    }
}
