use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName};
use portcullis_model::{Origin, Query, UrlScheme};

use super::*;
use crate::plan::{HostPattern, PathPattern, SegmentPattern, ValuePattern};

fn host(text: &str) -> HostPattern {
    text.strip_prefix("*.").map_or_else(
        || HostPattern::Exact(text.to_owned()),
        |suffix| HostPattern::Wildcard(suffix.to_owned()),
    )
}

fn path(text: &str) -> PathPattern {
    if let Some(regex) = text.strip_prefix('~') {
        return PathPattern::Regex(regex.to_owned());
    }
    let (text, prefix) = text
        .strip_suffix("/**")
        .map_or((text, false), |rest| (rest, true));
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => SegmentPattern::Any(Some(Arc::from(name))),
        None if segment == "*" => SegmentPattern::Any(None),
        None => SegmentPattern::Literal(segment.to_owned()),
    };
    PathPattern::Segments {
        segments: portcullis_model::path::segments(text).map(segment).collect(),
        prefix,
    }
}

fn plan(name: &str, path_text: &str) -> MatchPlan {
    MatchPlan {
        origin: Origin::of(name),
        hosts: Vec::new(),
        path: path(path_text),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
    }
}

fn table(plans: &[MatchPlan]) -> RouteTable<String> {
    RouteTable::build(
        plans
            .iter()
            .map(|plan| (plan, plan.origin.path.to_string()))
            .collect(),
    )
    .unwrap()
}

fn problems(plans: &[MatchPlan]) -> Vec<String> {
    let built = RouteTable::build(plans.iter().map(|plan| (plan, ())).collect());
    built.unwrap_err().iter().map(ToString::to_string).collect()
}

struct Asked {
    method: Method,
    host: &'static str,
    path: &'static str,
    query: Query,
    headers: HeaderMap,
}

fn ask(method: Method, path: &'static str) -> Asked {
    Asked {
        method,
        host: "api.example.com",
        path,
        query: Query::default(),
        headers: HeaderMap::new(),
    }
}

fn get(path: &'static str) -> Asked {
    ask(Method::GET, path)
}

impl Asked {
    fn on(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    fn field(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).unwrap(),
        );
        self
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        self.query.pairs.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            scheme: UrlScheme::Https,
            host: self.host,
            path: self.path,
            query: &self.query,
            headers: &self.headers,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    fn found(&self, table: &RouteTable<String>) -> String {
        table
            .find(&self.head())
            .map_or_else(|no_route| format!("{no_route:?}"), |found| found.value.clone())
    }
}

#[test]
fn the_more_specific_host_wins() {
    let mut plans = ["any", "short", "long", "exact"].map(|name| plan(name, "/**"));
    plans[1].hosts = vec![host("*.com")];
    plans[2].hosts = vec![host("*.example.com")];
    plans[3].hosts = vec![host("api.example.com")];
    let table = table(&plans);

    assert_eq!(get("/").found(&table), "exact");
    assert_eq!(get("/").on("x.y.example.com").found(&table), "long");
    assert_eq!(get("/").on("other.com").found(&table), "short");
    assert_eq!(get("/").on("example.org").found(&table), "any");
}

#[test]
fn a_wildcard_needs_a_label_before_it() {
    let mut only = plan("wild", "/**");
    only.hosts = vec![host("*.example.com")];

    assert_eq!(
        get("/").on("example.com").found(&table(&[only.clone()])),
        "NotFound"
    );
    assert_eq!(
        get("/").on("notexample.com").found(&table(&[only.clone()])),
        "NotFound"
    );
    assert_eq!(get("/").on("a.example.com").found(&table(&[only])), "wild");
}

#[test]
fn a_more_specific_host_without_the_path_does_not_hide_a_less_specific_one() {
    let mut plans = [plan("exact", "/a"), plan("any", "/b")];
    plans[0].hosts = vec![host("api.example.com")];

    assert_eq!(get("/b").found(&table(&plans)), "any");
}

#[test]
fn the_more_specific_path_wins_segment_by_segment() {
    let table = table(&[
        plan("regex", "~/a/.*"),
        plan("root", "/**"),
        plan("a", "/a/**"),
        plan("template", "/a/{id}"),
        plan("exact", "/a/b"),
        plan("deep", "/a/b/**"),
        plan("late", "/a/{id}/c"),
        plan("tail", "/a/{id}/**"),
    ]);

    assert_eq!(get("/a/b").found(&table), "exact");
    assert_eq!(get("/a/x").found(&table), "template");
    assert_eq!(get("/a/b/c").found(&table), "deep");
    assert_eq!(get("/a/x/c").found(&table), "late");
    assert_eq!(get("/a/x/d").found(&table), "tail");
    assert_eq!(get("/a").found(&table), "a");
    assert_eq!(get("/ab").found(&table), "root");
    assert_eq!(get("/").found(&table), "root");
}

