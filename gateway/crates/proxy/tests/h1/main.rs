//! The HTTP/1.1 door over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it stands"
)]

mod endpoints;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use http::StatusCode;
use portcullis_model::Reason;
use portcullis_pipeline::Ending;
use portcullis_pipeline::plan::ListenerRole;
use support::endpoint::{Endpoint, answer};
use support::{House, plan, route, until, with_body_policy, with_contract};
use tokio::io::AsyncWriteExt;

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: api.example.com\r\n\r\n";
const GET_CLOSE: &str = "GET /a HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";

fn post(body: &str) -> String {
    format!(
        "POST /orders HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_request_reaches_its_endpoint_and_the_answer_comes_back() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));

    let answer = house.ask(GET_CLOSE).await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("pingora"), "{answer}");
    let seen = endpoint.seen();
    assert!(seen.starts_with("GET /a HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.to_ascii_lowercase().contains("x-forwarded-for: 127.0.0.1"),
        "{seen}"
    );
    let records = house.records(1).await;
    assert_eq!(records[0].status, Some(StatusCode::OK));
    assert_eq!(records[0].ending, Ending::Complete);
    assert_eq!(records[0].bytes_out, 5);
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));
    let mut client = house.connect().await;

    for _ in 0..5 {
        client.send(GET.as_bytes()).await;
        client.until("hello").await;
    }

    assert_eq!(endpoint.connections(), 1);
    assert_eq!(house.records(5).await.len(), 5);
}

#[tokio::test]
async fn an_http10_client_gets_no_chunks() {
    let endpoint = Endpoint::start(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()
    })
    .await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));

    let old = house.ask("GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
    let new = house.ask(GET_CLOSE).await;

    assert!(old.ends_with("\r\n\r\nhello"), "{old}");
    assert!(!old.to_ascii_lowercase().contains("transfer-encoding"), "{old}");
    assert!(new.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{new}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let endpoint = Endpoint::start(|head| answer(head.split(' ').nth(1).unwrap())).await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));
    let mut client = house.connect().await;
    let pair =
        "GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

    client.send(pair.as_bytes()).await;
    let answers = client.rest().await;

    let (one, two) = (answers.find("/one").unwrap(), answers.find("/two").unwrap());
    assert!(one < two, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[tokio::test]
async fn what_follows_a_refused_request_is_never_served() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(plan(route("orders"), &[endpoint.address])));
    let refused = "POST /unknown HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n";

    let answers = house
        .ask(&format!("{refused}GET /orders HTTP/1.1\r\nHost: h\r\n\r\n"))
        .await;

    assert!(answers.starts_with("HTTP/1.1 404"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn a_head_that_drips_is_answered_408_at_the_deadline() {
    let endpoint = Endpoint::hello().await;
    let mut plan = plan(route("orders"), &[endpoint.address]);
    plan.listeners[0].limits.header_timeout = Duration::from_millis(300);
    let house = House::open(plan);
    let mut client = house.connect().await;

    let mut drip = tokio::time::interval(Duration::from_millis(20));
    for byte in GET.as_bytes().iter().cycle().take(40) {
        drip.tick().await;
        if client.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    let answer = client.rest().await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"head-timeout\""), "{answer}");
    assert_eq!(house.records(1).await[0].reason, Some(Reason::HeadTimeout));
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn malformed_heads_are_refused_by_us_and_recorded() {
    let endpoint = Endpoint::hello().await;
    let mut plan = plan(route("orders"), &[endpoint.address]);
    plan.listeners[0].limits.max_header_bytes = 512;
    let house = House::open(plan);
    let cases = [
        (
            "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
            "frame-malformed",
        ),
        ("GET / HTTP/3.0\r\nHost: h\r\n\r\n", "505", "version-unsupported"),
        (
            &format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(600)),
            "431",
            "head-too-large",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "400", "host-missing"),
        (
            "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
            "501",
            "method-unsupported",
        ),
    ];

    for (head, status, code) in cases {
        let answer = house.ask(head).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {answer}"
        );
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    }

    assert_eq!(house.records(5).await.len(), 5);
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn a_broken_chunked_body_is_refused_and_the_connection_closed() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));
    let head = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

    let answer = house.ask(&format!("{head}3\r\nabc\r\nzz\r\n")).await;

    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("frame-malformed"), "{answer}");
}

