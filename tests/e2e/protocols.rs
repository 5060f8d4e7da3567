//! What passes through: kept connections, many streams at once, gRPC, WebSocket, and a client that waits.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use http::{Method, Version};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::support::house::{CONTRACT, HOST, LISTENERS, order_of};
use crate::support::{Behaviour, Endpoint, House, PATIENCE, RawConnection, wait_until};

fn open(pool: &str) -> House {
    House::open(&format!(
        r#"{LISTENERS}{CONTRACT}
pools: {{ main: {pool} }}
routes:
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}
  - {{ name: grpc, match: {{ path: "/orders.Orders/**", methods: [POST] }}, public: true, pool: main }}
  - {{ name: socket, match: {{ path: /socket }}, public: true, upgrade: [websocket], pool: main }}
  - {{ name: api, match: {{ path: "/api/**" }}, public: true, contract: orders, pool: main }}
"#
    ))
}

fn h1_pool(address: SocketAddr) -> String {
    format!("{{ endpoints: [{{ address: \"{address}\" }}] }}")
}

fn h2_pool(address: SocketAddr) -> String {
    format!("{{ protocol: h2, endpoints: [{{ address: \"{address}\" }}] }}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_requests_on_both_sides() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&h1_pool(endpoint.address));

    for dial in [house.plain(), house.h1(), house.h2()] {
        let mut client = dial.connect().await.unwrap();
        for number in 0..10 {
            let target = format!("/open/{number}");
            let answer = client.send(Method::GET, &target, &[], b"").await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(endpoint.last().target, target);
        }
        assert!(!client.is_closed());
    }

    assert_eq!(endpoint.requests(), 30);
    assert_eq!(
        endpoint.connections(),
        1,
        "one after another they need one connection to the endpoint"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_sent_ahead_are_answered_in_their_order() {
    let endpoint = Endpoint::start("one").await;
    endpoint.behave(Behaviour::Echo);
    let house = open(&h1_pool(endpoint.address));
    let post = |body: &str| {
        format!(
            "POST /open/p HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };

    for dial in [house.plain(), house.h1()] {
        let mut connection = RawConnection::open(&dial).await;
        let bytes = format!(
            "{}{}{}{}",
            post("first"),
            get("/nowhere"),
            post("third"),
            post("fourth")
        );
        assert!(connection.write(bytes.as_bytes()).await);

        assert_eq!(connection.answer().await.body, "first");
        assert_eq!(connection.answer().await.code(), "route-not-found");
        assert_eq!(connection.answer().await.body, "third");
        assert_eq!(connection.answer().await.body, "fourth");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_streams_share_a_connection_at_once() {
    let endpoint = Endpoint::start("one").await;
    for pool in [h1_pool(endpoint.address), h2_pool(endpoint.address)] {
        let house = open(&pool);
        let client = house.h2().connect().await.unwrap();
        let seen = endpoint.requests();
        endpoint.behave(Behaviour::Hang);
        let mut hanging = tokio::task::JoinSet::new();
        for number in 0..50 {
            let mut stream = client.same_connection().unwrap();
            hanging.spawn(async move {
                stream
                    .send(Method::GET, &format!("/open/{number}"), &[], b"")
                    .await
            });
        }
        wait_until("fifty requests under way", || {
            std::future::ready((endpoint.requests() == seen + 50).then_some(()))
        })
        .await;
        hanging.abort_all();
        endpoint.behave(Behaviour::Echo);

        let mut answers = tokio::task::JoinSet::new();
        for number in 0..50_usize {
            let mut stream = client.same_connection().unwrap();
            answers.spawn(async move {
                let body = vec![u8::try_from(number).unwrap(); number * 1000];
                let answer = stream.send(Method::POST, "/open/echo", &[], &body).await.unwrap();
                answer.status == 200 && answer.body == body
            });
        }
        while let Some(is_own) = answers.join_next().await {
            assert!(is_own.unwrap(), "every stream gets its own body back");
        }
        assert!(!client.is_closed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_call_passes_to_an_http2_endpoint() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&h2_pool(endpoint.address));
    endpoint.behave(Behaviour::Trailers);
    let message = b"\0\0\0\0\x04\x08\x07\x10\x01";
    let fields = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "5S"),
    ];

    let answer = house
        .h2()
        .send(Method::POST, "/orders.Orders/Read", &fields, message)
        .await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    let received = endpoint.last();
    assert_eq!(
        (received.version, received.target.as_str()),
        (Version::HTTP_2, "/orders.Orders/Read")
    );
    assert_eq!(received.headers["te"], "trailers");
    assert_eq!(received.headers["content-type"], "application/grpc");
    assert_eq!(received.headers["grpc-timeout"], "5S");
    assert_eq!(received.body, &message[..]);
}

/// A WebSocket server that says back what it hears.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        socket.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_where_the_route_says_so() {
    let house = open(&h1_pool(echo_server().await));

    for dial in [house.plain(), house.h1()] {
        let url = format!("ws://{HOST}/socket");
        let (mut socket, answer) = tokio_tungstenite::client_async(url, dial.wire().await.unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), 101);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        for message in [
            Message::text("hello"),
            Message::binary(vec![7; 100_000]),
            Message::text(""),
        ] {
            socket.send(message.clone()).await.unwrap();
            let said = tokio::time::timeout(PATIENCE, socket.next())
                .await
                .expect("an echo");
            assert_eq!(said.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        let closed =
            tokio::time::timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} }).await;
        assert!(closed.is_ok(), "the connection ends when the endpoint ends it");
        let line = house.gateway.access_line(&id);
        assert_eq!(
            (&line["status"], &line["route"]),
            (&json!(101), &json!("socket")),
            "{line}"
        );
        assert!(line["bytes_in"].as_u64().unwrap() > 100_000, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_refused_where_the_route_does_not_say_so() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&h1_pool(endpoint.address));
    let ask = |path: &str, protocol: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: {protocol}\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    };

    for (path, protocol) in [
        ("/open/x", "websocket"),
        ("/open/x", "h2c"),
        ("/socket", "h2c"),
        ("/socket", "foo"),
    ] {
        let mut connection = RawConnection::open(&house.plain()).await;
        let answer = connection.ask(ask(path, protocol).as_bytes()).await;
        house.assert_refused(&answer, 400, "upgrade-not-allowed");
    }
    assert_eq!(endpoint.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_without_a_body_and_the_connection_goes_on() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&h1_pool(endpoint.address));
    endpoint.behave(Behaviour::Bytes(5000));

    for dial in [house.plain(), house.h1()] {
        let mut connection = RawConnection::open(&dial).await;
        let head = get("/open/x").replacen("GET", "HEAD", 1);
        assert!(connection.write(head.as_bytes()).await);
        let (status, headers) = connection.head().await;
        assert_eq!(
            (status.as_u16(), headers["content-length"].to_str().unwrap()),
            (200, "5000")
        );
        assert!(
            connection
                .write(head.replacen("/open/x", "/nowhere", 1).as_bytes())
                .await
        );
        let (status, headers) = connection.head().await;
        assert_eq!(
            (status.as_u16(), headers["content-type"].to_str().unwrap()),
            (404, "application/problem+json")
        );
        let next = connection.ask(get("/open/x").as_bytes()).await;
        assert_eq!((next.status.as_u16(), next.body.len()), (200, 5000));
    }
    let answer = house.h2().send(Method::HEAD, "/open/x", &[], b"").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.headers["content-length"], "5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_is_invited_unless_its_head_is_refused() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&h1_pool(endpoint.address));
    let order = order_of(200);
    let head = |kind: &str| {
        format!(
            "POST /api/orders HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: {kind}\r\ncontent-length: 200\r\nexpect: 100-continue\r\n\r\n"
        )
    };

    for dial in [house.plain(), house.h1()] {
        let mut connection = RawConnection::open(&dial).await;
        for _ in 0..2 {
            let invited = connection.ask(head("application/json").as_bytes()).await;
            assert_eq!(invited.status, 100);
            let answer = connection.ask(order.as_bytes()).await;
            assert_eq!(answer.status, 200);
            assert_eq!(endpoint.last().body, order.as_bytes());
            assert!(!endpoint.last().headers.contains_key("expect"), "settled here");
        }
        let seen = endpoint.requests();
        let refused = connection.ask(head("text/plain").as_bytes()).await;
        house.assert_refused(&refused, 415, "media-type");
        assert_eq!(endpoint.requests(), seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_answer_arrives_whole() {
    let endpoint = Endpoint::start("one").await;
    endpoint.behave(Behaviour::Bytes(1 << 20));
    for pool in [h1_pool(endpoint.address), h2_pool(endpoint.address)] {
        let house = open(&pool);
        for dial in [house.plain(), house.h1(), house.h2()] {
            let answer = dial.get("/open/x", &[]).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 1 << 20));
            assert!(answer.body.iter().all(|byte| *byte == b'x'));
            assert_eq!(
                house.gateway.access_line(&answer.request_id())["bytes_out"],
                1 << 20
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http10_client_is_answered_without_chunks() {
    let endpoint = Endpoint::start("one").await;
    endpoint.behave(Behaviour::Echo);
    let house = open(&h1_pool(endpoint.address));

    let answer = house
        .plain()
        .raw(format!("GET /open/x HTTP/1.0\r\nhost: {HOST}\r\n\r\n").as_bytes())
        .await;

    let head = answer.to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 200") || head.starts_with("http/1.0 200"),
        "{answer}"
    );
    assert!(!head.contains("transfer-encoding"), "{answer}");
}
