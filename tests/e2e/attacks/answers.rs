//! Endpoints that lie: what their answers cost is the one request, never the next one, and never a second answer.

use std::time::Instant;

use http::Method;
use http_body_util::BodyExt;

use crate::support::house::HOST;
use crate::support::scripted::GOOD;
use crate::support::{Act, Client, Dial, House, PATIENCE, RawConnection, Scripted};

/// Listeners for as many connections as there are cases.
pub(super) const MANY: &str = r#"
listeners:
  plain: { listen: "127.0.0.1:0", limits: { handshakes_per_address: 100000/s } }
  public:
    listen: "127.0.0.1:0"
    tls: { certificates: [{ chain: server.pem, key: server.key }] }
    limits: { handshakes_per_address: 100000/s }
"#;

/// What never may be seen by a client.
const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

async fn open() -> (House, Scripted) {
    let endpoint = Scripted::start().await;
    let house = House::open(&format!(
        r#"{MANY}
pools: {{ main: {{ endpoints: [{{ address: "{}" }}] }} }}
routes:
  - {{ name: socket, match: {{ path: "/open/bad/socket" }}, public: true, upgrade: [websocket], pool: main, timeouts: {{ request: 2s }} }}
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main, timeouts: {{ request: 5s, idle: 2s }} }}
"#,
        endpoint.address
    ));
    (house, endpoint)
}

/// What became of an answer on its way to a client.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Refused(u16, String),
    Broken(u16),
    Whole(u16, Vec<u8>),
    Gone,
}

pub(super) async fn fate(client: &mut Client, method: Method) -> Fate {
    let Ok(answer) = client.start(method, "/open/bad", &[], b"").await else {
        return Fate::Gone;
    };
    let status = answer.status().as_u16();
    let is_problem = answer
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind == "application/problem+json");
    let body = tokio::time::timeout(PATIENCE, answer.into_body().collect())
        .await
        .expect("an end");
    match body {
        Err(_) => Fate::Broken(status),
        Ok(body) if is_problem => {
            let problem: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
            Fate::Refused(status, problem["code"].as_str().unwrap().to_owned())
        }
        Ok(body) => Fate::Whole(status, body.to_bytes().to_vec()),
    }
}

/// Clients of both protocols meet this answer so, and then, on the same connection where it is left and on others, only
/// good ones.
async fn assert_fate(house: &House, endpoint: &Scripted, script: &[Act], is_right: impl Fn(&Fate) -> bool) {
    endpoint.play(script);
    for dial in [house.plain(), house.h2()] {
        for method in [Method::POST, Method::GET] {
            let mut client = dial.connect().await.unwrap();
            assert_good(&mut client, &dial).await;
            let fate = fate(&mut client, method.clone()).await;
            assert!(is_right(&fate), "{method} of {script:?}: {fate:?}");
            assert_good(&mut client, &dial).await;
            assert_good(&mut client, &dial).await;
        }
    }
}

async fn assert_good(client: &mut Client, dial: &Dial) {
    if client.is_closed() {
        *client = dial.connect().await.unwrap();
    }
    // A connection that is closing just now may lose this request; it is asked again on another.
    let answer = match client.send(Method::GET, "/open/good", &[], b"").await {
        Ok(answer) => answer,
        Err(_) => {
            *client = dial.connect().await.unwrap();
            client.send(Method::GET, "/open/good", &[], b"").await.unwrap()
        }
    };
    assert_eq!(
        (answer.status.as_u16(), &answer.body[..]),
        (200, GOOD.as_bytes()),
        "{answer:?}"
    );
}

fn is_protocol(fate: &Fate) -> bool {
    *fate == Fate::Refused(502, "endpoint-protocol".to_owned())
}

fn is_broken(fate: &Fate) -> bool {
    matches!(fate, Fate::Broken(200) | Fate::Gone) || is_protocol(fate)
}

/// RFC 9112 4, 5, 6.3 of answers; CVE-2026-2833 (101 that nobody asked for).
#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_an_answer_with_two_readings_is_a_502_and_poisons_nothing() {
    let (house, endpoint) = open().await;
    let heads = [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: 4, 5\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\ncontent-length: 4\n\nbody",
        "HTTP/1.1 200 OK\r\nx: a\nb: c\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nx: a\rb: c\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\n x: a\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nx y: a\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 999 Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 600 Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 099 Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 000 Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 20 Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 2000 Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 +20 Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 abc Odd\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1  200 OK\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/2.0 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.2 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        "http/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        "ICY 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        "<html>HTTP/0.9</html>\r\n\r\n",
        "\0\0\0\x04\x08\0\0\0\0\0\0\0\0\r\n\r\n",
    ];

    for head in heads {
        assert_fate(&house, &endpoint, &[Act::send(head)], is_protocol).await;
    }
    // RFC 9112 6.3: the same length twice may be taken for one.
    let twice = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nbody";
    let is_one = |fate: &Fate| is_protocol(fate) || *fate == Fate::Whole(200, b"body".to_vec());
    assert_fate(&house, &endpoint, &[Act::send(twice)], is_one).await;
}

