//! Who is asked for: one name, from wherever it is written.

use crate::refusals::{After, Scene};
use crate::support::house::HOST;
use crate::support::{RawConnection, h2wire};
use h2wire::{END_HEADERS, END_STREAM, H2Wire, HEADERS, RST_STREAM};

/// RFC 9110 7.2, RFC 9112 3.2: exactly one host, and the target's authority is it.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_one_plain_name_or_address_is_refused() {
    let scene = Scene::set().await;
    let cases = [
        ("host: a\r\nHost: a\r\n", "host-ambiguous"),
        ("host: a\r\nhost:\r\n", "host-ambiguous"),
        ("host: \r\n", "host-missing"),
        ("host: user@a\r\n", "host-invalid"),
        ("host: user:pw@a\r\n", "host-invalid"),
        ("host: a@b:80\r\n", "host-invalid"),
        ("host: :80\r\n", "host-invalid"),
        ("host: a:\u{ff11}\r\n", "host-invalid"),
        ("host: a:-1\r\n", "host-invalid"),
        ("host: a:+80\r\n", "host-invalid"),
        ("host: a:80:80\r\n", "host-invalid"),
        ("host: a:65536\r\n", "host-invalid"),
        ("host: [::1\r\n", "host-invalid"),
        ("host: ::1\r\n", "host-invalid"),
        ("host: [::1]x\r\n", "host-invalid"),
        ("host: [::g]\r\n", "host-invalid"),
        ("host: [::1%25eth0]\r\n", "host-invalid"),
        ("host: b\u{fc}cher.example\r\n", "host-invalid"),
        ("host: a b\r\n", "host-invalid"),
        ("host: a,b\r\n", "host-invalid"),
        ("host: a;b\r\n", "host-invalid"),
        ("host: a\\b\r\n", "host-invalid"),
        ("host: a/b\r\n", "host-invalid"),
        ("host: a?b\r\n", "host-invalid"),
        ("host: a#b\r\n", "host-invalid"),
        ("host: a%2eb\r\n", "host-invalid"),
        ("host: .a\r\n", "host-invalid"),
        ("host: a..b\r\n", "host-invalid"),
        ("host: a..\r\n", "host-invalid"),
        ("host: .\r\n", "host-invalid"),
        ("host: *\r\n", "host-invalid"),
    ];

    for (field, code) in cases {
        println!("{}", field.escape_debug());
        let request = format!("GET /open/x HTTP/1.1\r\n{field}\r\n");
        scene.refuse(request.as_bytes(), 400, code, After::AsTold).await;
    }
    let long = format!("GET /open/x HTTP/1.1\r\nhost: {}\r\n\r\n", "a.".repeat(200));
    scene
        .refuse(long.as_bytes(), 400, "host-invalid", After::AsTold)
        .await;
    let mut connection = RawConnection::open(&scene.house.plain()).await;
    for host in [
        HOST,
        "API.example.com",
        "api.example.com.",
        "api.example.com:8080",
        "127.0.0.1",
        "[::1]",
        "[::1]:443",
    ] {
        let answer = connection
            .ask(format!("GET /open/x HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())
            .await;
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(scene.endpoint.requests(), scene.endpoint.received().len());
    }
}

/// RFC 9112 3.2.2, 3.2.3, 3.2.4: the other forms of a target.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_another_form_is_one_request_or_none() {
    let scene = Scene::set().await;
    let with =
        |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();

    for (target, host, code) in [
        ("http://other.example/open/x", HOST, "host-ambiguous"),
        (
            "http://api.example.com:81/open/x",
            "api.example.com:82",
            "host-ambiguous",
        ),
        ("http://user@api.example.com/open/x", HOST, "target-invalid"),
        (
            "http://api.example.com#@other.example/open/x",
            HOST,
            "path-fragment",
        ),
        ("http:///open/x", HOST, "target-invalid"),
        ("http:/open/x", HOST, "target-invalid"),
        ("ftp://api.example.com/open/x", HOST, "target-invalid"),
        ("javascript:alert(1)", HOST, "target-invalid"),
        ("api.example.com:80", HOST, "target-invalid"),
        ("open/x", HOST, "target-invalid"),
        ("?q", HOST, "target-invalid"),
        ("*", HOST, "target-invalid"),
        ("//other.example/open/x", HOST, "path-empty-segment"),
    ] {
        println!("{target}");
        let answer = {
            let mut connection = RawConnection::open(&scene.house.plain()).await;
            connection.ask(&with(target, host)).await
        };
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
        assert_eq!(answer.code(), code, "{target}");
    }
    for request in [
        format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n"),
        format!("CONNECT /open/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
        format!("TRACE /open/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
    ] {
        scene
            .refuse(request.as_bytes(), 501, "method-unsupported", After::AsTold)
            .await;
    }
    assert_eq!(
        scene
            .endpoint
            .received()
            .iter()
            .filter(|one| one.target != "/open/next")
            .count(),
        0
    );

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    for target in [
        "http://api.example.com/open/x?a=b",
        "http://API.EXAMPLE.COM/open/x?a=b",
    ] {
        assert_eq!(connection.ask(&with(target, HOST)).await.status, 200, "{target}");
        assert_eq!(scene.endpoint.last().target, "/open/x?a=b");
    }
}

/// RFC 9113 8.3.1; CVE-2026-33555: `:authority` and `Host` of HTTP/2 say one name, and it is one.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_http2_that_has_two_readings_is_refused() {
    let scene = Scene::set().await;
    let base = [(":method", "GET"), (":scheme", "https"), (":path", "/open/x")];
    let cases: [&[(&str, &str)]; 14] = [
        &[],
        &[(":authority", "")],
        &[(":authority", HOST), ("host", "other.example")],
        &[(":authority", HOST), ("host", HOST), ("host", HOST)],
        &[(":authority", HOST), (":authority", HOST)],
        &[("host", HOST), ("host", "other.example")],
        &[(":authority", "user@api.example.com")],
        &[(":authority", "api.example.com,other.example")],
        &[(":authority", "api.example.com\r\nx-admin: 1")],
        &[(":authority", "api.example.com/../x")],
        &[(":authority", "api.example.com x")],
        &[(":authority", "api.example.com:99999")],
        &[(":authority", "[::1")],
        &[(":authority", "api.example.com\0")],
    ];

    for (number, case) in (0u32..).zip(cases) {
        let mut wire = H2Wire::open(&scene.house.h2(), &[]).await;
        let block = h2wire::fields(&[&base[..], case].concat());
        wire.write(&h2wire::frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
            .await;
        wire.write(&h2wire::get(3, "/open/next", HOST)).await;
        let mut was_reset = false;
        // Refused by us with an answer, or by the library with a reset: never passed on.
        loop {
            let frame = wire
                .frame()
                .await
                .expect("the stream or the connection to be refused");
            match (frame.kind, frame.stream) {
                (HEADERS, 1) => assert_ne!(frame.payload[0], 0x88, "case {number}: {case:?} got a 200"),
                (RST_STREAM, 1) => was_reset = true,
                (HEADERS, 3) => break assert_eq!(frame.payload[0], 0x88, "the next request is served"),
                (h2wire::GOAWAY, _) => panic!("case {number}: {case:?} ended the connection"),
                _ => {}
            }
        }
        println!("{case:?}: {}", if was_reset { "reset" } else { "answered" });
    }
    assert!(
        scene
            .endpoint
            .received()
            .iter()
            .all(|one| one.target == "/open/next")
    );

    for case in [
        &[(":authority", HOST)][..],
        &[("host", HOST)],
        &[(":authority", HOST), ("host", HOST)],
    ] {
        let mut wire = H2Wire::open(&scene.house.h2(), &[]).await;
        let block = h2wire::fields(&[&base[..], case].concat());
        wire.write(&h2wire::frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
            .await;
        assert_eq!(wire.answer(1).await[0], 0x88, "{case:?}");
    }
}

/// RFC 9113 8.3, 8.2.1, 8.2.2; Envoy CVE-2025-64763: heads that HTTP/1.1 would write otherwise than they were read.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_http2_that_http1_could_not_say_is_refused() {
    let scene = Scene::set().await;
    let whole = h2wire::request("GET", "/open/x", HOST);
    let mut cases: Vec<Vec<(&str, &str)>> = [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("X-Upper", "1"),
        ("x y", "1"),
        ("x:y", "1"),
        ("x\r\ny", "1"),
        ("", "1"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\0"),
        (":status", "200"),
        (":unknown", "1"),
        (":path", "/open/twice"),
        ("content-length", "4, 4"),
        ("content-length", "+4"),
        ("content-length", "4"),
    ]
    .iter()
    .map(|field| [&whole[..], &[*field]].concat())
    .collect();
    cases.push([&[("x", "before")][..], &whole[..]].concat());
    cases.push(h2wire::request("CONNECT", "/open/x", HOST));
    cases.push(
        [
            &h2wire::request("CONNECT", "/open/x", HOST)[..],
            &[(":protocol", "websocket")],
        ]
        .concat(),
    );
    cases.push(h2wire::request("GET", "", HOST));
    cases.push(h2wire::request("GET", "open/x", HOST));
    cases.push(h2wire::request("GET", "/open/x y", HOST));
    cases.push(h2wire::request("GET", "/open/x\r\nx: y", HOST));
    cases.push(h2wire::request("G T", "/open/x", HOST));
    cases.push(h2wire::request("GET /open/y HTTP/1.1\r\nx:", "/open/x", HOST));
    cases.push(vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
    ]);
    cases.push(vec![
        (":method", "GET"),
        (":authority", HOST),
        (":path", "/open/x"),
    ]);

    for case in cases {
        let mut wire = H2Wire::open(&scene.house.h2(), &[]).await;
        let block = h2wire::fields(&case);
        wire.write(&h2wire::frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
            .await;
        wire.write(&h2wire::get(3, "/open/next", HOST)).await;
        loop {
            let Some(frame) = wire.frame().await else { break };
            match (frame.kind, frame.stream) {
                (HEADERS, 1) => assert_ne!(frame.payload[0], 0x88, "{case:?} got a 200"),
                (HEADERS, 3) => break assert_eq!(frame.payload[0], 0x88, "{case:?}: the next request"),
                (h2wire::GOAWAY, _) => break,
                _ => {}
            }
        }
    }
    let seen = scene.endpoint.received();
    assert!(seen.iter().all(|one| one.target == "/open/next"), "{seen:?}");
}
