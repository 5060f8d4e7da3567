//! Nobody but the gateway says who asks: not in another spelling, not nominated, not in a trailer, not over HTTP/2.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper::body::Frame;
use serde_json::json;

use super::{IDENTITY, Scene, the_assertion, verify};
use crate::support::RawConnection;
use crate::support::client::pieces;
use crate::support::house::HOST;

/// Names by which a client could claim to be somebody.
const NAMES: [&str; 14] = [
    "x-portcullis-identity",
    "X-Portcullis-Identity",
    "X-PORTCULLIS-IDENTITY",
    "x_portcullis_identity",
    "X_Portcullis-Identity",
    "x-portcullis_identity",
    "x.portcullis.identity",
    "x-portcullis-identity-extra",
    "x-forwarded-client-cert",
    "X-Forwarded-Client-Cert",
    "x_forwarded_client_cert",
    "x-forwarded_client-cert",
    "x.forwarded.client.cert",
    "x-forwarded-user",
];

const SPOOFED: &str = "By=spiffe://corp.example/spoofed;URI=spiffe://corp.example/spoofed";

fn assert_not_believed(headers: &HeaderMap, case: &str) {
    let is_spoofed = |value: &HeaderValue| value.as_bytes().windows(7).any(|part| part == b"spoofed");
    assert!(!headers.values().any(is_spoofed), "{case}: {headers:?}");
}

/// Traefik CVE-2024-45410, Envoy CVE-2024-45806, APISIX CVE-2026-31908.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_gateway_says_who_asks() {
    let scene = Scene::set().await;
    let keys = scene.keys().await;
    let bearer = scene.house.bearer("alice", json!({}));
    let mut raw = [
        RawConnection::open(&scene.house.plain()).await,
        RawConnection::open(&scene.house.h1()).await,
    ];
    let mut h2 = scene.house.h2().connect().await.unwrap();

    for name in NAMES {
        for target in ["/told/x", "/untold/x", "/open/x", "/bare/x"] {
            let is_told = target == "/told/x";
            let check = |case: &str| {
                let headers = scene.endpoint.last().headers;
                assert_not_believed(&headers, case);
                if is_told {
                    let claims = verify(the_assertion(&headers), &keys, "orders").unwrap();
                    assert_eq!(claims["sub"], "idp:alice", "{case}");
                } else {
                    assert!(!headers.contains_key(IDENTITY), "{case}: {headers:?}");
                }
            };
            for nominated in ["", "connection: ", "connection: close-ish, "] {
                let nomination = match nominated {
                    "" => String::new(),
                    start => format!("{start}{name}\r\n"),
                };
                let request = format!(
                    "GET {target} HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {bearer}\r\n{nomination}{name}: {SPOOFED}\r\n{name}: {SPOOFED}\r\n\r\n"
                );
                for connection in &mut raw {
                    let answer = connection.ask(request.as_bytes()).await;
                    assert_eq!(answer.status, 200, "{request}: {answer:?}");
                    check(&request);
                }
            }
            let lower = name.to_ascii_lowercase();
            let fields = [
                ("authorization", bearer.as_str()),
                (lower.as_str(), SPOOFED),
                (lower.as_str(), SPOOFED),
            ];
            let answer = h2.send(Method::GET, target, &fields, b"").await.unwrap();
            assert_eq!(answer.status, 200, "h2 {name} {target}: {answer:?}");
            check(&format!("h2 {name} {target}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_that_says_who_asks_reaches_no_endpoint() {
    let scene = Scene::set().await;
    let bearer = scene.house.bearer("alice", json!({}));
    for name in [
        "x-portcullis-identity",
        "x_portcullis_identity",
        "x.portcullis.identity",
        "x-forwarded-client-cert",
    ] {
        let before = scene.endpoint.requests();
        let mut connection = RawConnection::open(&scene.house.plain()).await;
        let request = format!(
            "POST /told/x HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {bearer}\r\ntransfer-encoding: chunked\r\n\r\n\
             1\r\na\r\n0\r\n{name}: {SPOOFED}\r\n\r\n"
        );
        let answer = connection.ask(request.as_bytes()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}: {answer:?}");

        let mut client = scene.house.h2().connect().await.unwrap();
        let trailers = HeaderMap::from_iter([(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::from_static(SPOOFED),
        )]);
        let body = pieces(vec![Frame::data("a".into()), Frame::trailers(trailers)]);
        let fields = [("authorization", bearer.as_str())];
        let answer = client.send_body(Method::POST, "/told/x", &fields, body).await;
        assert!(
            answer.is_err() || answer.unwrap().status == StatusCode::BAD_REQUEST,
            "h2 {name}"
        );
        for request in scene.endpoint.received().iter().skip(before) {
            assert_not_believed(&request.headers, name);
            assert_eq!(request.trailers, None, "{name}");
        }
    }
}
