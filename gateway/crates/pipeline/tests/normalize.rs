//! One reading of a request: what guards see is what leaves, whatever the client wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise, and has no outside"
)]

mod support;

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderValue, Method, Version};
use portcullis_model::{ListenerId, Reason};
use portcullis_pipeline::plan::{PathOddities, PathOddity};
use portcullis_pipeline::stages::normalize::{canonical_query, read_path};
use portcullis_pipeline::{Admission, ConnectionFacts, Exchange, RawHead, TlsFacts, UpstreamHead};
use portcullis_routing::plan::HostPattern;
use proptest::prelude::*;
use support::{Hall, ask_policy, plan, policy, route};

/// A policy that tells the endpoint what it saw.
const ECHO: &str = r#"package test
import rego.v1
decision := {"allow": true, "request_headers": {
    "x-seen-path": input.request.path,
    "x-seen-query": base64.encode(json.marshal(input.request.query)),
}}
"#;

fn hall(allow: PathOddities) -> Hall {
    let mut every = route("every", "/");
    every.path_allow = allow;
    every.authorize = vec![ask_policy("echo", None)];
    let mut plan = plan(vec![every]);
    plan.admission.policies.push(policy("echo", ECHO, false));
    Hall::new(plan)
}

/// A hall for each set of opt-ins.
static HALLS: LazyLock<Vec<(PathOddities, Hall)>> = LazyLock::new(|| {
    (0..1 << PathOddity::ALL.len())
        .map(|bits: usize| {
            let chosen = PathOddity::ALL.into_iter().enumerate();
            let allow = chosen
                .filter(|(at, _)| bits >> at & 1 == 1)
                .map(|(_, oddity)| oddity)
                .collect();
            (allow, hall(allow))
        })
        .collect()
});

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Sends a head as the wire gave it.
async fn send(
    hall: &Hall,
    authority: Option<&str>,
    target: &[u8],
    headers: &HeaderMap,
) -> Result<Exchange, Reason> {
    send_on(hall.begin(), authority, target, headers).await
}

async fn send_on(
    mut exchange: Exchange,
    authority: Option<&str>,
    target: &[u8],
    headers: &HeaderMap,
) -> Result<Exchange, Reason> {
    let raw = RawHead {
        method: &Method::GET,
        target,
        authority,
        headers,
        version: Version::HTTP_11,
        upgrade: None,
        has_body: false,
    };
    match exchange.admit(raw).await {
        Ok(Admission::Forward) => Ok(exchange),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.reason),
    }
}

fn leave(exchange: &mut Exchange) -> UpstreamHead {
    let target = exchange.select_endpoint().unwrap();
    exchange.prepare_upstream(&target).unwrap()
}

fn target(hall: &Hall, target: &str) -> Result<String, Reason> {
    let headers = support::headers(&[]);
    runtime()
        .block_on(send(hall, None, target.as_bytes(), &headers))
        .map(|mut exchange| leave(&mut exchange).path_and_query)
}

/// Pieces that paths and queries are made of, the odd ones more often than they come.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-c]{1,2}",
        Just("/".to_owned()),
        Just("//".to_owned()),
        Just("%2f".to_owned()),
        Just("%2F".to_owned()),
        Just("\\".to_owned()),
        Just("%5c".to_owned()),
        Just(";".to_owned()),
        Just("%3b".to_owned()),
        Just("%25".to_owned()),
        Just("%252e".to_owned()),
        Just("%2e".to_owned()),
        Just(".".to_owned()),
        Just("..".to_owned()),
        Just("%c3%a9".to_owned()),
        Just("%7e".to_owned()),
        Just("+".to_owned()),
        Just("%20".to_owned()),
        Just("=".to_owned()),
        Just("&".to_owned()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    /// CVE-2021-29492, CVE-2026-26205, CVE-2026-73551: with whatever opt-ins, what the policy was shown is byte for
    /// byte what the endpoint gets; and whoever passes has nothing that its route does not allow.
    #[test]
    fn what_a_policy_saw_is_what_the_endpoint_gets(path in text(), query in text(), set in 0_usize..32) {
        let (allow, hall) = &HALLS[set];
        let raw = if query.is_empty() { format!("/{path}") } else { format!("/{path}?{query}") };
        let headers = support::headers(&[]);

        let outcome = runtime().block_on(send(hall, None, raw.as_bytes(), &headers));

        if let Ok(mut exchange) = outcome {
            let head = leave(&mut exchange);
            let (path, query) = head.path_and_query.split_once('?').unwrap_or((&head.path_and_query, ""));
            prop_assert_eq!(path, head.headers["x-seen-path"].to_str().unwrap());
            let seen = decode(head.headers["x-seen-query"].to_str().unwrap());
            let seen: std::collections::BTreeMap<String, Vec<String>> = serde_json::from_slice(&seen).unwrap();
            let pairs = canonical_query(query.as_bytes()).unwrap();
            prop_assert_eq!(&pairs.text, query);
            let mut sent = std::collections::BTreeMap::<String, Vec<String>>::new();
            for (name, value) in pairs.pairs {
                sent.entry(name).or_default().push(value);
            }
            prop_assert_eq!(seen, sent);
            prop_assert_eq!(&*exchange.record().path, path);
            let (again, oddities) = read_path(path.as_bytes()).unwrap();
            prop_assert_eq!(&again, path);
            prop_assert!(oddities.within(*allow).is_ok());
        }
    }
}

