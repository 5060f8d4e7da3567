//! From the matches of routes to the table, with everything that is wrong with them.

use std::collections::HashMap;

use http::Method;
use portcullis_model::{Origin, Problem, Problems};

use super::condition::{Conditions, ValueMatcher};
use super::host::Hosts;
use super::path::PathMatcher;
use super::{Route, RouteTable};
use crate::plan::{HostPattern, MatchPlan, PathPattern, SegmentPattern, ValuePattern};

/// A compiled expression may take this much memory; one that needs more is a mistake, and many of them a fault.
const LARGEST_REGEX: usize = 1 << 20;
/// Segments of a pattern; the tree is walked by recursion to this depth.
const MOST_SEGMENTS: usize = 64;

pub(super) fn build<T>(entries: Vec<(&MatchPlan, T)>) -> Result<RouteTable<T>, Problems> {
    let mut problems = Problems::new();
    let mut seen: HashMap<String, &Origin> = HashMap::new();
    let mut hosts = Hosts::default();
    let mut routes = Vec::with_capacity(entries.len());
    for (plan, value) in entries {
        let path = problems.collect(compile_path(plan));
        let conditions = problems.collect(compile_conditions(plan));
        let patterns = distinct_hosts(plan, &mut problems);
        for pattern in &patterns {
            if let Some(first) = seen.insert(key_of(plan, *pattern), &plan.origin) {
                problems.push(duplicate(plan, first, *pattern));
            }
        }
        let (Some(path), Some(conditions)) = (path, conditions) else {
            continue;
        };
        for pattern in patterns {
            let tree = hosts.tree_mut(pattern);
            match &plan.path {
                PathPattern::Segments { segments, prefix } => tree.insert(segments, *prefix, routes.len()),
                PathPattern::Regex(_) => tree.insert_regex(routes.len()),
            }
        }
        routes.push(Route {
            value,
            path,
            conditions,
        });
    }
    problems
        .into_result(RouteTable { routes, hosts })
        .map(|(table, _)| table)
}

/// The hosts, each once; `None` stands for any.
fn distinct_hosts<'p>(plan: &'p MatchPlan, problems: &mut Problems) -> Vec<Option<&'p HostPattern>> {
    if plan.hosts.is_empty() {
        return vec![None];
    }
    let mut distinct = Vec::with_capacity(plan.hosts.len());
    for pattern in &plan.hosts {
        let (HostPattern::Exact(host) | HostPattern::Wildcard(host)) = pattern;
        let is_canonical = !host.is_empty()
            && !host.starts_with('.')
            && !host.ends_with('.')
            && !host.contains(['*', '/'])
            && !host.chars().any(char::is_uppercase);
        if !is_canonical {
            problems.push(Problem::error(
                "invalid-host",
                &plan.origin,
                format!("\"{host}\" is not a host in canonical form"),
            ));
        }
        if !distinct.contains(&Some(pattern)) {
            distinct.push(Some(pattern));
        }
    }
    distinct
}

fn compile_path(plan: &MatchPlan) -> Result<PathMatcher, Problems> {
    match &plan.path {
        PathPattern::Regex(text) => {
            let build = |pattern: &str| {
                regex::RegexBuilder::new(pattern)
                    .size_limit(LARGEST_REGEX)
                    .build()
            };
            let regex = anchored(text, build).map_err(|error| invalid_regex(plan, "path", text, &error))?;
            Ok(PathMatcher::of_regex(regex))
        }
        PathPattern::Segments { segments, prefix } => {
            check_segments(plan, segments, *prefix)?;
            Ok(PathMatcher::of_segments(segments))
        }
    }
}

fn check_segments(plan: &MatchPlan, segments: &[SegmentPattern], is_prefix: bool) -> Result<(), Problems> {
    if segments.len() > MOST_SEGMENTS {
        let message = format!(
            "the path pattern has {} segments, at most {MOST_SEGMENTS} are allowed",
            segments.len()
        );
        return Err(Problem::error("invalid-path", &plan.origin, message).into());
    }
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.iter().enumerate() {
        // An empty segment is a trailing slash, which no other pattern part may follow.
        let is_possible = match segment {
            SegmentPattern::Any(_) => true,
            SegmentPattern::Literal(text) if text.is_empty() => index == last && index > 0 && !is_prefix,
            SegmentPattern::Literal(text) => !text.contains('/'),
        };
        if !is_possible {
            let message = "the path pattern has a segment that no canonical path can have";
            return Err(Problem::error("invalid-path", &plan.origin, message).into());
        }
    }
    Ok(())
}

