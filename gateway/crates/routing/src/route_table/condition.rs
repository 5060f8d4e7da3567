//! What a route asks for beside host and path.

use http::{HeaderName, Method};
use portcullis_model::RequestHead;
use regex::bytes::Regex;

/// How well a route's methods match: a route that names the method beats one that takes it because it has `GET`,
/// which beats one that takes any.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum MethodRank {
    /// The route names no method.
    Any,
    /// `HEAD` on a route that names `GET`.
    HeadOfGet,
    /// The route names it.
    Named,
}

/// A route's methods, fields and query parameters.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) methods: Vec<Method>,
    pub(super) fields: Vec<(HeaderName, ValueMatcher)>,
    pub(super) query: Vec<(String, ValueMatcher)>,
}

/// What a value must be. Every value of a repeated name must match: an endpoint may read another one than we do.
#[derive(Debug)]
pub(super) enum ValueMatcher {
    Exact(String),
    Present,
    /// Anchored at both ends; over bytes, so that a field that is not text is judged like any other.
    Regex(Regex),
}

impl ValueMatcher {
    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Present => true,
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    fn accepts_all<'v>(&self, values: impl Iterator<Item = &'v [u8]>) -> bool {
        let mut is_there = false;
        for value in values {
            if !self.accepts(value) {
                return false;
            }
            is_there = true;
        }
        is_there
    }
}

impl Conditions {
    /// True when fields and query match.
    pub(super) fn accept(&self, head: &RequestHead<'_>) -> bool {
        let fields_match = self.fields.iter().all(|(name, wanted)| {
            wanted.accepts_all(head.headers.get_all(name).iter().map(http::HeaderValue::as_bytes))
        });
        fields_match
            && self
                .query
                .iter()
                .all(|(name, wanted)| wanted.accepts_all(head.query.values(name).map(str::as_bytes)))
    }

    /// How the method matches; `None` when it does not.
    pub(super) fn method_rank(&self, method: &Method) -> Option<MethodRank> {
        if self.methods.is_empty() {
            return Some(MethodRank::Any);
        }
        if self.methods.contains(method) {
            return Some(MethodRank::Named);
        }
        (*method == Method::HEAD && self.methods.contains(&Method::GET)).then_some(MethodRank::HeadOfGet)
    }

    /// The methods it names.
    pub(super) fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// How many fields and query parameters it asks for.
    pub(super) const fn counts(&self) -> (usize, usize) {
        (self.fields.len(), self.query.len())
    }
}
