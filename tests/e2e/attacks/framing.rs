//! Requests that two parsers would cut into messages differently.

use crate::refusals::{After, Scene};
use crate::support::house::HOST;
use crate::support::{Behaviour, Endpoint, House, RawConnection};

/// Where what is hidden behind a message would lead.
const SMUGGLED: &str = "GET /open/smuggled HTTP/1.1\r\nhost: api.example.com\r\n\r\n";

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /open/x HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n{body}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("transfer-encoding: chunked\r\n", body)
}

async fn assert_all_refused(scene: &Scene, requests: Vec<Vec<u8>>, status: u16, code: &str) {
    for request in requests {
        println!(
            "{}",
            String::from_utf8_lossy(&request[..request.len().min(200)]).escape_debug()
        );
        scene.refuse(&request, status, code, After::Closes).await;
    }
    assert_eq!(scene.endpoint.requests(), 0);
}

/// RFC 9112 6.2, 6.3: a length that is not exactly one number frames nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_length_that_is_not_one_number_is_refused() {
    let scene = Scene::set().await;
    let lengths = [
        "content-length: \r\n",
        "content-length: 4 4\r\n",
        "content-length: 4,\r\n",
        "content-length: ,4\r\n",
        "content-length: 4;\r\n",
        "content-length: 4\u{b}\r\n",
        "content-length: 4.0\r\n",
        "content-length: 4e0\r\n",
        "content-length: \"4\"\r\n",
        "content-length: ４\r\n",
        "content-length: 18446744073709551616\r\n",
        "content-length: 18446744073709551620\r\n",
        "content-length: 00000000000000000000000000000000000000004\r\n",
        "content-length: 4\r\ncontent-length: 4\r\n",
        "content-length: 4\r\nContent-Length: 5\r\n",
        "content-length: 4\r\nCONTENT-LENGTH: \r\n",
        "content-length : 4\r\n",
        "content-length\t: 4\r\n",
        "content-length\0: 4\r\n",
    ];

    let requests = lengths.map(|fields| post(fields, &format!("body{SMUGGLED}")));
    assert_all_refused(&scene, requests.into(), 400, "frame-malformed").await;

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    for fields in [
        "content-length: 4\r\n",
        "Content-LENGTH:4 \t\r\n",
        "content-length:\t4\r\n",
    ] {
        assert_eq!(
            connection.ask(&post(fields, "body")).await.status,
            200,
            "{fields}"
        );
        assert_eq!(scene.endpoint.last().body, "body");
    }
}

/// RFC 9112 6.1; CVE-2026-2835 (lists, and HTTP/1.0) and its like.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_coding_other_than_one_final_chunked_is_refused() {
    let scene = Scene::set().await;
    let codings = [
        "transfer-encoding: \r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked;q=1\r\n",
        "transfer-encoding: chunked,\r\n",
        "transfer-encoding: ,chunked\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding: \u{b}chunked\r\n",
        "transfer-encoding: chunked\u{c}\r\n",
        "transfer-encoding: chun ked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: \r\n",
        "transfer-encoding\t: chunked\r\n",
        "transfer-encoding:\r\n chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\ncontent-length: 5\r\n",
    ];
    let mut requests: Vec<_> = codings
        .iter()
        .map(|fields| post(fields, &format!("0\r\n\r\n{SMUGGLED}")))
        .collect();
    let old = format!("POST /open/x HTTP/1.0\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    requests.push(old.clone().into_bytes());
    requests.push(
        old.replacen("\r\n\r\n", "\r\nconnection: keep-alive\r\n\r\n", 1)
            .into_bytes(),
    );

    assert_all_refused(&scene, requests, 400, "frame-malformed").await;

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    for coding in ["chunked", "Chunked", "CHUNKED \t"] {
        let fields = format!("Transfer-Encoding:{coding}\r\n");
        let answer = connection.ask(&post(&fields, "4\r\nbody\r\n0\r\n\r\n")).await;
        assert_eq!(answer.status, 200, "{coding}");
        assert_eq!(scene.endpoint.last().body, "body");
    }
}