fn decode(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|one| *one == letter).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn a_route_gets_exactly_the_oddities_that_it_allows() {
    let written = [
        (PathOddity::EncodedSlash, "/a%2fb", "/a%2Fb"),
        (PathOddity::Backslash, "/a\\b", "/a%5Cb"),
        (PathOddity::Backslash, "/a%5cb", "/a%5Cb"),
        (PathOddity::Semicolon, "/a;v=1/b", "/a;v=1/b"),
        (PathOddity::Semicolon, "/a%3bv", "/a%3Bv"),
        (PathOddity::EmptySegment, "/a//b", "/a//b"),
        (PathOddity::DoubleEncoding, "/a%252fb", "/a%252fb"),
    ];
    for allowed in PathOddity::ALL {
        let hall = hall([allowed].into_iter().collect());
        for (oddity, raw, sent) in written {
            let expected = if oddity == allowed {
                Ok(sent.to_owned())
            } else {
                Err(oddity.reason())
            };
            assert_eq!(target(&hall, raw), expected, "{raw} where {allowed:?} is allowed");
        }
        assert_eq!(target(&hall, "/plain?a=1").unwrap(), "/plain?a=1");
    }
}

#[test]
fn what_no_reading_makes_safe_is_refused_with_every_opt_in() {
    let hall = hall(PathOddity::ALL.into_iter().collect());
    let cases: &[(&str, Reason)] = &[
        ("/a/../b", Reason::PathDotSegment),
        ("/a/%2e%2E/b", Reason::PathDotSegment),
        ("/a/..%2fb", Reason::PathDotSegment),
        ("/a%5c..%5cb", Reason::PathDotSegment),
        ("/a/..;x/b", Reason::PathDotSegment),
        ("/%252e%252e/b", Reason::PathDotSegment),
        ("/a%2500", Reason::PathControl),
        ("/a%25c0%25ae", Reason::PathUtf8),
        ("//x/admin", Reason::PathEmptySegment),
        ("/a%00", Reason::PathControl),
        ("/a%0d%0ax", Reason::PathControl),
        ("/%c0%ae", Reason::PathUtf8),
        ("/a#b", Reason::PathFragment),
        ("/a%zz", Reason::PathEncoding),
        ("/a?b=%ff", Reason::QueryEncoding),
    ];
    for (raw, reason) in cases {
        assert_eq!(target(&hall, raw), Err(*reason), "{raw}");
    }
    assert!(target(&hall, "/a/b").is_ok());
}

/// The reason must not name what the route allows.
#[test]
fn a_path_that_climbs_behind_its_opt_ins_is_refused_as_a_dot_segment() {
    let allowed = [PathOddity::EncodedSlash, PathOddity::Semicolon];
    let hall = hall(allowed.into_iter().collect());

    assert_eq!(target(&hall, "/s/a%2fb").unwrap(), "/s/a%2Fb");
    assert_eq!(target(&hall, "/s/a;x/b").unwrap(), "/s/a;x/b");
    assert_eq!(target(&hall, "/s/..%2fb"), Err(Reason::PathDotSegment));
    assert_eq!(target(&hall, "/s/..;x/b"), Err(Reason::PathDotSegment));
    assert_eq!(target(&hall, "/s/..%5cb"), Err(Reason::PathBackslash));
}