#[tokio::test]
async fn an_invalid_body_never_reaches_the_endpoint_not_even_its_head() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(plan(route("orders"), &[endpoint.address])));

    let mut client = house.connect().await;

    client
        .send(post(r#"{"item":"far too long for it"}"#).as_bytes())
        .await;
    let answer = client.until("]}").await;

    assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
    assert!(answer.contains("\"pointer\":\"/item\""), "{answer}");
    assert_eq!(endpoint.seen(), "");
    assert_eq!(house.records(1).await[0].reason, Some(Reason::BodyInvalid));
    client.send(post(r#"{"item":7}"#).as_bytes()).await;
    client.until("]}").await;
    assert_eq!(
        endpoint.connections(),
        0,
        "no endpoint is asked before the verdict"
    );
}

#[tokio::test]
async fn a_valid_body_passes_at_every_size() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(plan(route("orders"), &[endpoint.address])));
    let mut client = house.connect().await;

    for size in [0, 1_000, 70_000, 500_000] {
        let body = format!(r#"{{"item":"tea","note":"{}"}}"#, "n".repeat(size));
        client.send(post(&body).as_bytes()).await;
        let answer = client.until("hello").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        until(|| endpoint.seen().ends_with(&body)).await;
    }

    let too_large = format!(r#"{{"item":"tea","note":"{}"}}"#, "n".repeat(2_000_000));
    let answer = house.ask(&post(&too_large)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_under_a_contract_leaves_with_its_length() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(plan(route("orders"), &[endpoint.address])));
    let head = "POST /orders HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

    let answer = house
        .ask(&format!("{head}8\r\n{{\"item\":\r\n6\r\n\"tea\"}}\r\n0\r\n\r\n"))
        .await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = endpoint.seen().to_ascii_lowercase();
    assert!(seen.contains("content-length: 14\r\n"), "{seen}");
    assert!(!seen.contains("transfer-encoding"), "{seen}");
    assert!(seen.ends_with("{\"item\":\"tea\"}"), "{seen}");
}

#[tokio::test]
async fn a_streamed_chunked_body_stays_chunked() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));
    let head = "POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";

    let answer = house.ask(&format!("{head}5\r\nabcde\r\n0\r\n\r\n")).await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        endpoint.seen().ends_with("5\r\nabcde\r\n0\r\n\r\n"),
        "{}",
        endpoint.seen()
    );
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_continue_and_the_connection_stays() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(plan(route("orders"), &[endpoint.address])));
    let mut client = house.connect().await;
    let body = r#"{"item":"tea"}"#;
    let whole = post(body).replace("Content-Length", "Expect: 100-continue\r\nContent-Length");
    let (head, _) = whole.split_at(whole.len() - body.len());

    client.send(head.as_bytes()).await;
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send(body.as_bytes()).await;
    let answer = client.until("hello").await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    client.send(whole.as_bytes()).await;
    client.until("hello").await;
    assert!(!endpoint.seen().to_ascii_lowercase().contains("expect"));
}

