//! The table against the rules, written down naively: filter all routes, then compare the survivors in pairs.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName};
use portcullis_model::{Origin, Query, UrlScheme};
use proptest::prelude::*;

use super::*;
use crate::plan::{HostPattern, PathPattern, SegmentPattern, ValuePattern};

fn host_score(plan: &MatchPlan, host: &str) -> Option<(u8, usize)> {
    if plan.hosts.is_empty() {
        return Some((0, 0));
    }
    let scores = plan.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(exact) => (exact == host).then_some((2, exact.len())),
        HostPattern::Wildcard(suffix) => host.ends_with(&format!(".{suffix}")).then_some((1, suffix.len())),
    });
    scores.max()
}

/// Larger is more specific: per position literal 3, end of the path 2, parameter 1, `**` 0; exact paths above all.
fn path_score(plan: &MatchPlan, path: &str) -> Option<(u8, Vec<u8>)> {
    let asked: Vec<&str> = portcullis_model::path::segments(path).collect();
    match &plan.path {
        PathPattern::Regex(text) => regex::Regex::new(&format!("^(?:{text})$"))
            .unwrap()
            .is_match(path)
            .then_some((0, Vec::new())),
        PathPattern::Segments { segments, prefix } => {
            let fits = if *prefix {
                asked.len() >= segments.len()
            } else {
                asked.len() == segments.len()
            };
            let matches = segments
                .iter()
                .zip(&asked)
                .all(|(pattern, segment)| match pattern {
                    SegmentPattern::Literal(text) => text == segment,
                    SegmentPattern::Any(_) => !segment.is_empty(),
                });
            if !fits || !matches {
                return None;
            }
            let is_literal = |pattern: &SegmentPattern| matches!(pattern, SegmentPattern::Literal(_));
            let is_exact = !prefix && segments.iter().all(is_literal);
            let mut score: Vec<u8> = segments
                .iter()
                .map(|pattern| if is_literal(pattern) { 3 } else { 1 })
                .collect();
            score.push(if *prefix { 0 } else { 2 });
            Some((if is_exact { 2 } else { 1 }, score))
        }
    }
}

fn method_score(plan: &MatchPlan, method: &Method) -> Option<u8> {
    if plan.methods.is_empty() {
        Some(0)
    } else if plan.methods.contains(method) {
        Some(2)
    } else {
        (method == Method::HEAD && plan.methods.contains(&Method::GET)).then_some(1)
    }
}

fn conditions_hold(plan: &MatchPlan, head: &RequestHead<'_>) -> bool {
    let fields = plan.headers.iter().all(|(name, pattern)| {
        let values: Vec<_> = head.headers.get_all(name).iter().collect();
        !values.is_empty()
            && values
                .iter()
                .all(|value| value_matches(pattern, value.to_str().unwrap()))
    });
    fields
        && plan.query.iter().all(|(name, pattern)| {
            let values: Vec<_> = head.query.values(name).collect();
            !values.is_empty() && values.iter().all(|value| value_matches(pattern, value))
        })
}

fn value_matches(pattern: &ValuePattern, value: &str) -> bool {
    match pattern {
        ValuePattern::Exact(text) => text == value,
        ValuePattern::Present => true,
        ValuePattern::Regex(text) => regex::Regex::new(&format!("^(?:{text})$"))
            .unwrap()
            .is_match(value),
    }
}

fn naive(plans: &[MatchPlan], head: &RequestHead<'_>) -> Result<usize, NoRoute> {
    let matching = || {
        plans.iter().enumerate().filter(|(_, plan)| {
            host_score(plan, head.host).is_some()
                && path_score(plan, head.path).is_some()
                && conditions_hold(plan, head)
        })
    };
    let score = |plan: &MatchPlan| {
        (
            host_score(plan, head.host),
            path_score(plan, head.path),
            method_score(plan, head.method),
            plan.headers.len(),
            plan.query.len(),
        )
    };
    let best = matching()
        .filter(|(_, plan)| method_score(plan, head.method).is_some())
        .max_by(|one, other| {
            score(one.1)
                .cmp(&score(other.1))
                .then(one.0.cmp(&other.0).reverse())
        });
    if let Some((index, _)) = best {
        return Ok(index);
    }
    let mut allowed: Vec<Method> = matching().flat_map(|(_, plan)| plan.methods.clone()).collect();
    if allowed.contains(&Method::GET) {
        allowed.push(Method::HEAD);
    }
    allowed.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    allowed.dedup();
    Err(if allowed.is_empty() {
        NoRoute::NotFound
    } else {
        NoRoute::MethodNotAllowed(allowed)
    })
}

fn any_host() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        prop::sample::select(vec!["t", "a.t", "b.t", "x.a.t"])
            .prop_map(|host| HostPattern::Exact(host.to_owned())),
        prop::sample::select(vec!["t", "a.t"]).prop_map(|host| HostPattern::Wildcard(host.to_owned())),
    ]
}