#[test]
fn an_odd_path_of_no_route_is_refused_for_its_oddity() {
    let mut narrow = route("narrow", "/files");
    narrow.path_allow = [PathOddity::EncodedSlash].into_iter().collect();
    let hall = Hall::new(plan(vec![narrow]));

    assert_eq!(target(&hall, "/files/a%2fb").unwrap(), "/files/a%2Fb");
    assert_eq!(target(&hall, "/other/a%2fb"), Err(Reason::PathEncodedSlash));
    assert_eq!(target(&hall, "/other/a"), Err(Reason::RouteNotFound));
    // The slash that is encoded ends no segment, so this is not below `/files`.
    assert_eq!(target(&hall, "/files%2fa"), Err(Reason::PathEncodedSlash));
}

#[test]
fn a_rewrite_keeps_what_was_allowed_and_makes_no_authority_of_it() {
    let mut files = route("files", "/files");
    files.path_allow = [PathOddity::EmptySegment].into_iter().collect();
    for (prefix, sent) in [("/", "/b/c"), ("/to", "/to//b/c")] {
        files.rewrite.prefix = Some(prefix.to_owned());
        let hall = Hall::new(plan(vec![files.clone()]));

        // CVE-2026-26205: `//b` would be read as an authority.
        assert_eq!(target(&hall, "/files//b/c").unwrap(), sent, "{prefix}");
    }
}

/// RFC 9112 section 3.2: the forms of a target. The door splits an absolute form; the others are no path.
#[test]
fn only_a_path_is_a_target() {
    let hall = Hall::new(plan(vec![route("every", "/")]));

    assert_eq!(target(&hall, "/").unwrap(), "/");
    for raw in [
        "*",
        "",
        "a/b",
        "api.example.com:443",
        "http://api.example.com/",
        "?a=1",
    ] {
        assert_eq!(target(&hall, raw), Err(Reason::TargetInvalid), "{raw:?}");
    }
}

/// RFC 9110 sections 9.3.6 and 9.3.8.
#[tokio::test]
async fn connect_and_trace_are_refused_whatever_they_ask_for() {
    let hall = Hall::new(plan(vec![route("every", "/")]));

    for method in [Method::CONNECT, Method::TRACE] {
        for target in ["/", "api.example.com:443", "*"] {
            assert_eq!(
                hall.refused(method.clone(), target, &[]).await,
                Reason::MethodUnsupported,
                "{method} {target}"
            );
        }
    }
    assert!(hall.ask(Method::OPTIONS, "/", &[]).await.1.is_ok());
}

fn hosts(fields: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append("host", HeaderValue::from_bytes(field).unwrap());
    }
    headers
}

