//! One parameter: where it stands, how its text is read, and what it must be.

use http::HeaderName;
use portcullis_model::{RequestHead, Violation, path};
use serde_json::Value;

use super::coerce::Kinds;
use super::schema::Schema;
use super::shape::{Fields, Repeated};
use super::violation::{Pointer, violation};

/// A compiled parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) is_required: bool,
    /// `allowEmptyValue`: a query parameter that may be there without a value.
    pub(super) allows_empty: bool,
    pub(super) reading: Reading,
    pub(super) schema: Schema,
}

/// Where a parameter stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Source {
    Path,
    Query,
    Header(HeaderName),
    Cookie,
}

/// How a parameter's text is read: `style` and `explode` with the schema's shape.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    /// One value.
    One(Kinds),
    /// `a,b`
    Commas(Kinds),
    /// `name=a&name=b`
    Repeated(Kinds),
    /// `k,v,k,v`
    CommaPairs(Fields),
    /// `k=v,k=v`
    EqualsPairs(Fields),
    /// `k=v&k=v`, the parameter's own name nowhere.
    Spread(Fields),
    /// `name[k]=v&name[k]=v`
    Deep(Fields),
}

/// What the parameters of one request are read from.
pub(super) struct Sources<'r> {
    pub(super) head: &'r RequestHead<'r>,
    pub(super) path: &'r [(std::sync::Arc<str>, String)],
    pub(super) cookies: Vec<(&'r [u8], &'r [u8])>,
}

/// Why text is not a value.
struct Unreadable {
    below: Option<String>,
    keyword: &'static str,
    expected: &'static str,
}

impl Unreadable {
    const fn new(keyword: &'static str, expected: &'static str) -> Self {
        Self {
            below: None,
            keyword,
            expected,
        }
    }

    const fn repeated() -> Self {
        Self::new("repeated", "one value")
    }
}

impl From<Repeated> for Unreadable {
    fn from(repeated: Repeated) -> Self {
        Self {
            below: Some(repeated.0),
            ..Self::repeated()
        }
    }
}

impl Source {
    pub(super) const fn location(&self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header(_) => "header",
            Self::Cookie => "cookie",
        }
    }
}

impl<'r> Sources<'r> {
    pub(super) fn new(head: &'r RequestHead<'r>, path: &'r [(std::sync::Arc<str>, String)]) -> Self {
        // As bytes: one cookie that is not text must not hide the others.
        let cookies = head
            .headers
            .get_all(http::header::COOKIE)
            .into_iter()
            .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
            .filter_map(|pair| {
                let at = pair.iter().position(|byte| *byte == b'=')?;
                let (name, value) = pair.split_at(at);
                Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
            })
            .collect();
        Self { head, path, cookies }
    }
}

impl Parameter {
    /// Checks the parameter of a request.
    pub(super) fn check(&self, sources: &Sources<'_>) -> Result<(), Vec<Violation>> {
        let location = self.source.location();
        let pointer = Pointer::of(&self.name);
        let values = match self.read(sources) {
            Ok(Some(values)) => values,
            Ok(None) if self.is_required => {
                return Err(vec![violation(location, pointer, "required", "a value")]);
            }
            Ok(None) => return Ok(()),
            Err(unreadable) => {
                let mut pointer = pointer;
                if let Some(below) = unreadable.below {
                    pointer.push(&below);
                }
                return Err(vec![violation(
                    location,
                    pointer,
                    unreadable.keyword,
                    unreadable.expected,
                )]);
            }
        };
        let mut told = None;
        for value in &values {
            match self.schema.check(value, location, &pointer) {
                Ok(()) => return Ok(()),
                Err(violations) => told = told.or(Some(violations)),
            }
        }
        told.map_or(Ok(()), Err)
    }

