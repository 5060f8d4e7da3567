//! Hosts to the paths that are served on them.

use std::collections::HashMap;

use super::path::PathTree;
use crate::plan::HostPattern;

/// The paths of every host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<String, PathTree>,
    /// By what follows `*.`.
    wildcard: HashMap<String, PathTree>,
    any: PathTree,
}

impl Hosts {
    /// The paths of a pattern; `None` is any host.
    pub(super) fn tree_mut(&mut self, pattern: Option<&HostPattern>) -> &mut PathTree {
        match pattern {
            Some(HostPattern::Exact(host)) => self.exact.entry(host.clone()).or_default(),
            Some(HostPattern::Wildcard(suffix)) => self.wildcard.entry(suffix.clone()).or_default(),
            None => &mut self.any,
        }
    }

    /// The paths that a host may have, most specific first: the exact host, each longer wildcard before the shorter
    /// ones, any host.
    pub(super) fn trees<'t>(&'t self, host: &'t str) -> impl Iterator<Item = &'t PathTree> {
        let suffixes = host
            .match_indices('.')
            .filter_map(move |(dot, _)| host.get(dot + 1..));
        let wildcards = suffixes.filter_map(|suffix| self.wildcard.get(suffix));
        self.exact
            .get(host)
            .into_iter()
            .chain(wildcards)
            .chain(std::iter::once(&self.any))
    }
}