/// RFC 9110 section 7.2, RFC 9112 section 3.2, RFC 9113 section 8.3.1.
#[tokio::test]
async fn one_host_is_read_one_way_and_any_doubt_is_refused() {
    let hall = Hall::new(plan(vec![route("every", "/")]));
    type Case<'a> = (Option<&'a str>, &'a [&'a [u8]], Result<&'a str, Reason>);
    let cases: &[Case<'_>] = &[
        (None, &[b"API.Example.com:8443"], Ok("api.example.com")),
        (None, &[b"api.example.com."], Ok("api.example.com")),
        (None, &[b"[2001:DB8::1]:443"], Ok("[2001:db8::1]")),
        (None, &[b"127.0.0.1"], Ok("127.0.0.1")),
        (Some("api.example.com"), &[], Ok("api.example.com")),
        (
            Some("api.example.com:443"),
            &[b"API.example.com:443"],
            Ok("api.example.com"),
        ),
        (None, &[], Err(Reason::HostMissing)),
        (None, &[b""], Err(Reason::HostMissing)),
        (Some(""), &[], Err(Reason::HostMissing)),
        (None, &[b"a.example", b"a.example"], Err(Reason::HostAmbiguous)),
        (None, &[b"a.example", b"b.example"], Err(Reason::HostAmbiguous)),
        (Some("a.example"), &[b"b.example"], Err(Reason::HostAmbiguous)),
        (Some("a.example"), &[b"a.example:1"], Err(Reason::HostAmbiguous)),
        (Some("a.example"), &[b""], Err(Reason::HostInvalid)),
        (None, &[b"user@a.example"], Err(Reason::HostInvalid)),
        (Some("user:pw@a.example"), &[], Err(Reason::HostInvalid)),
        (None, &[b"a.example:"], Ok("a.example")),
        (None, &[b"a.example:65536"], Err(Reason::HostInvalid)),
        (None, &[b"a.example:80:80"], Err(Reason::HostInvalid)),
        (None, &[b"::1"], Err(Reason::HostInvalid)),
        (None, &[b"[::1"], Err(Reason::HostInvalid)),
        (None, &[b"[fe80::1%25eth0]"], Err(Reason::HostInvalid)),
        (None, &[b"a.example.."], Err(Reason::HostInvalid)),
        (None, &[b"."], Err(Reason::HostInvalid)),
        (None, &[b"a.example/admin"], Err(Reason::HostInvalid)),
        (None, &[b"a.example b.example"], Err(Reason::HostInvalid)),
        (
            None,
            &["b\u{fc}cher.example".as_bytes()],
            Err(Reason::HostInvalid),
        ),
        (None, &[b"0x7f.1"], Err(Reason::HostInvalid)),
        (None, &[b"2130706433"], Err(Reason::HostInvalid)),
    ];
    for (authority, fields, expected) in cases {
        let sent = send(&hall, *authority, b"/", &hosts(fields)).await;

        let host = sent.map(|exchange| exchange.record().host.to_string());
        let expected = expected.map(str::to_owned);
        assert_eq!(host, expected, "{authority:?} {fields:?}");
    }
}

/// RFC 9113 section 8.2.1: HTTP/1 would read the value without its padding, so a guard and the endpoint would part.
#[tokio::test]
async fn a_padded_value_is_refused_and_a_plain_one_reaches_the_endpoint() {
    let hall = Hall::new(plan(vec![route("every", "/")]));
    for value in [" admin", "admin ", "\tadmin", "admin\t", " "] {
        let fields = [("x-role", value)];
        assert_eq!(
            hall.refused(Method::GET, "/", &fields).await,
            Reason::FieldInvalid,
            "{value:?}"
        );
    }

    let (mut exchange, admitted) = hall
        .ask(Method::GET, "/", &[("x-role", "an admin"), ("x-none", "")])
        .await;
    admitted.unwrap();

    assert_eq!(leave(&mut exchange).headers["x-role"], "an admin");
}

/// RFC 9110 section 7.2: an endpoint that writes URLs needs the port that its clients use.
#[tokio::test]
async fn the_host_that_leaves_keeps_a_port_that_the_scheme_does_not_say() {
    let mut only = route("only", "/");
    only.matches.hosts = vec![HostPattern::Exact("api.example.com".to_owned())];
    let hall = Hall::new(plan(vec![only]));
    for (written, expected) in [
        ("api.example.com:8443", "api.example.com:8443"),
        ("API.example.com:443", "api.example.com:443"),
        ("api.example.com:80", "api.example.com"),
        ("api.example.com:0080", "api.example.com"),
        ("api.example.com:", "api.example.com"),
        ("api.example.com", "api.example.com"),
    ] {
        let field = hosts(&[written.as_bytes()]);
        for (authority, fields) in [(None, &field), (Some(written), &HeaderMap::new())] {
            let mut exchange = send(&hall, authority, b"/", fields).await.unwrap();

            let head = leave(&mut exchange);

            assert_eq!(head.authority, expected, "{authority:?} {fields:?}");
            assert_eq!(head.headers["x-forwarded-host"], expected);
            assert_eq!(
                &*exchange.record().host,
                "api.example.com",
                "decided by the host alone"
            );
        }
    }
    for (written, expected) in [
        (&b"api.example.com:443"[..], "api.example.com"),
        (b"api.example.com:80", "api.example.com:80"),
    ] {
        let begun = hall.gateway.begin(Arc::new(ConnectionFacts {
            listener: ListenerId::from("public"),
            peer: "192.0.2.1:5000".parse().unwrap(),
            local: "192.0.2.2:443".parse().unwrap(),
            tls: Some(TlsFacts {
                sni: Some("api.example.com".to_owned()),
                version: "TLSv1.3",
                peer: None,
            }),
        }));
        let mut exchange = send_on(begun, None, b"/", &hosts(&[written])).await.unwrap();

        assert_eq!(leave(&mut exchange).authority, expected, "under TLS");
    }
}