/// RFC 9112 7.1: a size is 1*HEXDIG and its line ends with CRLF. CVE-2025-55315 and its like.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_size_has_two_readings_is_refused() {
    let scene = Scene::set().await;
    let bodies = [
        "\r\nbody\r\n0\r\n\r\n",
        "+4\r\nbody\r\n0\r\n\r\n",
        "-4\r\nbody\r\n0\r\n\r\n",
        "0x4\r\nbody\r\n0\r\n\r\n",
        "4h\r\nbody\r\n0\r\n\r\n",
        " 4\r\nbody\r\n0\r\n\r\n",
        "4 \r\nbody\r\n0\r\n\r\n",
        "4\t\r\nbody\r\n0\r\n\r\n",
        "4,4\r\nbody\r\n0\r\n\r\n",
        "4_0\r\nbody\r\n0\r\n\r\n",
        "4\nbody\r\n0\r\n\r\n",
        "4\r\nbody\n0\r\n\r\n",
        "4\r\nbody0\r\n\r\n",
        "4\r\nbodyXX0\r\n\r\n",
        "4\r\nbody\r\r\n0\r\n\r\n",
        "4\rbody\r\n0\r\n\r\n",
        "10000000000000004\r\nbody\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nbody\r\n0\r\n\r\n",
        "00000000000000000000000000000000004\r\nbody\r\n0\r\n\r\n",
        "4\r\nbody\r\n0\n\r\n",
        "4\r\nbody\r\n0\r\n\n",
        "4\r\nbody\r\n\r\n\r\n",
        "4\r\nbody\r\n-0\r\n\r\n",
    ];

    for body in bodies {
        println!("{}", body.escape_debug());
        let mut connection = RawConnection::open(&scene.house.plain()).await;
        let answer = connection.ask(&chunked(&format!("{body}{SMUGGLED}"))).await;
        scene.house.assert_refused(&answer, 400, "frame-malformed");
        assert_eq!(
            connection.rest().await.as_deref(),
            Some(&[][..]),
            "closed, nothing served after it"
        );
    }
    let seen = scene.endpoint.received();
    assert!(
        seen.is_empty(),
        "no endpoint took a broken body for a whole one: {seen:?}"
    );

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    for body in [
        "4\r\nbody\r\n0\r\n\r\n",
        "0004\r\nbody\r\n000\r\n\r\n",
        "2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
    ] {
        assert_eq!(connection.ask(&chunked(body)).await.status, 200);
        assert_eq!(scene.endpoint.last().body, "body");
    }
    let upper = format!("A\r\n{0}\r\na\r\n{0}\r\n0\r\n\r\n", "0123456789");
    assert_eq!(connection.ask(&chunked(&upper)).await.status, 200);
    assert_eq!(scene.endpoint.last().body.len(), 20);
}

/// RFC 9112 7.1.1; CVE-2023-39326 (unbounded extensions), CVE-2025-55315 (a bare line feed inside of one).
#[tokio::test(flavor = "multi_thread")]
async fn chunk_extensions_are_bounded_read_past_and_never_passed_on() {
    let scene = Scene::set().await;
    let long = "x".repeat(20_000);
    let bodies = [
        format!("4;{long}\r\nbody\r\n0\r\n\r\n"),
        format!(
            "{}0\r\n\r\n",
            format!("1;{}\r\nb\r\n", "y".repeat(200)).repeat(2_000)
        ),
        "4;a\nb\r\nbody\r\n0\r\n\r\n".to_owned(),
        "4;a\rb\r\nbody\r\n0\r\n\r\n".to_owned(),
        "4;a=\"\n\"\r\nbody\r\n0\r\n\r\n".to_owned(),
        "4;a\0b\r\nbody\r\n0\r\n\r\n".to_owned(),
        "4 a\r\nbody\r\n0\r\n\r\n".to_owned(),
        "0;a\nb\r\n\r\n".to_owned(),
    ];

    for body in bodies {
        println!("{}", body[..body.len().min(100)].escape_debug());
        let mut connection = RawConnection::open(&scene.house.plain()).await;
        let answer = connection.ask(&chunked(&format!("{body}{SMUGGLED}"))).await;
        scene.house.assert_refused(&answer, 400, "frame-malformed");
        assert_eq!(connection.rest().await.as_deref(), Some(&[][..]));
    }
    assert!(scene.endpoint.received().is_empty());

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    for extension in ["a", "a=b", "a=\"b c\"", "a;b=c"] {
        let answer = connection
            .ask(&chunked(&format!("4;{extension}\r\nbody\r\n0;x\r\n\r\n")))
            .await;
        assert_eq!(answer.status, 200, "{extension}");
        assert_eq!(scene.endpoint.last().body, "body");
    }
}