/// Answers without measure end as 502, and the gateway keeps none of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_measure_is_a_502() {
    let (house, endpoint) = open().await;
    let resident = crate::support::process::resident(house.gateway.pid());

    let line = format!("x-long: {}\r\n", "y".repeat(8_000)).into_bytes();
    let long = [Act::send("HTTP/1.1 200 OK\r\n"), Act::Flood(line, 20_000)];
    assert_fate(&house, &endpoint, &long, is_protocol).await;
    let many = [
        Act::send("HTTP/1.1 200 OK\r\n"),
        Act::Flood(b"a: b\r\n".to_vec(), 100_000),
    ];
    assert_fate(&house, &endpoint, &many, is_protocol).await;
    let endless = [Act::send("HTTP/1.1 200 "), Act::Flood(vec![b'O'; 10_000], 10_000)];
    assert_fate(&house, &endpoint, &endless, is_protocol).await;
    let hints = [
        Act::Flood(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec(),
            100_000,
        ),
        Act::send(EVIL),
    ];
    assert_fate(&house, &endpoint, &hints, is_protocol).await;
    let hundreds = [
        Act::Flood(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), 100_000),
        Act::send(EVIL),
    ];
    assert_fate(&house, &endpoint, &hundreds, is_protocol).await;

    let after = crate::support::process::resident(house.gateway.pid());
    assert!(after < resident + 64 * 1024, "{resident} KiB became {after} KiB");
}

/// RFC 9112 7.1 of answers: a body that breaks in the client's hands looks broken, and the connection is not used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_an_answer_with_two_readings_breaks_off() {
    let (house, endpoint) = open().await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n";
    let bodies = [
        format!("\r\n{EVIL}"),
        "+4\r\nbody\r\n0\r\n\r\n".to_owned(),
        "-4\r\nbody\r\n0\r\n\r\n".to_owned(),
        "0x4\r\nbody\r\n0\r\n\r\n".to_owned(),
        "4 \r\nbody\r\n0\r\n\r\n".to_owned(),
        " 4\r\nbody\r\n0\r\n\r\n".to_owned(),
        "4\nbody\r\n0\r\n\r\n".to_owned(),
        "4\r\nbodyXX0\r\n\r\n".to_owned(),
        "4\r\nbody\n0\r\n\r\n".to_owned(),
        "ffffffffffffffff4\r\nbody\r\n0\r\n\r\n".to_owned(),
        "4;a\nb\r\nbody\r\n0\r\n\r\n".to_owned(),
        "0\r\nbad trailer\r\n\r\n".to_owned(),
        "0\r\nx: y\n\r\n".to_owned(),
        format!("0\r\nx: {}\r\n\r\n", "y".repeat(100_000)),
    ];

    for body in bodies {
        let script = [Act::send(head), Act::send(&body), Act::Close];
        assert_fate(&house, &endpoint, &script, is_broken).await;
    }
    // RFC 9110 6.5.1: a trailer that frames is no trailer; it breaks the answer or goes no further.
    for trailer in [
        "content-length: 40",
        "transfer-encoding: chunked",
        "connection: close",
        "host: a",
    ] {
        let script = [Act::send(head), Act::send(format!("0\r\n{trailer}\r\n\r\n"))];
        let is_right = |fate: &Fate| is_broken(fate) || *fate == Fate::Whole(200, b"body".to_vec());
        assert_fate(&house, &endpoint, &script, is_right).await;
        let mut connection = RawConnection::open(&house.plain()).await;
        let request = format!(
            "GET /open/bad HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\nconnection: close, te\r\n\r\n"
        );
        connection.write(request.as_bytes()).await;
        let told = String::from_utf8(connection.rest().await.unwrap()).unwrap();
        assert!(
            !told.split("body").nth(1).unwrap_or_default().contains(':'),
            "{told}"
        );
    }
    let good = [Act::send(head), Act::send("0\r\nx-sum: 1\r\n\r\n")];
    assert_fate(&house, &endpoint, &good, |fate| {
        *fate == Fate::Whole(200, b"body".to_vec())
    })
    .await;
}