    /// What the text may stand for; `None` when the parameter is absent, an empty list when nothing has to be checked.
    fn read(&self, sources: &Sources<'_>) -> Result<Option<Vec<Value>>, Unreadable> {
        match &self.source {
            Source::Path => {
                let raw = sources.path.iter().find(|(name, _)| **name == *self.name);
                raw.map(|(_, raw)| self.reading.read_encoded(raw, false))
                    .transpose()
            }
            Source::Query => self.read_query(sources.head),
            Source::Header(name) => {
                let mut fields = Vec::new();
                for field in sources.head.headers.get_all(name) {
                    let text = field
                        .to_str()
                        .map_err(|_| Unreadable::new("encoding", "visible ASCII"))?;
                    fields.push(text.trim_matches([' ', '\t']));
                }
                match (fields.as_slice(), &self.reading) {
                    ([], _) => Ok(None),
                    ([_, _, ..], Reading::One(_)) => Err(Unreadable::repeated()),
                    // RFC 9110 section 5.3: several fields of a list are one list.
                    (fields, reading) => reading.read_plain(&fields.join(",")).map(Some),
                }
            }
            Source::Cookie => {
                let own = |(name, _): &&(&[u8], &[u8])| *name == self.name.as_bytes();
                let mut values = sources.cookies.iter().filter(own);
                match (values.next(), values.next()) {
                    (None, _) => Ok(None),
                    (Some(_), Some(_)) => Err(Unreadable::repeated()),
                    (Some((_, value)), None) => {
                        let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii());
                        let text = text.ok_or(Unreadable::new("encoding", "visible ASCII"))?;
                        self.reading.read_plain(text).map(Some)
                    }
                }
            }
        }
    }

    fn read_query(&self, head: &RequestHead<'_>) -> Result<Option<Vec<Value>>, Unreadable> {
        let pairs = || {
            head.query
                .pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
        };
        match &self.reading {
            Reading::One(kinds) => {
                let mut values = pairs().filter(|(name, _)| *name == self.name);
                match (values.next(), values.next()) {
                    (None, _) => Ok(None),
                    (Some(_), Some(_)) => Err(Unreadable::repeated()),
                    (Some((_, "")), None) if self.allows_empty => Ok(Some(Vec::new())),
                    (Some((_, value)), None) => Ok(Some(kinds.read_all(value))),
                }
            }
            Reading::Repeated(kinds) => {
                let items: Vec<_> = pairs()
                    .filter(|(name, _)| *name == self.name)
                    .map(|(_, value)| kinds.read(value))
                    .collect();
                Ok((!items.is_empty()).then(|| vec![Value::Array(items)]))
            }
            Reading::Spread(fields) => {
                let own = pairs().filter(|(name, _)| fields.names().any(|own| own == *name));
                if own.clone().next().is_none() {
                    return Ok(None);
                }
                Ok(Some(vec![fields.read(own)?]))
            }
            Reading::Deep(fields) => self.read_deep(fields, pairs()),
            Reading::Commas(_) | Reading::CommaPairs(_) | Reading::EqualsPairs(_) => {
                // An encoded comma is part of a value, so the text is split before it is decoded.
                let raw_pairs = head
                    .query
                    .text
                    .split('&')
                    .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                let mut values = raw_pairs.filter(|(name, _)| decode(name, true) == self.name);
                match (values.next(), values.next()) {
                    (None, _) => Ok(None),
                    (Some(_), Some(_)) => Err(Unreadable::repeated()),
                    (Some((_, "")), None) if self.allows_empty => Ok(Some(Vec::new())),
                    (Some((_, raw)), None) => self.reading.read_encoded(raw, true).map(Some),
                }
            }
        }
    }

    fn read_deep<'a>(
        &self,
        fields: &Fields,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Vec<Value>>, Unreadable> {
        let mut members = Vec::new();
        for (name, value) in pairs {
            let Some(rest) = name.strip_prefix(self.name.as_str()) else {
                continue;
            };
            if !rest.is_empty() && !rest.starts_with('[') {
                continue;
            }
            let member = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let member = member.filter(|member| !member.is_empty() && !member.contains(['[', ']']));
            members.push((
                member.ok_or(Unreadable::new("style", "name[member]=value"))?,
                value,
            ));
        }
        if members.is_empty() {
            return Ok(None);
        }
        Ok(Some(vec![fields.read(members.into_iter())?]))
    }
}

impl Reading {
    /// Reads text in which every part is percent-encoded on its own.
    fn read_encoded(&self, raw: &str, plus_is_space: bool) -> Result<Vec<Value>, Unreadable> {
        self.read_with(raw, |part| decode(part, plus_is_space))
    }

    /// Reads text that stands for itself.
    fn read_plain(&self, text: &str) -> Result<Vec<Value>, Unreadable> {
        self.read_with(text, |part| part.trim_matches([' ', '\t']).to_owned())
    }

    fn read_with(&self, text: &str, decode: impl Fn(&str) -> String) -> Result<Vec<Value>, Unreadable> {
        match self {
            Self::One(kinds) => Ok(kinds.read_all(&decode(text))),
            Self::Commas(kinds) | Self::Repeated(kinds) => Ok(vec![Value::Array(
                text.split(',').map(|part| kinds.read(&decode(part))).collect(),
            )]),
            Self::CommaPairs(fields) => {
                let parts: Vec<_> = text.split(',').map(decode).collect();
                let (pairs, rest) = parts.as_chunks::<2>();
                if !rest.is_empty() {
                    return Err(Unreadable::new("style", "name,value,name,value"));
                }
                Ok(vec![fields.read(
                    pairs.iter().map(|[name, value]| (name.as_str(), value.as_str())),
                )?])
            }
            Self::EqualsPairs(fields) => {
                let pairs: Option<Vec<_>> = text.split(',').map(|pair| pair.split_once('=')).collect();
                let pairs = pairs.ok_or(Unreadable::new("style", "name=value,name=value"))?;
                let pairs: Vec<_> = pairs
                    .into_iter()
                    .map(|(name, value)| (decode(name), decode(value)))
                    .collect();
                Ok(vec![fields.read(
                    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())),
                )?])
            }
            // These are made of several pairs and are read from the query alone.
            Self::Spread(_) | Self::Deep(_) => Err(Unreadable::new("style", "a query parameter")),
        }
    }
}

fn decode(text: &str, plus_is_space: bool) -> String {
    if plus_is_space && text.contains('+') {
        return path::decode(&text.replace('+', " ")).into_owned();
    }
    path::decode(text).into_owned()
}
