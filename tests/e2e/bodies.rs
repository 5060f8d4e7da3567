//! Bodies: the cork that keeps an invalid one away from the endpoint, whole ones at every size, and policies that read
//! them.

use bytes::Bytes;
use http::Method;
use hyper::body::Frame;
use serde_json::json;

use crate::support::client::pieces;
use crate::support::house::{CONTRACT, LISTENERS, order_of};
use crate::support::pki::write;
use crate::support::{Behaviour, Endpoint, House, RawConnection, Recorder};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const KIB: usize = 1024;

const READER: &str = r#"
package reader

decision := {"allow": input.request.body.count < 5, "reason": "too many at once"}
"#;

fn open(pool: &str) -> House {
    let text = format!(
        r#"{LISTENERS}{CONTRACT}
policies: {{ reader: {{ rego: reader.rego, decision: data.reader.decision, body: true }} }}
pools: {{ main: {pool} }}
routes:
  - {{ name: api, match: {{ path: "/api/**" }}, public: true, contract: orders, pool: main, body: {{ max: 300KiB }} }}
  - {{ name: watched, match: {{ path: "/api/**", headers: {{ x-watch: "1" }} }}, public: true, contract: {{ name: orders, mode: observe }}, pool: main }}
  - {{ name: read, match: {{ path: "/read" }}, public: true, authorize: [reader], pool: main, body: {{ max: 60KiB }} }}
  - {{ name: both, match: {{ path: "/api/orders", headers: {{ x-read: "1" }} }}, public: true, contract: orders, authorize: [reader], pool: main, body: {{ max: 60KiB }} }}
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}
"#
    );
    House::open_with(&text, |folder, _| write(&folder.join("reader.rego"), READER))
}

fn at(address: std::net::SocketAddr) -> String {
    format!("{{ endpoints: [{{ address: \"{address}\" }}] }}")
}

/// An order of this size whose last member breaks the contract.
fn invalid_order(size: usize) -> String {
    order_of(size)
        .replacen("\"count\":1,", "", 1)
        .replacen('}', ",\"count\":99}", 1)
}