#[tokio::test]
async fn a_body_that_drips_is_answered_408() {
    let endpoint = Endpoint::hello().await;
    let mut plan = with_contract(plan(route("orders"), &[endpoint.address]));
    plan.listeners[0].limits.header_timeout = Duration::from_millis(200);
    let house = House::open(plan);

    let answer = house.ask(&post(r#"{"item":"tea"}"#).replace("tea\"}", "t")).await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("body-timeout"), "{answer}");
    assert_eq!(endpoint.seen(), "");
}

#[tokio::test]
async fn a_websocket_passes_where_the_route_allows_it() {
    let endpoint = Endpoint::start(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: x\r\n\r\n"
            .to_vec()
    })
    .await;
    let mut open = route("orders");
    open.websocket = true;
    let house = House::open(plan(open, &[endpoint.address]));
    let closed = House::open(plan(route("orders"), &[endpoint.address]));
    let request = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let mut client = house.connect().await;

    client.send(request.as_bytes()).await;
    let head = client.until("\r\n\r\n").await;
    client.send(b"ping-1").await;
    client.until("ping-1").await;
    client.send(b"ping-2").await;
    client.until("ping-2").await;

    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("upgrade: websocket"), "{head}");
    let mut client = closed.connect().await;
    client.send(request.as_bytes()).await;
    assert!(client.until("}").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn an_upgrade_that_nobody_can_follow_is_not_asked_for() {
    let endpoint = Endpoint::start(|request| {
        assert!(!request.to_ascii_lowercase().contains("upgrade"), "{request}");
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
    })
    .await;
    let mut open = route("orders");
    open.websocket = true;
    let house = House::open(plan(open, &[endpoint.address]));

    let old = house
        .ask("GET /ws HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .await;
    let unsaid = house
        .ask("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n")
        .await;

    assert!(old.ends_with("ok"), "{old}");
    assert!(unsaid.ends_with("ok"), "{unsaid}");
}

#[tokio::test]
async fn a_redirecting_listener_sends_to_https_and_serves_nothing() {
    let endpoint = Endpoint::hello().await;
    let mut plan = plan(route("orders"), &[endpoint.address]);
    plan.listeners[0].role = ListenerRole::RedirectToHttps { port: 8443 };
    let house = House::open(plan);

    let answer = house
        .ask(&GET.replace("Host: ", "Connection: close\r\nHost: "))
        .await;

    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(
        answer.contains("location: https://api.example.com:8443/a?b=c\r\n"),
        "{answer}"
    );
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn an_address_has_its_share_of_connections() {
    let endpoint = Endpoint::hello().await;
    let mut plan = plan(route("orders"), &[endpoint.address]);
    plan.listeners[0].limits.per_address = 1;
    let house = House::open(plan);
    let mut first = house.connect().await;
    first.send(GET.as_bytes()).await;
    first.until("hello").await;

    let second = house.ask(GET).await;

    assert_eq!(second, "");
}

#[tokio::test]
async fn the_last_request_of_a_connections_share_is_told_to_close() {
    let endpoint = Endpoint::hello().await;
    let mut plan = plan(route("orders"), &[endpoint.address]);
    plan.listeners[0].limits.requests_per_connection = 2;
    let house = House::open(plan);
    let mut client = house.connect().await;

    client.send(GET.as_bytes()).await;
    let first = client.until("hello").await;
    client.send(GET.as_bytes()).await;
    let last = client.rest().await;

    assert!(
        !first.to_ascii_lowercase().contains("connection: close"),
        "{first}"
    );
    assert!(last.to_ascii_lowercase().contains("connection: close"), "{last}");
    assert!(last.ends_with("hello"), "{last}");
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_returns_when_it_is_done() {
    let endpoint = Endpoint::hello().await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));
    let mut client = house.connect().await;
    client.send(GET.as_bytes()).await;
    client.until("hello").await;
    let proxy = &house.proxy;

    let drained = proxy.drain(Duration::from_secs(10));
    let last = async {
        client.send(GET.as_bytes()).await;
        client.rest().await
    };
    let (is_drained, last) = tokio::join!(drained, last);

    assert!(is_drained);
    assert!(last.ends_with("hello"), "{last}");
    assert_eq!(proxy.connections(), 0);
    assert!(tokio::net::TcpStream::connect(house.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_requests_pass_without_a_failure() {
    let endpoint = Endpoint::hello().await;
    let house = std::sync::Arc::new(House::open(with_contract(plan(
        route("orders"),
        &[endpoint.address],
    ))));
    let request = post(r#"{"item":"tea"}"#);

    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (house, request) = (std::sync::Arc::clone(&house), request.clone());
            tokio::spawn(async move {
                let mut client = house.connect().await;
                for _ in 0..150 {
                    client.send(request.as_bytes()).await;
                    let answer = client.until("hello").await;
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }

    let records = house.records(16 * 150).await;
    assert!(
        records
            .iter()
            .all(|record| record.ending == Ending::Complete && record.attempts.len() == 1)
    );
    assert!(endpoint.connections() <= 32, "{}", endpoint.connections());
}

#[tokio::test]
async fn a_policy_reads_the_body_before_anything_leaves() {
    let endpoint = Endpoint::hello().await;
    let bare = House::open(with_body_policy(plan(route("orders"), &[endpoint.address])));
    let mut under_contract = with_body_policy(with_contract(plan(route("orders"), &[endpoint.address])));
    under_contract.routes[0].body_max = Some(64 * 1024);
    let under_contract = House::open(under_contract);

    for house in [&bare, &under_contract] {
        let before = endpoint.seen();
        let mut client = house.connect().await;
        client.send(post(r#"{"item":"coffee"}"#).as_bytes()).await;
        let refused = client.until("}").await;
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
        assert_eq!(endpoint.seen(), before);

        client.send(post(r#"{"item":"tea"}"#).as_bytes()).await;
        let allowed = client.until("hello").await;
        assert!(allowed.starts_with("HTTP/1.1 200 "), "{allowed}");
        assert!(
            endpoint.seen().ends_with(r#"{"item":"tea"}"#),
            "{}",
            endpoint.seen()
        );
    }
}
