//! One entry as the admin port gets it: a JSON object whose values are texts, and nothing else.
//!
//! YAML would read more, and some of it as another name than was meant: `12e3` without quotes is a number to whoever
//! wrote it and hexadecimal to us. Here somebody waits for the answer and can write what they mean.

use std::fmt;
use std::sync::Arc;

use portcullis_model::{Origin, Problem};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};

use crate::file::tree::{Entry, Node, NodeKind, Place};

/// Reads the object; a name that stands in it twice has two readings and is refused.
pub(super) fn read(text: &str, name: &Arc<str>) -> Result<Node, Box<Problem>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let pairs = reader.deserialize_map(Texts).and_then(|pairs| {
        reader.end()?;
        Ok(pairs)
    });
    let pairs = pairs.map_err(|fault| Box::new(problem(&fault, name)))?;
    let place = Place {
        file: Arc::clone(name),
        ..Place::default()
    };
    let mut entries: Vec<Entry> = Vec::new();
    for (key, text) in pairs {
        if entries.iter().any(|entry| entry.key == key) {
            let message = format!("{key:?} stands here a second time");
            return Err(Box::new(Problem::error(
                "duplicate-key",
                &place.origin(key),
                message,
            )));
        }
        let kind = NodeKind::Scalar { text, plain: false };
        entries.push(Entry {
            key,
            place: place.clone(),
            value: Node {
                kind,
                place: place.clone(),
            },
        });
    }
    Ok(Node {
        kind: NodeKind::Mapping(entries),
        place,
    })
}

fn problem(fault: &serde_json::Error, name: &Arc<str>) -> Problem {
    let here = Origin {
        file: Arc::clone(name),
        line: u32::try_from(fault.line()).unwrap_or(u32::MAX),
        column: u32::try_from(fault.column()).unwrap_or(u32::MAX),
        ..Origin::default()
    };
    let said = fault.to_string();
    let said = said
        .rsplit_once(" at line ")
        .map_or(said.as_str(), |(said, _)| said);
    let problem = if fault.is_data() {
        Problem::error("wrong-type", &here, said.to_owned())
    } else {
        Problem::error("json-syntax", &here, format!("not valid JSON: {said}"))
    };
    problem.with_hint(r#"an entry is a JSON object whose values are texts, as in {"serial": "0A:1B"}"#)
}

/// Names with texts.
struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose values are texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = members.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
