//! Bytes that are not one unambiguous request: refused before any route is known, answered, recorded, never passed on.

use crate::refusals::{After, Scene, get};
use crate::support::house::HOST;
use crate::support::{RawConnection, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn every_path_trick_has_its_code_and_leaves_the_connection() {
    let scene = Scene::set().await;
    let cases = [
        ("/open/../token/x", "path-dot-segment"),
        ("/open/%2e%2E/token/x", "path-dot-segment"),
        ("/open/.%2e", "path-dot-segment"),
        ("/open/./x", "path-dot-segment"),
        ("//token/x", "path-empty-segment"),
        ("/open//x", "path-empty-segment"),
        ("/open/a%2fb", "path-encoded-slash"),
        ("/open/a%2Fb", "path-encoded-slash"),
        ("/open/a%5cb", "path-backslash"),
        ("/open/a\\b", "path-backslash"),
        ("/open/..;x/token", "path-semicolon"),
        ("/open/a%3bb", "path-semicolon"),
        ("/open/%00", "path-control"),
        ("/open/a b", "frame-malformed"),
        ("/open/%0d%0a", "path-control"),
        ("/open/%7f", "path-control"),
        ("/open/%zz", "path-encoding"),
        ("/open/%2", "path-encoding"),
        ("/open/%252e%252e/token", "path-double-encoding"),
        ("/open/%c0%af", "path-utf8"),
        ("/open/%ff", "path-utf8"),
        ("/open/x#y", "path-fragment"),
        ("/open/x?q=%zz", "query-encoding"),
        ("/open/x?q=%ff", "query-encoding"),
        ("*", "target-invalid"),
    ];

    for (target, code) in cases {
        let is_frame = ["frame-malformed", "path-fragment"].contains(&code);
        let after = if is_frame { After::Closes } else { After::Stays };
        scene.refuse(&get(target, ""), 400, code, after).await;
    }
    let kept = scene.house.plain().get("/open/a:b@c/100%25/caf%C3%A9", &[]).await;

    assert_eq!(kept.status, 200);
    assert_eq!(scene.endpoint.last().target, "/open/a:b@c/100%25/caf%C3%A9");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_trick_is_refused() {
    let scene = Scene::set().await;
    let request = |host: &str| format!("GET /open/x HTTP/1.1\r\n{host}\r\n").into_bytes();
    let cases = [
        ("", "host-missing"),
        ("host:\r\n", "host-missing"),
        ("host: a\r\nhost: a\r\n", "host-ambiguous"),
        ("host: a\r\nhost: b\r\n", "host-ambiguous"),
        ("host: u@a\r\n", "host-invalid"),
        ("host: a/b\r\n", "host-invalid"),
        ("host: a b\r\n", "host-invalid"),
        ("host: a:99999\r\n", "host-invalid"),
        ("host: a:b\r\n", "host-invalid"),
        ("host: [::1\r\n", "host-invalid"),
        ("host: -a\r\n", "host-invalid"),
        ("host: a..b\r\n", "host-invalid"),
        ("host: a%00b\r\n", "host-invalid"),
        ("host: a,b\r\n", "host-invalid"),
    ];

    for (host, code) in cases {
        scene.refuse(&request(host), 400, code, After::AsTold).await;
    }
    let absolute = format!("GET http://other.example/open/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    scene
        .refuse(absolute.as_bytes(), 400, "host-ambiguous", After::AsTold)
        .await;
    let connect = format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n");
    scene
        .refuse(connect.as_bytes(), 501, "method-unsupported", After::AsTold)
        .await;

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    let same = format!("GET http://{HOST}/open/abs HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    assert_eq!(connection.ask(same.as_bytes()).await.status, 200);
    assert_eq!(scene.endpoint.last().target, "/open/abs");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_read_two_ways_is_refused_and_the_connection_closed() {
    let scene = Scene::set().await;
    let with = |fields: &str| {
        format!(
            "POST /open/x HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\nGET /open/smuggled HTTP/1.1\r\nhost: {HOST}\r\n\r\n"
        )
    };
    let cases = [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 0\r\ncontent-length: 4\r\n",
        "content-length: 4, 4\r\n",
        "content-length: +4\r\n",
        "content-length: 0x4\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "x-folded: a\r\n b\r\n",
        " x-first: folded\r\n",
        "x-nul: a\0b\r\n",
        "x-bell: a\u{7}b\r\n",
        "x-cr: a\rb\r\n",
        "x-lf: a\nb: c\r\n",
        "no colon here\r\n",
        "bad name: x\r\n",
        ": nameless\r\n",
    ];

    for fields in cases {
        scene
            .refuse(with(fields).as_bytes(), 400, "frame-malformed", After::Closes)
            .await;
    }
    for line in [
        "GET  /open/x HTTP/1.1",
        "GET /open/x y HTTP/1.1",
        "GET /open/\u{e4} HTTP/1.1",
        "G\u{1}T /open/x HTTP/1.1",
        "GET /open/x HTTP/1.1 ",
        "GET /open/x FTP/1.1",
    ] {
        let request = format!("{line}\r\nhost: {HOST}\r\n\r\n");
        scene
            .refuse(request.as_bytes(), 400, "frame-malformed", After::Closes)
            .await;
    }
    assert_eq!(scene.endpoint.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_chunks_are_refused_and_what_follows_is_never_served() {
    let scene = Scene::set().await;
    let head = format!(
        "POST /api/orders HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let after = format!("GET /open/smuggled HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let cases = [
        "\r\n{}\r\n0\r\n\r\n",
        "2 \r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r\n{}XX0\r\n\r\n",
        "ffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\nbad trailer\r\n\r\n",
    ];

    for chunks in cases {
        let request = format!("{head}{chunks}{after}");
        scene
            .refuse(request.as_bytes(), 400, "frame-malformed", After::Closes)
            .await;
    }
    assert_eq!(scene.endpoint.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_measure_and_other_versions_are_refused() {
    let scene = Scene::set().await;

    let long = "a".repeat(33 * 1024);
    scene
        .refuse(
            &get("/open/x", &format!("x-long: {long}\r\n")),
            431,
            "head-too-large",
            After::Closes,
        )
        .await;
    scene
        .refuse(
            &get(&format!("/open/{long}"), ""),
            431,
            "head-too-large",
            After::Closes,
        )
        .await;
    let many: String = (0..129).map(|number| format!("x-{number}: 1\r\n")).collect();
    scene
        .refuse(&get("/open/x", &many), 431, "head-too-large", After::Closes)
        .await;
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/3.0", "HTTP/0.9"] {
        let request = format!("GET /open/x {version}\r\nhost: {HOST}\r\n\r\n");
        scene
            .refuse(request.as_bytes(), 505, "version-unsupported", After::Closes)
            .await;
    }
    scene
        .refuse(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            505,
            "version-unsupported",
            After::Closes,
        )
        .await;

    let fits: String = (0..90).map(|number| format!("x-{number}: 1\r\n")).collect();
    let mut connection = RawConnection::open(&scene.house.plain()).await;
    assert_eq!(connection.ask(&get("/open/x", &fits)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_fields_and_their_look_alikes_never_reach_the_endpoint() {
    let scene = Scene::set().await;
    let spoofed = "x-forwarded-client-cert: me\r\nX_Forwarded_For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\nx-portcullis-principal: root\r\nX_Portcullis_Principal: root\r\n";
    let mut connection = RawConnection::open(&scene.house.plain()).await;

    let answer = connection.ask(&get("/open/x", spoofed)).await;

    assert_eq!(answer.status, 200);
    let headers = scene.endpoint.last().headers;
    assert!(
        headers.values().all(|value| value != "root" && value != "me"),
        "{headers:?}"
    );
    assert!(
        headers
            .values()
            .all(|value| !value.to_str().unwrap().contains("6.6.6.6")),
        "{headers:?}"
    );
    let forwarded = headers["x-forwarded-for"].clone();
    let nominated = connection
        .ask(&get("/open/x", "connection: x-forwarded-for\r\n"))
        .await;
    assert_eq!(nominated.status, 200);
    assert_eq!(
        scene.endpoint.last().headers["x-forwarded-for"],
        forwarded,
        "ours cannot be nominated away"
    );
    for name in ["authorization", "cookie", "content-length", "host"] {
        let fields = format!("connection: {name}\r\n");
        scene
            .refuse(&get("/open/x", &fields), 400, "field-invalid", After::AsTold)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_at_all_are_refused_and_recorded() {
    let scene = Scene::set().await;

    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    scene
        .refuse(tls_hello, 400, "frame-malformed", After::Closes)
        .await;
    scene
        .refuse(b"\0\0\0\0\r\n\r\n", 400, "frame-malformed", After::Closes)
        .await;

    wait_for("two lines of refused frames", || {
        let lines = scene.house.gateway.access.all();
        (lines.iter().filter(|line| line["stage"] == "frame").count() == 2).then_some(())
    });
    assert_eq!(scene.endpoint.connections(), 0);
}
