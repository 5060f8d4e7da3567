//! Which route a request is: host, path, method, fields and query to `T`, and nothing is known of `T`.
//!
//! Precedence is the Kubernetes Gateway API's. Among the routes that match, in this order: the exact host, then the
//! longer wildcard, then any host; the path that is more specific segment by segment (literal, parameter, `**`), which
//! puts the exact path first and the longer prefix before the shorter, and regular expressions last; the route that
//! names the method; the one with more fields; with more query parameters; the one written first. A more specific host
//! or path whose other conditions fail does not hide a less specific one that matches.

mod build;
mod condition;
mod host;
mod path;

use std::sync::Arc;

use http::header::ALLOW;
use http::{HeaderValue, Method};
use portcullis_model::{Problems, Reason, Rejection, RequestHead};
use smallvec::SmallVec;

use crate::plan::MatchPlan;
use condition::{Conditions, MethodRank};
use host::Hosts;
use path::{PathMatcher, PathTree};

/// The compiled matcher.
#[derive(Debug)]
pub struct RouteTable<T> {
    routes: Vec<Route<T>>,
    hosts: Hosts,
}

#[derive(Debug)]
struct Route<T> {
    value: T,
    path: PathMatcher,
    conditions: Conditions,
}

/// The parameters of a match: names with their decoded values.
pub type Params = Vec<(Arc<str>, String)>;

/// The segments of a path.
type Segments<'p> = SmallVec<[&'p str; 16]>;

/// The route of a request.
#[derive(Clone, Debug)]
pub struct RouteMatch<'t, T> {
    /// What stands behind the route.
    pub value: &'t T,
    /// How many bytes of the path its leading literal segments matched: what a prefix rewrite replaces. 0 for a
    /// regular expression.
    pub matched_prefix_len: usize,
    path: &'t PathMatcher,
}

impl<T> RouteMatch<'_, T> {
    /// The parameters of the path that was matched, decoded, in its order; for a regular expression its named groups.
    #[must_use]
    pub fn params(&self, path: &str) -> Params {
        self.path.params(path)
    }
}

/// No route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoRoute {
    /// Nothing matches.
    NotFound,
    /// Only the method does not match; these would.
    MethodNotAllowed(Vec<Method>),
}

impl<T> RouteTable<T> {
    /// Compiles the matches of a listener's routes, in the order written.
    ///
    /// # Errors
    /// Every problem: invalid regular expressions and patterns, and pairs of routes that match exactly the same
    /// requests on a host, the second of which could never serve it.
    pub fn build(entries: Vec<(&MatchPlan, T)>) -> Result<Self, Problems> {
        build::build(entries)
    }

    /// The route of a request.
    ///
    /// # Errors
    /// [`NoRoute`] when none matches.
    pub fn find(&self, head: &RequestHead<'_>) -> Result<RouteMatch<'_, T>, NoRoute> {
        self.find_for_method(head, head.method)
    }

    /// The route that the request would be with another method: what a CORS preflight asks about.
    ///
    /// # Errors
    /// [`NoRoute`] when none matches.
    pub fn find_for_method(
        &self,
        head: &RequestHead<'_>,
        method: &Method,
    ) -> Result<RouteMatch<'_, T>, NoRoute> {
        let segments: Segments<'_> = head.segments().collect();
        let mut search = Search {
            routes: &self.routes,
            head,
            method,
            allowed: Vec::new(),
        };
        for tree in self.hosts.trees(head.host) {
            let found = search.in_tree(tree, &segments);
            if let Some(route) = found.and_then(|index| self.routes.get(index)) {
                return Ok(RouteMatch {
                    value: &route.value,
                    matched_prefix_len: route.path.literal_len(head.path),
                    path: &route.path,
                });
            }
        }
        Err(search.into_no_route())
    }

    /// What stands behind the routes, in the order written.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.routes.iter().map(|route| &route.value)
    }
}

/// One search; remembers which methods would have matched.
struct Search<'a, T> {
    routes: &'a [Route<T>],
    head: &'a RequestHead<'a>,
    method: &'a Method,
    allowed: Vec<Method>,
}

impl<T> Search<'_, T> {
    fn in_tree(&mut self, tree: &PathTree, segments: &[&str]) -> Option<usize> {
        let path = self.head.path;
        let found = tree.walk(segments, &mut |ends| self.best_of(ends.iter().copied()));
        found.or_else(|| {
            let routes = self.routes;
            let matching = tree.regexes().iter().copied();
            self.best_of(matching.filter(|index| {
                routes
                    .get(*index)
                    .is_some_and(|route| route.path.is_regex_match(path))
            }))
        })
    }

    /// The best of routes whose host and path match equally well.
    fn best_of(&mut self, indexes: impl Iterator<Item = usize>) -> Option<usize> {
        let mut best: Option<(usize, (MethodRank, usize, usize))> = None;
        for index in indexes {
            let Some(route) = self.routes.get(index) else {
                continue;
            };
            if !route.conditions.accept(self.head) {
                continue;
            }
            let Some(rank) = route.conditions.method_rank(self.method) else {
                self.allowed.extend_from_slice(route.conditions.methods());
                continue;
            };
            let (fields, query) = route.conditions.counts();
            // Strictly better only: among equals the one written first stays.
            if best.is_none_or(|(_, rank_so_far)| (rank, fields, query) > rank_so_far) {
                best = Some((index, (rank, fields, query)));
            }
        }
        best.map(|(index, _)| index)
    }

    fn into_no_route(mut self) -> NoRoute {
        if self.allowed.is_empty() {
            return NoRoute::NotFound;
        }
        if self.allowed.contains(&Method::GET) {
            self.allowed.push(Method::HEAD);
        }
        self.allowed
            .sort_by(|one, other| one.as_str().cmp(other.as_str()));
        self.allowed.dedup();
        NoRoute::MethodNotAllowed(self.allowed)
    }
}

/// 404, or 405 with `Allow` (RFC 9110 section 15.5.6).
impl From<NoRoute> for Rejection {
    fn from(no_route: NoRoute) -> Self {
        match no_route {
            NoRoute::NotFound => Self::new(Reason::RouteNotFound),
            NoRoute::MethodNotAllowed(methods) => {
                let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
                let rejection = Self::new(Reason::MethodNotAllowed);
                match HeaderValue::from_str(&names.join(", ")) {
                    Ok(allow) => rejection.with_header(ALLOW, allow),
                    Err(_) => rejection,
                }
            }
        }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