/// RFC 9110 6.5.1: a trailer must not frame, route or identify.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_that_frame_route_or_identify_are_refused() {
    let scene = Scene::set().await;
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let trailers = [
        "content-length: 4\r\n",
        "transfer-encoding: chunked\r\n",
        "host: other.example\r\n",
        "authorization: Bearer x\r\n",
        "connection: close\r\n",
        "te: trailers\r\n",
        "upgrade: websocket\r\n",
        "trailer: x\r\n",
        "cookie: a=b\r\n",
        "content-type: text/plain\r\n",
        "x-forwarded-for: 6.6.6.6\r\n",
        "X_Forwarded_For: 6.6.6.6\r\n",
        "x-portcullis-principal: root\r\n",
        " folded: first\r\n",
        "x-a: b\r\n folded\r\n",
        "x-a : b\r\n",
        ": nameless\r\n",
        "no colon\r\n",
        "x-a: b\0\r\n",
        "x-a: b\rc\r\n",
        "x-a: b\nc: d\r\n",
        &format!("x-a: {}\r\n", "x".repeat(20_000)),
        &many,
    ];

    for trailer in trailers {
        println!("{}", trailer[..trailer.len().min(60)].escape_debug());
        let mut connection = RawConnection::open(&scene.house.plain()).await;
        let answer = connection
            .ask(&chunked(&format!("4\r\nbody\r\n0\r\n{trailer}\r\n{SMUGGLED}")))
            .await;
        scene.house.assert_refused(&answer, 400, "frame-malformed");
        assert_eq!(connection.rest().await.as_deref(), Some(&[][..]));
    }
    assert!(scene.endpoint.received().is_empty());

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    let answer = connection
        .ask(&chunked("4\r\nbody\r\n0\r\nx-checksum: abc\r\n\r\n"))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(scene.endpoint.last().trailers.unwrap()["x-checksum"], "abc");
}

/// RFC 9112 2.2, 5.1, 5.2: lines end with CRLF, names are tokens that end at their colon, nothing is folded.
#[tokio::test(flavor = "multi_thread")]
async fn lines_and_names_that_other_parsers_forgive_are_refused() {
    let scene = Scene::set().await;
    let whole = |request: &str| request.as_bytes().to_vec();
    let mut requests = vec![
        whole("GET /open/x HTTP/1.1\nhost: a\n\n"),
        whole("GET /open/x HTTP/1.1\nhost: a\r\n\r\n"),
        whole("GET /open/x HTTP/1.1\r\nhost: a\n\r\n"),
        whole("GET /open/x HTTP/1.1\r\nhost: a\r\n\n"),
        whole("GET /open/x HTTP/1.1\r\rhost: a\r\n\r\n"),
        whole("GET /open/x HTTP/1.1\r\nhost: a\r\r\n\r\n"),
        whole("GET /open/x HTTP/1.1\r\n\thost: a\r\n\r\n"),
        whole("GET\t/open/x\tHTTP/1.1\r\nhost: a\r\n\r\n"),
        whole("GET /open/x\u{b}HTTP/1.1\r\nhost: a\r\n\r\n"),
        whole(" GET /open/x HTTP/1.1\r\nhost: a\r\n\r\n"),
        whole("GET /open/x\r\nhost: a\r\n\r\n"),
        whole("GET /open/x HTTP/1.1\0\r\nhost: a\r\n\r\n"),
        whole("GET /open/\0x HTTP/1.1\r\nhost: a\r\n\r\n"),
        whole("GET /open/\u{7f}x HTTP/1.1\r\nhost: a\r\n\r\n"),
        whole("GET HTTP/1.1\r\nhost: a\r\n\r\n"),
        whole("(GET) /open/x HTTP/1.1\r\nhost: a\r\n\r\n"),
        whole("GET /open/x HTTP/1.1 GET /open/y HTTP/1.1\r\nhost: a\r\n\r\n"),
    ];
    for name in [
        "x y", "x\t", "x(y)", "x\"y", "x/y", "x=y", "ä", "x\u{7f}", "x@", "", " x", "x;y", "[x]",
    ] {
        requests.push(format!("GET /open/x HTTP/1.1\r\nhost: a\r\n{name}: 1\r\n\r\n").into_bytes());
    }
    for value in [
        "a\0b", "a\u{1}b", "a\u{7f}b", "a\u{8}", "a\rb", "a\r\n b", "a\r\n\tb", "\r\n b",
    ] {
        requests.push(format!("GET /open/x HTTP/1.1\r\nhost: a\r\nx: {value}\r\n\r\n").into_bytes());
    }

    assert_all_refused(&scene, requests, 400, "frame-malformed").await;

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    let odd = "GET /open/x HTTP/1.1\r\nHOST:a\r\n!#$%&'*+-.^`|~x: \t odd \t\r\nx-empty:\r\n\r\n";
    assert_eq!(connection.ask(odd.as_bytes()).await.status, 200);
    assert_eq!(scene.endpoint.last().headers["!#$%&'*+-.^`|~x"], "odd");
}