fn compile_conditions(plan: &MatchPlan) -> Result<Conditions, Problems> {
    let mut problems = Problems::new();
    let mut fields = Vec::with_capacity(plan.headers.len());
    for (name, pattern) in &plan.headers {
        let matcher = problems.collect(compile_value(plan, name.as_str(), pattern));
        fields.extend(matcher.map(|matcher| (name.clone(), matcher)));
    }
    let mut query = Vec::with_capacity(plan.query.len());
    for (name, pattern) in &plan.query {
        let matcher = problems.collect(compile_value(plan, name, pattern));
        query.extend(matcher.map(|matcher| (name.clone(), matcher)));
    }
    problems
        .into_result(Conditions {
            methods: plan.methods.clone(),
            fields,
            query,
        })
        .map(|(conditions, _)| conditions)
}

fn compile_value(plan: &MatchPlan, name: &str, pattern: &ValuePattern) -> Result<ValueMatcher, Problems> {
    match pattern {
        ValuePattern::Exact(text) => Ok(ValueMatcher::Exact(text.clone())),
        ValuePattern::Present => Ok(ValueMatcher::Present),
        ValuePattern::Regex(text) => {
            let build = |pattern: &str| {
                regex::bytes::RegexBuilder::new(pattern)
                    .size_limit(LARGEST_REGEX)
                    .build()
            };
            let regex = anchored(text, build).map_err(|error| invalid_regex(plan, name, text, &error))?;
            Ok(ValueMatcher::Regex(regex))
        }
    }
}

/// The expression over the whole text. It must stand on its own first: `a)|(b` would otherwise break out of the
/// group that the anchors hold.
fn anchored<R>(text: &str, build: impl Fn(&str) -> Result<R, regex::Error>) -> Result<R, regex::Error> {
    build(text)?;
    build(&format!(r"\A(?:{text})\z"))
}

fn invalid_regex(plan: &MatchPlan, name: &str, text: &str, error: &regex::Error) -> Problems {
    let error = error.to_string();
    // The crate draws the expression with a caret over several lines; the last says what is wrong.
    let what = error
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    let message = format!("the regular expression \"{text}\" of {name} is not valid: {what}");
    Problem::error("invalid-regex", &plan.origin, message).into()
}

fn duplicate(plan: &MatchPlan, first: &Origin, pattern: Option<&HostPattern>) -> Problem {
    let host = match pattern {
        Some(HostPattern::Exact(host)) => format!(" on host \"{host}\""),
        Some(HostPattern::Wildcard(suffix)) => format!(" on host \"*.{suffix}\""),
        None => String::new(),
    };
    let message = format!(
        "{} matches exactly the same requests as {first}{host}",
        plan.origin
    );
    Problem::error("duplicate-route", &plan.origin, message)
        .with_hint("remove one of them, or tell them apart by method, header or query")
}

/// Equal for matches that take exactly the same requests on a host.
fn key_of(plan: &MatchPlan, host: Option<&HostPattern>) -> String {
    let path = match &plan.path {
        PathPattern::Regex(text) => format!("~{text}"),
        PathPattern::Segments { segments, prefix } => {
            let mut path = String::new();
            for segment in segments {
                path.push('/');
                match segment {
                    SegmentPattern::Literal(text) => path.push_str(text),
                    // No canonical segment has braces.
                    SegmentPattern::Any(_) => path.push_str("{}"),
                }
            }
            path + if *prefix { "/**" } else { "" }
        }
    };
    let mut methods: Vec<&str> = plan.methods.iter().map(Method::as_str).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.sort_unstable();
    methods.dedup();
    let mut fields: Vec<String> = plan
        .headers
        .iter()
        .map(|condition| format!("{condition:?}"))
        .collect();
    fields.sort_unstable();
    fields.dedup();
    let mut query: Vec<String> = plan
        .query
        .iter()
        .map(|condition| format!("{condition:?}"))
        .collect();
    query.sort_unstable();
    query.dedup();
    format!("{host:?} {path} {methods:?} {fields:?} {query:?}")
}