fn chunked(body: &str) -> Vec<u8> {
    let mut bytes = b"POST /api/orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in body.as_bytes().chunks(7_000) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn frames(body: &str) -> Vec<Frame<Bytes>> {
    body.as_bytes()
        .chunks(7_000)
        .map(|piece| Frame::data(Bytes::copy_from_slice(piece)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_body_leaves_not_one_byte_at_the_endpoint() {
    let recorder = Recorder::start().await;
    let house = open(&at(recorder.address));

    for size in [40, 60 * KIB, 200 * KIB] {
        let body = invalid_order(size);
        for dial in [house.plain(), house.h1(), house.h2()] {
            let mut client = dial.connect().await.unwrap();
            let whole = client
                .send(Method::POST, "/api/orders", JSON, body.as_bytes())
                .await
                .unwrap();
            house.assert_refused(&whole, 422, "body-invalid");
            let mut client = dial.connect().await.unwrap();
            let streamed = client
                .send_body(Method::POST, "/api/orders", JSON, pieces(frames(&body)))
                .await
                .unwrap();
            house.assert_refused(&streamed, 422, "body-invalid");
        }
        let mut connection = RawConnection::open(&house.plain()).await;
        let answer = connection.ask(&chunked(&body)).await;
        house.assert_refused(&answer, 422, "body-invalid");
        assert_eq!(recorder.text(), "", "{size} bytes");
    }
    let valid = house
        .h1()
        .send(Method::POST, "/api/orders", JSON, order_of(40).as_bytes())
        .await;

    assert_eq!((valid.status.as_u16(), &valid.body[..]), (200, &b"recorded"[..]));
    let seen = recorder.text();
    assert!(seen.starts_with("POST /api/orders HTTP/1.1\r\n"), "{seen}");
    assert_eq!(seen.matches("HTTP/1.1").count(), 1, "{seen}");
    assert!(seen.ends_with(&order_of(40)), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_short_leaves_not_one_byte_at_the_endpoint() {
    let recorder = Recorder::start().await;
    let house = open(&at(recorder.address));
    let order = order_of(40);

    for body in [&order[..20], &order[..39]] {
        let mut connection = RawConnection::open(&house.plain()).await;
        let head = "POST /api/orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n";
        assert!(connection.write(format!("{head}{body}").as_bytes()).await);
        drop(connection);
    }

    let is_upload = |line: &serde_json::Value| line["operation"] == "createOrder";
    house
        .gateway
        .access
        .wait_for("the aborted upload's line", is_upload);
    crate::support::wait_for("both lines", || {
        (house
            .gateway
            .access
            .all()
            .iter()
            .filter(|line| is_upload(line))
            .count()
            == 2)
            .then_some(())
    });
    assert!(
        house
            .gateway
            .access
            .all()
            .iter()
            .all(|line| line["status"] != 200)
    );
    assert_eq!(recorder.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_bodies_arrive_whole_at_every_size_and_protocol() {
    let endpoint = Endpoint::start("one").await;
    endpoint.behave(Behaviour::Echo);
    let over_h1 = open(&at(endpoint.address));
    let over_h2 = open(&format!(
        "{{ protocol: h2, endpoints: [{{ address: \"{}\" }}] }}",
        endpoint.address
    ));

    for house in [&over_h1, &over_h2] {
        for dial in [house.plain(), house.h1(), house.h2()] {
            let mut client = dial.connect().await.unwrap();
            for size in [40, 60 * KIB, 64 * KIB, 64 * KIB + 1, 300 * KIB] {
                let order = order_of(size);
                let whole = client
                    .send(Method::POST, "/api/orders", JSON, order.as_bytes())
                    .await
                    .unwrap();
                assert_eq!(
                    (whole.status.as_u16(), whole.body.len()),
                    (200, size),
                    "{:?}",
                    whole.headers
                );
                assert_eq!(whole.body, order.as_bytes());
                let streamed = client
                    .send_body(Method::POST, "/api/orders", JSON, pieces(frames(&order)))
                    .await
                    .unwrap();
                assert_eq!(
                    (streamed.status.as_u16(), streamed.body.len()),
                    (200, size),
                    "{:?}",
                    streamed.headers
                );
            }
            for size in [0, 10, 60 * KIB, 300 * KIB, 2048 * KIB] {
                let body = vec![b'x'; size];
                let answer = client.send(Method::PUT, "/open/x", &[], &body).await.unwrap();
                assert_eq!(
                    (answer.status.as_u16(), answer.body.len()),
                    (200, size),
                    "{:?}",
                    answer.headers
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_routes_limit_is_refused_declared_or_not() {
    let recorder = Recorder::start().await;
    let house = open(&at(recorder.address));
    let body = order_of(300 * KIB + 1);

    for dial in [house.plain(), house.h1(), house.h2()] {
        let mut client = dial.connect().await.unwrap();
        let declared = client
            .send(Method::POST, "/api/orders", JSON, body.as_bytes())
            .await
            .unwrap();
        house.assert_refused(&declared, 413, "body-too-large-declared");
        let mut client = dial.connect().await.unwrap();
        let streamed = client
            .send_body(Method::POST, "/api/orders", JSON, pieces(frames(&body)))
            .await
            .unwrap();
        house.assert_refused(&streamed, 413, "body-too-large");
    }

    assert_eq!(recorder.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_in_observe_mode_lets_pass_and_records() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&at(endpoint.address));
    let fields = [("content-type", "application/json"), ("x-watch", "1")];

    for dial in [house.plain(), house.h2()] {
        for (target, body, reason) in [
            ("/api/orders", invalid_order(40), "body-invalid"),
            ("/api/orders", "{".to_owned(), "body-malformed"),
            ("/api/other", "{}".to_owned(), "operation-unknown"),
        ] {
            let answer = dial.send(Method::POST, target, &fields, body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(endpoint.last().body, body.as_bytes());
            let line = house.gateway.access_line(&answer.request_id());
            assert_eq!(line["reason"], json!(null));
            assert_eq!(line["observed"][0]["guard"], "contract:orders", "{line}");
            assert_eq!(line["observed"][0]["reason"], reason, "{line}");
        }
        let fits = dial
            .send(Method::POST, "/api/orders", &fields, order_of(40).as_bytes())
            .await;
        assert_eq!(
            house.gateway.access_line(&fits.request_id())["observed"],
            json!(null)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_reads_the_body_decides_by_it() {
    let recorder = Recorder::start().await;
    let house = open(&at(recorder.address));
    let with_contract = [("content-type", "application/json"), ("x-read", "1")];

    for dial in [house.plain(), house.h1(), house.h2()] {
        for (target, fields) in [("/read", JSON), ("/api/orders", &with_contract[..])] {
            let many = dial
                .send(Method::POST, target, fields, br#"{"item":"a","count":7}"#)
                .await;
            house.assert_refused(&many, 403, "policy-denied");
            assert_eq!(many.json()["detail"], "too many at once");
            let twice = dial
                .send(
                    Method::POST,
                    target,
                    fields,
                    br#"{"item":"a","count":7,"count":1}"#,
                )
                .await;
            house.assert_refused(&twice, 400, "body-duplicate-key");
            let large = dial
                .send(Method::POST, target, fields, order_of(60 * KIB + 1).as_bytes())
                .await;
            house.assert_refused(&large, 413, "body-too-large-declared");
            let mut client = dial.connect().await.unwrap();
            let streamed = pieces(frames(&order_of(65 * KIB)));
            let large = client
                .send_body(Method::POST, target, fields, streamed)
                .await
                .unwrap();
            house.assert_refused(&large, 413, "body-too-large");
        }
        let invalid = dial
            .send(
                Method::POST,
                "/api/orders",
                &with_contract,
                br#"{"item":"a","count":0}"#,
            )
            .await;
        house.assert_refused(&invalid, 422, "body-invalid");
    }
    assert_eq!(recorder.text(), "");

    for dial in [house.plain(), house.h1(), house.h2()] {
        for (target, fields) in [("/read", JSON), ("/api/orders", &with_contract[..])] {
            let order = order_of(50 * KIB);
            let mut client = dial.connect().await.unwrap();
            let whole = client
                .send(Method::POST, target, fields, order.as_bytes())
                .await
                .unwrap();
            assert_eq!(whole.status, 200, "{whole:?}");
            assert!(recorder.text().ends_with(&order), "the whole body arrives once");
            let streamed = client
                .send_body(Method::POST, target, fields, pieces(frames(&order)))
                .await
                .unwrap();
            assert_eq!(streamed.status, 200, "{streamed:?}");
        }
    }
}