/// CVE-2024-45410: what the gateway writes cannot be nominated away, and what guards read may not be.
#[tokio::test]
async fn a_nominated_field_goes_and_ours_stays() {
    let hall = Hall::new(plan(vec![route("every", "/")]));
    let ours = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
        "traceparent",
    ];
    let nominated = format!("close, X-Own, {}", ours.join(", "));
    let fields = [
        ("connection", nominated.as_str()),
        ("x-own", "1"),
        ("x-other", "1"),
    ];

    let (mut exchange, admitted) = hall.ask(Method::GET, "/", &fields).await;
    admitted.unwrap();
    let head = leave(&mut exchange);

    assert!(ours.iter().all(|name| head.headers.contains_key(*name)));
    assert!(!head.headers.contains_key("x-own") && !head.headers.contains_key("connection"));
    assert_eq!(head.headers["x-other"], "1");
    for guarded in [
        "authorization",
        "cookie",
        "content-type",
        "content-encoding",
        "content-length",
        "host",
    ] {
        let fields = [("connection", guarded)];
        assert_eq!(
            hall.refused(Method::GET, "/", &fields).await,
            Reason::FieldInvalid,
            "{guarded}"
        );
    }
}

#[tokio::test]
async fn what_a_client_says_of_itself_or_of_a_trace_does_not_reach_the_endpoint() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let fields = [
        ("traceparent", parent),
        ("tracestate", "a=1"),
        ("baggage", "a=1"),
        ("x-b3-sampled", "1"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "203.0.113.7"),
        ("x-request-id", "chosen-by-the-client"),
        ("x_forwarded_for", "203.0.113.7"),
        ("te", "trailers, gzip"),
    ];
    let mut trusting = plan(vec![route("every", "/")]);
    trusting.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    for (hall, is_trusted) in [
        (Hall::new(plan(vec![route("every", "/")])), false),
        (Hall::new(trusting), true),
    ] {
        let (mut exchange, admitted) = hall.ask(Method::GET, "/", &fields).await;
        admitted.unwrap();
        let head = leave(&mut exchange);
        let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());

        let kept = field("traceparent")
            .unwrap()
            .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-");
        assert_eq!(kept, is_trusted);
        for name in ["tracestate", "baggage", "x-b3-sampled"] {
            assert_eq!(field(name).is_some(), is_trusted, "{name}");
        }
        assert_eq!(exchange.request_id() == "chosen-by-the-client", is_trusted);
        assert_eq!(field("x-request-id"), Some(exchange.request_id()));
        let chain = if is_trusted {
            "203.0.113.7, 192.0.2.1"
        } else {
            "192.0.2.1"
        };
        assert_eq!(field("x-forwarded-for"), Some(chain));
        assert_eq!(
            field("x-forwarded-proto"),
            Some("http"),
            "the scheme is what we saw"
        );
        assert_eq!(
            field("te"),
            None,
            "anything but `trailers` alone is not passed on"
        );
        for name in ["x-real-ip", "x_forwarded_for"] {
            assert_eq!(field(name), None, "{name}");
        }
    }
}

/// CVE-2026-26308, CVE-2026-31838: a guard that looks at the first value of several lets the second one in.
#[tokio::test]
async fn a_policy_sees_every_value_of_a_repeated_field() {
    let rego = "package test\nimport rego.v1\ndefault decision := false\ndecision if not \"bad\" in input.request.headers[\"x-role\"]\n";
    let mut guarded = route("every", "/");
    guarded.authorize = vec![ask_policy("p", None)];
    let mut plan = plan(vec![guarded]);
    let mut reads = policy("p", rego, false);
    reads.headers = vec![http::HeaderName::from_static("x-role")];
    plan.admission.policies.push(reads);
    let hall = Hall::new(plan);

    for (values, is_allowed) in [
        (["good", "fine"], true),
        (["good", "bad"], false),
        (["bad", "good"], false),
    ] {
        let fields = values.map(|value| ("x-role", value));
        let (_, admitted) = hall.ask(Method::GET, "/", &fields).await;
        assert_eq!(admitted.is_ok(), is_allowed, "{values:?}");
    }
}
