//! Trailers pass both ways, whatever each side speaks; so do ranges.

use bytes::Bytes;
use http::{HeaderMap, Method};
use hyper::body::Frame;

use crate::support::client::pieces;
use crate::support::house::{CONTRACT, HOST, LISTENERS, order_of};
use crate::support::{Act, Behaviour, Endpoint, House, RawConnection, Scripted};

fn open(address: std::net::SocketAddr, protocol: &str) -> House {
    House::open(&format!(
        r#"{LISTENERS}{CONTRACT}
pools: {{ main: {{ protocol: {protocol}, endpoints: [{{ address: "{address}" }}] }} }}
routes:
  - {{ name: api, match: {{ path: "/api/**" }}, public: true, contract: orders, pool: main }}
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}
"#
    ))
}

fn chunked(target: &str, body: &str, trailers: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\nte: trailers\r\nconnection: te\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n{trailers}\r\n"
    )
    .into_bytes()
}

/// RFC 9110 6.5, RFC 9112 7.1.2, RFC 9113 8.1.
#[tokio::test(flavor = "multi_thread")]
async fn a_requests_trailers_reach_the_endpoint() {
    let endpoint = Endpoint::start("one").await;
    for protocol in ["h1", "h2"] {
        let house = open(endpoint.address, protocol);
        let order = order_of(5_000);
        for (target, body) in [("/open/x", "body"), ("/api/orders", order.as_str())] {
            for dial in [house.plain(), house.h1()] {
                let mut connection = RawConnection::open(&dial).await;
                for _ in 0..2 {
                    let request = chunked(target, body, "x-checksum: abc\r\nx-more: 1\r\nx-more: 2\r\n");
                    assert_eq!(connection.ask(&request).await.status, 200);
                    assert_received(&endpoint, target, body, protocol);
                }
            }
            let mut client = house.h2().connect().await.unwrap();
            for _ in 0..2 {
                let mut trailers = HeaderMap::new();
                trailers.append("x-checksum", "abc".parse().unwrap());
                trailers.append("x-more", "1".parse().unwrap());
                trailers.append("x-more", "2".parse().unwrap());
                let frames = vec![
                    Frame::data(Bytes::copy_from_slice(body.as_bytes())),
                    Frame::trailers(trailers),
                ];
                let fields = [("content-type", "application/json"), ("te", "trailers")];
                let answer = client
                    .send_body(Method::POST, target, &fields, pieces(frames))
                    .await
                    .unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_received(&endpoint, target, body, protocol);
            }
        }
    }
}

fn assert_received(endpoint: &Endpoint, target: &str, body: &str, protocol: &str) {
    let received = endpoint.last();
    assert_eq!(received.body, body);
    // A body that was held for its contract leaves with its length, and HTTP/1.1 has no trailers then.
    if target.starts_with("/api") && protocol == "h1" {
        return;
    }
    let trailers = received
        .trailers
        .unwrap_or_else(|| panic!("trailers of {target} over {protocol}"));
    assert_eq!(trailers["x-checksum"], "abc");
    assert_eq!(trailers.get_all("x-more").iter().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answers_trailers_reach_the_client() {
    let (h1, h2) = (Scripted::start().await, Endpoint::start("one").await);
    h1.play(&[Act::send("HTTP/1.1 200 OK\r\ntrailer: grpc-status\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\ngrpc-status: 0\r\n\r\n")]);
    h2.behave(Behaviour::Trailers);

    for house in [open(h1.address, "h1"), open(h2.address, "h2")] {
        for dial in [house.plain(), house.h1()] {
            let mut connection = RawConnection::open(&dial).await;
            for _ in 0..2 {
                let request = format!(
                    "GET /open/bad HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\nconnection: te\r\n\r\n"
                );
                let answer = connection.ask(request.as_bytes()).await;
                assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"body"[..]));
                assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
            }
        }
        let mut client = house.h2().connect().await.unwrap();
        for _ in 0..2 {
            let answer = client
                .send(Method::GET, "/open/bad", &[("te", "trailers")], b"")
                .await
                .unwrap();
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"body"[..]));
            assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        }
    }
}