#[test]
fn a_prefix_matches_on_segment_boundaries_and_itself() {
    let table = table(&[plan("a", "/a/**")]);

    assert_eq!(
        ["/a", "/a/", "/a/b", "/a/b/c"].map(|path| get(path).found(&table)),
        ["a"; 4]
    );
    assert_eq!(
        ["/ab", "/", "/b/a"].map(|path| get(path).found(&table)),
        ["NotFound"; 3]
    );
}

#[test]
fn a_parameter_is_one_non_empty_segment() {
    let table = table(&[plan("a", "/a/{id}")]);

    assert_eq!(get("/a/1").found(&table), "a");
    assert_eq!(
        ["/a", "/a/", "/a/1/2"].map(|path| get(path).found(&table)),
        ["NotFound"; 3]
    );
}

#[test]
fn a_trailing_slash_is_another_path() {
    let table = table(&[plan("bare", "/a"), plan("slash", "/a/")]);

    assert_eq!(get("/a").found(&table), "bare");
    assert_eq!(get("/a/").found(&table), "slash");
}

#[test]
fn a_regex_is_anchored_and_comes_last() {
    let plans = [plan("regex", "~/v[0-9]+/x"), plan("prefix", "/v1/**")];

    assert_eq!(get("/v1/x").found(&table(&plans)), "prefix");
    assert_eq!(get("/v2/x").found(&table(&plans)), "regex");
    assert_eq!(get("/v2/xy").found(&table(&plans)), "NotFound");
    assert_eq!(get("/w/v2/x").found(&table(&plans)), "NotFound");
}

#[test]
fn parameters_are_decoded_and_the_literal_prefix_is_measured() {
    let built = table(&[
        plan("t", "/api/v1/{who}/of/{what}/**"),
        plan("r", "~/files/(?<name>[^/]+)"),
    ]);
    let asked = get("/api/v1/J%C3%BCrgen/of/x%20y/z");
    let found = built.find(&asked.head()).unwrap();

    let params = found.params(asked.path);
    let params: Vec<_> = params
        .iter()
        .map(|(name, value)| (&**name, value.as_str()))
        .collect();
    assert_eq!(params, [("who", "Jürgen"), ("what", "x y")]);
    assert_eq!(found.matched_prefix_len, "/api/v1".len());

    let asked = get("/files/a%20b");
    let found = built.find(&asked.head()).unwrap();
    assert_eq!(
        found
            .params(asked.path)
            .first()
            .map(|(name, value)| (&**name, value.as_str())),
        Some(("name", "a b"))
    );
    assert_eq!(found.matched_prefix_len, 0);
}

#[test]
fn the_literal_prefix_of_the_root_is_empty_and_of_an_exact_path_all_of_it() {
    let built = table(&[plan("root", "/**"), plan("exact", "/a/b")]);

    assert_eq!(built.find(&get("/x/y").head()).unwrap().matched_prefix_len, 0);
    assert_eq!(built.find(&get("/a/b").head()).unwrap().matched_prefix_len, 4);
}

#[test]
fn the_route_that_names_the_method_wins() {
    let mut plans = [plan("any", "/a"), plan("post", "/a")];
    plans[1].methods = vec![Method::POST];

    assert_eq!(ask(Method::POST, "/a").found(&table(&plans)), "post");
    assert_eq!(get("/a").found(&table(&plans)), "any");
}

#[test]
fn head_is_allowed_where_get_is_and_a_route_that_names_it_wins() {
    let mut plans = [plan("get", "/a"), plan("head", "/a"), plan("only-get", "/b")];
    plans[0].methods = vec![Method::GET];
    plans[1].methods = vec![Method::HEAD];
    plans[2].methods = vec![Method::GET];

    assert_eq!(ask(Method::HEAD, "/a").found(&table(&plans)), "head");
    assert_eq!(ask(Method::HEAD, "/b").found(&table(&plans)), "only-get");
}

#[test]
fn a_wrong_method_alone_is_told_with_the_allowed_ones() {
    let mut plans = [plan("get", "/a"), plan("prefix", "/**"), plan("beta", "/a")];
    plans[0].methods = vec![Method::GET];
    plans[1].methods = vec![Method::PUT];
    plans[2].methods = vec![Method::DELETE];
    plans[2].headers = vec![(HeaderName::from_static("x-beta"), ValuePattern::Present)];
    let built = table(&plans);

    let refused = built.find(&ask(Method::POST, "/a").head()).unwrap_err();
    assert_eq!(
        refused,
        NoRoute::MethodNotAllowed(vec![Method::GET, Method::HEAD, Method::PUT])
    );
    let rejection = Rejection::from(refused);
    assert_eq!(rejection.reason, Reason::MethodNotAllowed);
    assert_eq!(
        rejection.detail.unwrap().headers,
        [(ALLOW, HeaderValue::from_static("GET, HEAD, PUT"))]
    );
    assert_eq!(
        built.find(&ask(Method::PUT, "/a").head()).unwrap().value,
        "prefix"
    );
}