/// A connection that ends in any phase ends that answer: before its head a 502, after it a body that breaks off.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_leaves_in_any_phase_is_a_502_or_a_broken_body() {
    let (house, endpoint) = open().await;
    let is_reset = |fate: &Fate| matches!(fate, Fate::Refused(502, code) if code == "endpoint-reset" || code == "endpoint-protocol");
    let phases = [
        ("", true),
        ("HTTP/1.1 200", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n", true),
        ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\nhalf",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nx: y\r\n",
            false,
        ),
    ];

    for ending in [Act::Close, Act::Reset] {
        for (said, is_in_head) in phases {
            let script = [Act::send(said), ending.clone()];
            // A reset may overtake what was sent just before it, so that even a head is lost.
            let is_right = |fate: &Fate| {
                if is_in_head {
                    is_reset(fate)
                } else {
                    is_broken(fate) || is_reset(fate)
                }
            };
            assert_fate(&house, &endpoint, &script, is_right).await;
        }
    }
    let until_close = [Act::send("HTTP/1.1 200 OK\r\n\r\nall of it"), Act::Close];
    assert_fate(&house, &endpoint, &until_close, |fate| {
        *fate == Fate::Whole(200, b"all of it".to_vec())
    })
    .await;
}

/// RFC 9110 15.3.5, 15.4.5, 9.3.2: messages that have no body, with one. What follows belongs to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_where_there_is_none_is_never_the_next_answer() {
    let (house, endpoint) = open().await;
    let bodiless =
        |status: u16| move |fate: &Fate| is_protocol(fate) || *fate == Fate::Whole(status, Vec::new());

    for (line, status) in [("204 No Content", 204), ("304 Not Modified", 304)] {
        for fields in [
            "",
            "content-length: 4\r\n",
            "content-length: 60\r\n",
            "transfer-encoding: chunked\r\n",
        ] {
            for body in ["", "evil", EVIL, "4\r\nevil\r\n0\r\n\r\n"] {
                let answer = format!("HTTP/1.1 {line}\r\n{fields}\r\n{body}");
                assert_fate(&house, &endpoint, &[Act::send(answer)], bodiless(status)).await;
            }
        }
    }
    for fields in [
        "content-length: 4\r\n",
        "content-length: 60\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        endpoint.play(&[Act::send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{EVIL}"))]);
        for dial in [house.plain(), house.h2()] {
            let mut client = dial.connect().await.unwrap();
            let fate = fate(&mut client, Method::HEAD).await;
            assert!(
                is_protocol(&fate) || fate == Fate::Whole(200, Vec::new()),
                "{fate:?}"
            );
            assert_good(&mut client, &dial).await;
            assert_good(&mut client, &dial).await;
        }
    }
}

/// CVE-2025-4366's other side: an answer that nobody asked for waits on no kept connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_answer_is_never_given_to_the_next_request() {
    let (house, endpoint) = open().await;
    let first = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
    let is_first = |fate: &Fate| is_protocol(fate) || *fate == Fate::Whole(200, b"body".to_vec());

    assert_fate(
        &house,
        &endpoint,
        &[Act::send(format!("{first}{EVIL}"))],
        is_first,
    )
    .await;
    assert_fate(&house, &endpoint, &[Act::send(format!("{first}x"))], is_first).await;
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n{EVIL}");
    assert_fate(&house, &endpoint, &[Act::send(chunked)], is_first).await;

    for dial in [house.plain(), house.h2()] {
        for late in [
            EVIL,
            "HTTP/1.1 103 Early Hints\r\n\r\n",
            "HTTP/1.1 408 Request Timeout\r\n\r\n",
            "\r\n",
            "x",
        ] {
            endpoint.play(&[Act::send(first), Act::Wait, Act::send(late)]);
            let mut client = dial.connect().await.unwrap();
            assert_eq!(
                fate(&mut client, Method::GET).await,
                Fate::Whole(200, b"body".to_vec())
            );
            endpoint.go_on();
            endpoint.played().await;
            for _ in 0..3 {
                assert_good(&mut client, &dial).await;
            }
        }
    }
}

