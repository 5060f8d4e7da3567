//! Which route a request is.

use http::Method;
use portcullis_model::{Problems, Reason, Rejection, RequestHead};
use smallvec::SmallVec;
use std::sync::Arc;

use crate::plan::MatchPlan;

/// The compiled matcher: host, path, method, fields and query to `T`.
#[derive(Debug)]
pub struct RouteTable<T> {
    values: Vec<T>,
}

/// The parameters of a match: names with their decoded values.
pub type Params = SmallVec<[(Arc<str>, String); 4]>;

/// The route of a request.
#[derive(Clone, Debug)]
pub struct RouteMatch<'t, T> {
    /// What stands behind the route.
    pub value: &'t T,
    /// Its path parameters, in order.
    pub params: Params,
    /// How many bytes of the path its leading literal segments matched: what a prefix rewrite replaces.
    pub matched_prefix_len: usize,
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
    /// Compiles.
    ///
    /// # Errors
    /// Problems.
    pub fn build(entries: Vec<(&MatchPlan, T)>) -> Result<Self, Problems> {
        Ok(Self {
            values: entries.into_iter().map(|(_, value)| value).collect(),
        })
    }

    /// Finds.
    ///
    /// # Errors
    /// No route.
    pub fn find(&self, head: &RequestHead<'_>) -> Result<RouteMatch<'_, T>, NoRoute> {
        self.find_for_method(head, head.method)
    }

    /// Finds for a method.
    ///
    /// # Errors
    /// No route.
    pub fn find_for_method(
        &self,
        _head: &RequestHead<'_>,
        _method: &Method,
    ) -> Result<RouteMatch<'_, T>, NoRoute> {
        self.values
            .first()
            .map(|value| RouteMatch {
                value,
                params: Params::new(),
                matched_prefix_len: 0,
            })
            .ok_or(NoRoute::NotFound)
    }
}

impl From<NoRoute> for Rejection {
    fn from(no_route: NoRoute) -> Self {
        match no_route {
            NoRoute::NotFound => Self::new(Reason::RouteNotFound),
            NoRoute::MethodNotAllowed(_) => Self::new(Reason::MethodNotAllowed),
        }
    }
}