#[test]
fn another_method_can_be_asked_about() {
    let mut plans = [plan("put", "/a")];
    plans[0].methods = vec![Method::PUT];
    let built = table(&plans);
    let preflight = ask(Method::OPTIONS, "/a");

    assert_eq!(
        built
            .find_for_method(&preflight.head(), &Method::PUT)
            .unwrap()
            .value,
        "put"
    );
    assert!(built.find(&preflight.head()).is_err());
}

#[test]
fn more_fields_win_and_then_more_query_parameters() {
    let mut plans = [
        plan("bare", "/a"),
        plan("query", "/a"),
        plan("field", "/a"),
        plan("both", "/a"),
    ];
    let beta = (
        HeaderName::from_static("x-beta"),
        ValuePattern::Exact("1".to_owned()),
    );
    let page = ("page".to_owned(), ValuePattern::Regex("[0-9]+".to_owned()));
    plans[1].query = vec![page.clone()];
    plans[2].headers = vec![beta.clone()];
    plans[3] = MatchPlan {
        headers: vec![beta],
        query: vec![page],
        ..plans[3].clone()
    };
    let built = table(&plans);

    assert_eq!(get("/a").found(&built), "bare");
    assert_eq!(get("/a").query("page", "12").found(&built), "query");
    assert_eq!(get("/a").query("page", "12x").found(&built), "bare");
    assert_eq!(get("/a").field("x-beta", b"1").found(&built), "field");
    assert_eq!(
        get("/a").field("x-beta", b"1").query("page", "2").found(&built),
        "both"
    );
}

#[test]
fn every_value_of_a_repeated_name_must_match() {
    let mut plans = [plan("one", "/a"), plan("text", "/b")];
    plans[0].headers = vec![(
        HeaderName::from_static("x-beta"),
        ValuePattern::Exact("1".to_owned()),
    )];
    plans[1].headers = vec![(
        HeaderName::from_static("x-beta"),
        ValuePattern::Regex(".*".to_owned()),
    )];
    let built = table(&plans);

    assert_eq!(
        get("/a")
            .field("x-beta", b"1")
            .field("x-beta", b"1")
            .found(&built),
        "one"
    );
    assert_eq!(
        get("/a")
            .field("x-beta", b"1")
            .field("x-beta", b"2")
            .found(&built),
        "NotFound"
    );
    assert_eq!(get("/b").field("x-beta", b"x").found(&built), "text");
    assert_eq!(
        get("/b")
            .field("x-beta", b"x")
            .field("x-beta", b"\xff")
            .found(&built),
        "NotFound"
    );
}

#[test]
fn equally_specific_routes_go_by_order() {
    let mut plans = [plan("first", "~/a/.*"), plan("second", "~/.*/b")];
    assert_eq!(get("/a/b").found(&table(&plans)), "first");

    plans.reverse();
    assert_eq!(get("/a/b").found(&table(&plans)), "second");
}

#[test]
fn two_routes_that_match_the_same_requests_are_a_problem_that_names_both() {
    let mut plans = [
        plan("routes[0].match", "/a/{id}"),
        plan("routes[1].match", "/a/{name}"),
    ];
    plans[0].methods = vec![Method::GET];
    plans[1].methods = vec![Method::HEAD, Method::GET];

    let found = problems(&plans);

    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("routes[0].match") && found[0].contains("routes[1].match"),
        "{found:?}"
    );
}

#[test]
fn a_shared_host_is_enough_for_a_duplicate_and_a_different_condition_for_none() {
    let mut plans = [plan("a", "/a"), plan("b", "/a")];
    plans[0].hosts = vec![host("x.test"), host("y.test"), host("x.test")];
    plans[1].hosts = vec![host("y.test")];
    assert!(problems(&plans)[0].contains("y.test"));

    plans[1].query = vec![("q".to_owned(), ValuePattern::Present)];
    table(&plans);
}

#[test]
fn an_invalid_regex_is_a_problem_and_so_is_one_that_leaves_its_anchors() {
    let mut field = plan("field", "/a");
    field.headers = vec![(
        HeaderName::from_static("x-a"),
        ValuePattern::Regex("(".to_owned()),
    )];

    let found = problems(&[plan("open", "~/a("), plan("escape", "~/a)|(?:/b"), field]);

    assert_eq!(found.len(), 3);
    assert!(
        found.iter().all(|problem| problem.contains("regular expression")),
        "{found:?}"
    );
}

#[test]
fn impossible_hosts_and_segments_are_problems() {
    let mut upper = plan("upper", "/a");
    upper.hosts = vec![HostPattern::Exact("API.example.com".to_owned())];
    let mut inner = plan("inner", "/b");
    inner.path = PathPattern::Segments {
        segments: vec![
            SegmentPattern::Literal(String::new()),
            SegmentPattern::Literal("x".to_owned()),
        ],
        prefix: false,
    };

    assert_eq!(problems(&[upper, inner]).len(), 2);
}