/// RFC 9110 15.2, RFC 8297: interim answers pass, in order, before the one final answer.
#[tokio::test(flavor = "multi_thread")]
async fn early_hints_pass_before_the_answer() {
    let (house, endpoint) = open().await;
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nconnection: x-mine\r\nx-mine: 1\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
    endpoint.play(&[Act::send(hint), Act::Wait, Act::send(last)]);

    for dial in [house.plain(), house.h1()] {
        let mut connection = RawConnection::open(&dial).await;
        let request = format!("GET /open/bad HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        let early = connection.ask(request.as_bytes()).await;
        assert_eq!(early.status, 103, "before the endpoint says more");
        assert_eq!(early.headers["link"], "</style.css>; rel=preload");
        assert!(!early.headers.contains_key("x-mine"), "{early:?}");
        endpoint.go_on();
        let answer = connection.answer().await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"body"[..]));
    }
    let mut wire = crate::support::h2wire::H2Wire::open(&house.h2(), &[]).await;
    assert!(
        wire.write(&crate::support::h2wire::get(1, "/open/bad", HOST))
            .await
    );
    let early = wire.answer(1).await;
    assert_ne!(early[0], 0x88, "103 is no 200");
    endpoint.go_on();
    assert_eq!(wire.answer(1).await[0], 0x88);
    // HTTP/1.0 knows no interim answers (RFC 9110 15.2).
    endpoint.go_on();
    let old = house
        .plain()
        .raw(format!("GET /open/bad HTTP/1.0\r\nhost: {HOST}\r\n\r\n").as_bytes())
        .await;
    assert!(!old.contains("103") && old.ends_with("body"), "{old}");
    // Nobody waited for a 100.
    endpoint.play(&[Act::send("HTTP/1.1 100 Continue\r\n\r\n"), Act::send(last)]);
    let mut client = house.plain().connect().await.unwrap();
    assert_eq!(
        fate(&mut client, Method::POST).await,
        Fate::Whole(200, b"body".to_vec())
    );
}

/// RFC 9110 7.8, CVE-2026-2833: nothing behind an upgrade request leaves before the endpoint's 101.
#[tokio::test(flavor = "multi_thread")]
async fn no_byte_behind_an_upgrade_leaves_before_the_endpoint_agreed() {
    let (house, endpoint) = open().await;
    let ask = format!(
        "GET /open/bad/socket HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    // As the next request it is one that the gateway refuses; as bytes of a tunnel the endpoint would serve it.
    let smuggled = format!("GET /internal HTTP/1.1\r\nhost: {HOST}\r\n\r\n");

    for refusal in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nbody",
    ] {
        endpoint.play(&[Act::send(refusal)]);
        let mut connection = RawConnection::open(&house.plain()).await;
        let answer = connection.ask(format!("{ask}{smuggled}").as_bytes()).await;
        assert_ne!(answer.status, 101);
        assert_eq!(&answer.body[..], b"body");
        if answer
            .headers
            .get("connection")
            .is_none_or(|value| value != "close")
        {
            assert_eq!(connection.answer().await.status, 404);
        }
        assert!(
            endpoint
                .requests()
                .iter()
                .all(|request| !request.contains("internal"))
        );
    }
    for odd in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\ncontent-length: 4\r\nconnection: upgrade\r\n\r\nevil",
    ] {
        endpoint.play(&[Act::send(odd), Act::Hang]);
        let mut connection = RawConnection::open(&house.plain()).await;
        let answer = connection.ask(ask.as_bytes()).await;
        house.assert_refused(&answer, 502, "endpoint-protocol");
    }
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    endpoint.play(&[Act::send(agreed), Act::send("raw bytes"), Act::Close]);
    let mut connection = RawConnection::open(&house.plain()).await;
    assert_eq!(connection.ask(ask.as_bytes()).await.status, 101);
    assert_eq!(connection.rest().await.as_deref(), Some(&b"raw bytes"[..]));
}

/// A head that drips from an endpoint is cut at the route's deadline like silence.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_in_part_and_hangs_is_a_504_or_a_broken_body() {
    let (house, endpoint) = open().await;
    let since = Instant::now();

    endpoint.play(&[Act::send("HTTP/1.1 200 OK\r\nx: "), Act::Hang]);
    let mut client = house.plain().connect().await.unwrap();
    let late = fate(&mut client, Method::POST).await;
    assert_eq!(late, Fate::Refused(504, "endpoint-timeout".to_owned()));
    endpoint.play(&[
        Act::send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf"),
        Act::Hang,
    ]);
    for dial in [house.plain(), house.h2()] {
        let mut client = dial.connect().await.unwrap();
        assert_eq!(fate(&mut client, Method::POST).await, Fate::Broken(200));
    }

    assert!(since.elapsed() < PATIENCE);
}