fn any_path() -> impl Strategy<Value = PathPattern> {
    let segment = prop_oneof![
        3 => prop::sample::select(vec!["a", "b", "c"]).prop_map(|text| SegmentPattern::Literal(text.to_owned())),
        2 => prop::option::of(Just(Arc::from("id"))).prop_map(SegmentPattern::Any),
    ];
    let segments = (prop::collection::vec(segment, 0..4), any::<bool>())
        .prop_map(|(segments, prefix)| PathPattern::Segments { segments, prefix });
    let regex = prop::sample::select(vec!["/a.*", ".*/b", "/[ab]/.*", "/"]);
    prop_oneof![6 => segments, 1 => regex.prop_map(|text| PathPattern::Regex(text.to_owned()))]
}

fn any_value() -> impl Strategy<Value = ValuePattern> {
    prop_oneof![
        Just(ValuePattern::Present),
        Just(ValuePattern::Exact("1".to_owned())),
        Just(ValuePattern::Regex("[12]".to_owned())),
    ]
}

fn any_method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT])
}

fn any_plan() -> impl Strategy<Value = MatchPlan> {
    let name = prop::sample::select(vec!["x-a", "x-b"]);
    (
        prop::collection::vec(any_host(), 0..3),
        any_path(),
        prop::collection::vec(any_method(), 0..3),
        prop::collection::vec(
            (name.clone().prop_map(HeaderName::from_static), any_value()),
            0..3,
        ),
        prop::collection::vec((name.prop_map(ToOwned::to_owned), any_value()), 0..2),
    )
        .prop_map(|(hosts, path, methods, headers, query)| MatchPlan {
            origin: Origin::default(),
            hosts,
            path,
            methods,
            headers,
            query,
        })
}

/// Method, host, path, fields, query.
type AskedFor = (
    Method,
    String,
    String,
    Vec<(&'static str, &'static str)>,
    Vec<(String, String)>,
);

fn any_request() -> impl Strategy<Value = AskedFor> {
    let pair = || {
        (
            prop::sample::select(vec!["x-a", "x-b"]),
            prop::sample::select(vec!["1", "2", "3"]),
        )
    };
    (
        any_method(),
        prop::sample::select(vec!["t", "a.t", "b.t", "x.a.t", "y.x.a.t", "u"]).prop_map(ToOwned::to_owned),
        (
            prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 0..5),
            any::<bool>(),
        )
            .prop_map(|(segments, slash)| {
                let slash = if slash && !segments.is_empty() { "/" } else { "" };
                format!("/{}{slash}", segments.join("/"))
            }),
        prop::collection::vec(pair(), 0..3),
        prop::collection::vec(
            pair().prop_map(|(name, value)| (name.to_owned(), value.to_owned())),
            0..3,
        ),
    )
}

/// The plans without those that the table refuses as duplicates of earlier ones.
fn without_duplicates(plans: Vec<MatchPlan>) -> Vec<MatchPlan> {
    let mut kept: Vec<MatchPlan> = Vec::new();
    for plan in plans {
        kept.push(plan);
        if RouteTable::build(kept.iter().map(|plan| (plan, ())).collect()).is_err() {
            kept.pop();
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_table_agrees_with_the_rules(
        plans in prop::collection::vec(any_plan(), 1..10),
        requests in prop::collection::vec(any_request(), 1..12),
    ) {
        let plans = without_duplicates(plans);
        let table = RouteTable::build(plans.iter().enumerate().map(|(index, plan)| (plan, index)).collect()).unwrap();

        for (method, host, path, fields, pairs) in requests {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let query = Query { text: String::new(), pairs };
            let head = RequestHead {
                method: &method,
                scheme: UrlScheme::Https,
                host: &host,
                path: &path,
                query: &query,
                headers: &headers,
                client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            };

            prop_assert_eq!(table.find(&head).map(|found| *found.value), naive(&plans, &head));
        }
    }

    #[test]
    fn a_duplicate_is_refused_whatever_the_order(plan in any_plan(), other in any_plan()) {
        let twice = [&plan, &other, &plan].map(|plan| (plan, ())).to_vec();

        prop_assert!(RouteTable::build(twice).is_err());
    }
}

#[test]
fn the_oracle_itself_puts_the_longer_prefix_first() {
    let plan = |count: usize| MatchPlan {
        origin: Origin::default(),
        hosts: Vec::new(),
        path: PathPattern::Segments {
            segments: vec![SegmentPattern::Literal("a".to_owned()); count],
            prefix: true,
        },
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
    };

    assert_eq!(
        path_score(&plan(2), "/a/a/a").cmp(&path_score(&plan(1), "/a/a/a")),
        Ordering::Greater
    );
}