/// RFC 9110 6.5.1: who the client is cannot be said after the body either.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_trailer_that_frames_or_identifies_never_reaches_the_endpoint() {
    let endpoint = Endpoint::start("one").await;
    for protocol in ["h1", "h2"] {
        let house = open(endpoint.address, protocol);
        for name in [
            "content-length",
            "host",
            "authorization",
            "cookie",
            "x-forwarded-for",
            "x-real-ip",
            "x_forwarded_for",
            "x-portcullis-principal",
        ] {
            endpoint.forget();
            let mut client = house.h2().connect().await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.append(http::HeaderName::from_static(name), "6".parse().unwrap());
            let frames = vec![
                Frame::data(Bytes::from_static(b"body")),
                Frame::trailers(trailers),
            ];

            let answer = client
                .send_body(Method::POST, "/open/x", &[], pieces(frames))
                .await;

            let is_refused = answer.as_ref().is_ok_and(|answer| answer.status == 400) || answer.is_err();
            let has_passed = endpoint.received().iter().any(|one| {
                one.trailers
                    .as_ref()
                    .is_some_and(|trailers| trailers.contains_key(name))
            });
            assert!(!has_passed, "{name} over {protocol}");
            assert!(is_refused, "{name} over {protocol}: {answer:?}");
            let next = house.h2().get("/open/x", &[]).await;
            assert_eq!(next.status, 200);
        }
    }
}

/// RFC 9110 14: a part is the endpoint's to give; the gateway changes neither the wish nor the part.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_passes_as_it_was_asked_and_answered() {
    let endpoint = Scripted::start().await;
    let house = open(endpoint.address, "h1");
    endpoint.play(&[Act::send("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-5/10\r\netag: \"v1\"\r\naccept-ranges: bytes\r\ncontent-length: 4\r\n\r\npart")]);

    for dial in [house.plain(), house.h1(), house.h2()] {
        let fields = [("range", "bytes=2-5"), ("if-range", "\"v1\"")];
        let answer = dial.get("/open/bad", &fields).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (206, &b"part"[..]));
        assert_eq!(answer.headers["content-range"], "bytes 2-5/10");
        assert_eq!(answer.headers["etag"], "\"v1\"");
        let asked = endpoint.requests().pop().unwrap().to_ascii_lowercase();
        assert!(
            asked.contains("\r\nrange: bytes=2-5\r\n") && asked.contains("\r\nif-range: \"v1\"\r\n"),
            "{asked}"
        );
    }
    endpoint.play(&[Act::send(
        "HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */10\r\ncontent-length: 0\r\n\r\n",
    )]);
    for dial in [house.plain(), house.h2()] {
        let answer = dial.get("/open/bad", &[("range", "bytes=90-")]).await;
        assert_eq!(answer.status, 416);
        assert_eq!(answer.headers["content-range"], "bytes */10");
    }
}

/// RFC 9110 9.3.2: what HEAD says of a body is what GET would send, and no byte of one.
#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_a_head_pass_without_a_body() {
    let endpoint = Scripted::start().await;
    let house = open(endpoint.address, "h1");
    for (said, field, value) in [
        ("content-length: 12345", "content-length", "12345"),
        ("transfer-encoding: chunked", "x-kind", "any"),
        ("etag: \"v1\"", "etag", "\"v1\""),
    ] {
        endpoint.play(&[Act::send(format!(
            "HTTP/1.1 200 OK\r\nx-kind: any\r\n{said}\r\n\r\n"
        ))]);
        for dial in [house.plain(), house.h1()] {
            let mut connection = RawConnection::open(&dial).await;
            let head = format!("HEAD /open/bad HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
            assert!(connection.write(head.as_bytes()).await);
            let (status, headers) = connection.head().await;
            assert_eq!(
                (status.as_u16(), headers[field].to_str().unwrap()),
                (200, value),
                "{said}"
            );
            let next = connection
                .ask(head.replace("HEAD /open/bad", "GET /open/x").as_bytes())
                .await;
            assert_eq!(
                (next.status.as_u16(), &next.body[..]),
                (200, &b"good"[..]),
                "{said}"
            );
        }
        let answer = house.h2().send(Method::HEAD, "/open/bad", &[], b"").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{said}");
    }
}