/// RFC 9112 2.3, 2.6: HTTP/0.9 is not spoken, and no version but 1.1 and 1.0.
#[tokio::test(flavor = "multi_thread")]
async fn other_versions_and_preludes_are_refused() {
    let scene = Scene::set().await;

    for line in [
        "GET /open/x",
        "GET /open/x http/1.1",
        "GET /open/x HTTP/1",
        "GET /open/x HTTP/1.1.1",
        "GET /open/x HTTP/11",
    ] {
        let request = format!("{line}\r\nhost: a\r\n\r\n");
        scene
            .refuse(request.as_bytes(), 400, "frame-malformed", After::Closes)
            .await;
    }
    for version in ["HTTP/1.3", "HTTP/2.0", "HTTP/9.9", "HTTP/0.9"] {
        let request = format!("GET /open/x {version}\r\nhost: a\r\n\r\n");
        scene
            .refuse(request.as_bytes(), 505, "version-unsupported", After::Closes)
            .await;
    }
    // RFC 9113 3.4: the preface of HTTP/2 on a connection that did not agree on it, with an SETTINGS frame behind it.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    scene
        .refuse(preface, 505, "version-unsupported", After::Closes)
        .await;
    assert_eq!(scene.endpoint.requests(), 0);
}

/// RFC 9112 2.2: an empty line before a request is read past, but not for ever.
#[tokio::test(flavor = "multi_thread")]
async fn empty_lines_before_a_request_are_few() {
    let scene = Scene::set().await;
    let request = format!("GET /open/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n");

    let mut connection = RawConnection::open(&scene.house.plain()).await;
    assert_eq!(
        connection.ask(format!("\r\n{request}").as_bytes()).await.status,
        200
    );
    let many = format!("{}{request}", "\r\n".repeat(100_000));
    let mut connection = RawConnection::open(&scene.house.plain()).await;
    let answer = connection.ask(many.as_bytes()).await;

    assert!([400, 431].contains(&answer.status.as_u16()), "{answer:?}");
    assert_eq!(scene.endpoint.requests(), 1);
}

/// RFC 9112 9.3: what stands between two messages belongs to neither. CVE-2025-4366.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_a_message_are_never_part_of_another() {
    let scene = Scene::set().await;
    let mut connection = RawConnection::open(&scene.house.plain()).await;

    let first = connection
        .ask(&post(
            "content-length: 4\r\n",
            "bodyEXTRA / HTTP/1.1\r\nhost: a\r\n\r\n",
        ))
        .await;
    let second = connection.answer().await;

    assert_eq!(first.status, 200);
    assert_eq!(
        second.status, 404,
        "EXTRA is a method that no route has: {second:?}"
    );
    let targets: Vec<_> = scene
        .endpoint
        .received()
        .iter()
        .map(|one| one.target.clone())
        .collect();
    assert_eq!(targets, ["/open/x"]);
}

/// What passes is framed anew, so that the endpoint reads what the gateway read.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_gets_one_framing_whatever_the_client_wrote() {
    let endpoint = Endpoint::start("one").await;
    endpoint.behave(Behaviour::Echo);
    let house = House::open(&format!(
        "{}pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\nroutes:\n  - {{ name: open, match: {{ path: \"/open/**\" }}, public: true, pool: main }}\n",
        crate::support::house::LISTENERS,
        endpoint.address
    ));
    let mut connection = RawConnection::open(&house.plain()).await;

    for request in [
        post("CONTENT-LENGTH:4\r\n", "body"),
        chunked("4;a=b\r\nbody\r\n0\r\n\r\n"),
        chunked("1\r\nb\r\n3\r\nody\r\n0;last\r\n\r\n"),
    ] {
        assert_eq!(connection.ask(&request).await.body, "body");
        let headers = endpoint.last().headers;
        let framings = headers.get_all("content-length").iter().count()
            + headers.get_all("transfer-encoding").iter().count();
        assert_eq!(framings, 1, "{headers:?}");
    }
}
