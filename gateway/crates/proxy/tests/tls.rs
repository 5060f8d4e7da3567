//! TLS and HTTP/2 over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it stands"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use portcullis_model::Reason;
use portcullis_proxy::{Probe, ProbeFault, probe};
use portcullis_routing::plan::{ProbePlan, Protocol};
use support::endpoint::{Endpoint, acceptor, answer, h2_echo};
use support::{Client, House, Pki, plan, route, tls, with_contract, with_spiffe_endpoint, with_tls};

const GET_CLOSE: &str = "GET /a HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";

async fn h2(house: &House, pki: &Pki) -> h2::client::SendRequest<Bytes> {
    let stream = tls(house, pki, "api.example.com", &[b"h2"]).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("https://api.example.com{path}");
    Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", "application/json")
        .body(())
        .unwrap()
}

async fn whole(mut body: h2::RecvStream) -> (Vec<u8>, Option<http::HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    (bytes, body.trailers().await.unwrap())
}

#[tokio::test]
async fn a_tls_request_goes_end_to_end() {
    let pki = Pki::new();
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_tls(
        plan(route("orders"), &[endpoint.address]),
        &pki.leaf("api.example.com"),
    ));

    let mut client = Client::new(
        tls(&house, &pki, "api.example.com", &[b"http/1.1"])
            .await
            .unwrap(),
    );
    client.send(GET_CLOSE.as_bytes()).await;
    let answer = client.rest().await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(house.records(1).await[0].tls, Some("TLSv1.3"));
}

#[tokio::test]
async fn an_unknown_name_gets_its_alert() {
    let pki = Pki::new();
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_tls(
        plan(route("orders"), &[endpoint.address]),
        &pki.leaf("api.example.com"),
    ));

    let error = tls(&house, &pki, "other.example.com", &[b"h2"])
        .await
        .unwrap_err();

    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

#[tokio::test]
async fn a_silent_handshake_is_closed_at_its_deadline() {
    let pki = Pki::new();
    let endpoint = Endpoint::hello().await;
    let mut plan = with_tls(
        plan(route("orders"), &[endpoint.address]),
        &pki.leaf("api.example.com"),
    );
    plan.listeners[0].limits.handshake_timeout = Duration::from_millis(200);
    let house = House::open(plan);

    let mut client = house.connect().await;
    client.send(&[22, 3, 1]).await;

    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn http2_goes_end_to_end_with_bodies_and_trailers_on_one_connection() {
    let pki = Pki::new();
    let (address, requests) = h2_echo().await;
    let mut plan = with_tls(plan(route("orders"), &[address]), &pki.leaf("api.example.com"));
    plan.routing.pools[0].protocol = Protocol::H2;
    let house = House::open(plan);
    let mut sender = h2(&house, &pki).await;

    for size in [3_usize, 300_000] {
        sender = sender.ready().await.unwrap();
        let (reply, mut body) = sender.send_request(request("POST", "/echo"), false).unwrap();
        let sent = vec![b'x'; size];
        body.reserve_capacity(size);
        let upload = sent.clone();
        tokio::spawn(async move { body.send_data(Bytes::from(upload), true).unwrap() });
        let response = reply.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (received, trailers) = whole(response.into_body()).await;
        assert_eq!(received, sent);
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
    }

    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert_eq!(house.records(2).await[1].protocol, "HTTP/2");
}

#[tokio::test]
async fn an_invalid_http2_body_is_refused_and_nothing_leaves() {
    let pki = Pki::new();
    let (address, requests) = h2_echo().await;
    let mut plan = with_contract(with_tls(
        plan(route("orders"), &[address]),
        &pki.leaf("api.example.com"),
    ));
    plan.routing.pools[0].protocol = Protocol::H2;
    let house = House::open(plan);
    let mut sender = h2(&house, &pki).await;

    let (reply, mut body) = sender.send_request(request("POST", "/orders"), false).unwrap();
    body.send_data(Bytes::from_static(br#"{"item":7}"#), true)
        .unwrap();
    let refused = reply.await.unwrap();
    let (problem, _) = whole(refused.into_body()).await;
    let (reply, mut body) = sender.send_request(request("POST", "/orders"), false).unwrap();
    body.send_data(Bytes::from_static(br#"{"item":"tea"}"#), true)
        .unwrap();
    let accepted = reply.await.unwrap();
    let (echo, _) = whole(accepted.into_body()).await;

    assert!(String::from_utf8_lossy(&problem).contains("body-invalid"));
    assert_eq!(echo, br#"{"item":"tea"}"#);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_http2_client_reaches_an_http11_endpoint() {
    let pki = Pki::new();
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_tls(
        plan(route("orders"), &[endpoint.address]),
        &pki.leaf("api.example.com"),
    ));
    let mut sender = h2(&house, &pki).await;

    let (reply, mut body) = sender.send_request(request("POST", "/a"), false).unwrap();
    body.send_data(Bytes::from_static(b"abc"), true).unwrap();
    let (received, _) = whole(reply.await.unwrap().into_body()).await;

    assert_eq!(received, b"hello");
    assert!(
        endpoint.seen().ends_with("3\r\nabc\r\n0\r\n\r\n"),
        "{}",
        endpoint.seen()
    );
}

#[tokio::test]
async fn an_early_refusal_resets_no_client_that_finishes_its_body_soon() {
    let pki = Pki::new();
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(with_tls(
        plan(route("orders"), &[endpoint.address]),
        &pki.leaf("api.example.com"),
    )));
    let mut sender = h2(&house, &pki).await;

    let (reply, mut upload) = sender.send_request(request("POST", "/unknown"), false).unwrap();
    whole(reply.await.unwrap().into_body()).await;
    // Another request on the connection: a reset of the first would have arrived by then.
    sender = sender.ready().await.unwrap();
    let (reply, _) = sender.send_request(request("GET", "/unknown"), true).unwrap();
    whole(reply.await.unwrap().into_body()).await;

    upload.send_data(Bytes::from_static(b"{}"), true).unwrap();
}

#[tokio::test]
async fn an_early_refusal_resets_a_client_that_never_finishes_its_body() {
    let pki = Pki::new();
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(with_tls(
        plan(route("orders"), &[endpoint.address]),
        &pki.leaf("api.example.com"),
    )));
    let mut sender = h2(&house, &pki).await;

    let (reply, mut upload) = sender.send_request(request("POST", "/unknown"), false).unwrap();
    whole(reply.await.unwrap().into_body()).await;
    let reset = std::future::poll_fn(|context| upload.poll_reset(context));
    let reason = tokio::time::timeout(Duration::from_secs(10), reset)
        .await
        .unwrap();

    assert_eq!(reason.unwrap(), h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn a_refusal_before_the_body_is_readable_and_the_connection_goes_on() {
    let pki = Pki::new();
    let endpoint = Endpoint::hello().await;
    let plan = with_contract(with_tls(
        plan(route("orders"), &[endpoint.address]),
        &pki.leaf("api.example.com"),
    ));
    let house = House::open(plan);
    let mut sender = h2(&house, &pki).await;

    let (reply, _unfinished) = sender.send_request(request("POST", "/unknown"), false).unwrap();
    let refused = reply.await.unwrap();
    sender = sender.ready().await.unwrap();
    let (reply, _) = sender.send_request(request("GET", "/unknown"), true).unwrap();

    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert_eq!(reply.await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_drain_lets_http2_streams_finish() {
    let pki = Pki::new();
    let (address, _) = h2_echo().await;
    let mut plan = with_tls(plan(route("orders"), &[address]), &pki.leaf("api.example.com"));
    plan.routing.pools[0].protocol = Protocol::H2;
    let house = House::open(plan);
    let mut sender = h2(&house, &pki).await;
    let (reply, mut body) = sender.send_request(request("POST", "/echo"), false).unwrap();
    body.send_data(Bytes::from_static(b"half "), false).unwrap();

    let drained = house.proxy.drain(Duration::from_secs(15));
    let finish = async {
        body.send_data(Bytes::from_static(b"done"), true).unwrap();
        let (received, _) = whole(reply.await.unwrap().into_body()).await;
        drop(sender);
        received
    };
    let (is_drained, received) = tokio::join!(drained, finish);

    assert!(is_drained);
    assert_eq!(received, b"half done");
}

#[tokio::test]
async fn an_endpoint_is_who_it_should_be_or_it_gets_nothing() {
    let pki = Pki::new();
    let leaf = pki.leaf("spiffe://corp.example/orders");
    let tls = acceptor(&pki, &leaf, &[b"http/1.1"]);
    let endpoint = Endpoint::start_tls(Some(tls), |_| answer("hello")).await;
    let right = House::open(with_spiffe_endpoint(
        plan(route("orders"), &[endpoint.address]),
        &pki,
        "spiffe://corp.example/orders",
    ));
    let wrong = House::open(with_spiffe_endpoint(
        plan(route("orders"), &[endpoint.address]),
        &pki,
        "spiffe://corp.example/payments",
    ));

    let accepted = right.ask(GET_CLOSE).await;
    let seen = endpoint.seen();
    let refused = wrong.ask(GET_CLOSE).await;

    assert!(accepted.ends_with("hello"), "{accepted}");
    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    assert_eq!(endpoint.seen(), seen);
    assert_eq!(wrong.records(1).await[0].reason, Some(Reason::EndpointIdentity));
}

#[tokio::test]
async fn a_probe_passes_on_2xx_alone() {
    let healthy = Endpoint::hello().await;
    let ill = Endpoint::start(|_| b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
    let (h2_address, _) = h2_echo().await;
    let of = |address, protocol| Probe {
        endpoint: portcullis_model::EndpointId {
            pool: "orders".into(),
            region: "eu-west".into(),
            address,
        },
        dns: None,
        tls: None,
        protocol,
        plan: ProbePlan::Http {
            path: "/healthz".into(),
        },
        timeout: Duration::from_secs(5),
    };

    assert!(probe(&of(healthy.address, Protocol::Auto)).await.is_ok());
    assert!(probe(&of(h2_address, Protocol::H2)).await.is_ok());
    let fault = probe(&of(ill.address, Protocol::Auto)).await.unwrap_err();
    assert!(
        matches!(fault, ProbeFault::Status(StatusCode::INTERNAL_SERVER_ERROR)),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_http2_requests_share_connections_without_a_failure() {
    let pki = Pki::new();
    let (address, requests) = h2_echo().await;
    let mut plan = with_contract(with_tls(
        plan(route("orders"), &[address]),
        &pki.leaf("api.example.com"),
    ));
    plan.routing.pools[0].protocol = Protocol::H2;
    let house = House::open(plan);
    let sender = h2(&house, &pki).await;

    let streams: Vec<_> = (0..32)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for _ in 0..60 {
                    let mut sender = sender.clone().ready().await.unwrap();
                    let (reply, mut body) = sender.send_request(request("POST", "/orders"), false).unwrap();
                    body.send_data(Bytes::from_static(br#"{"item":"tea"}"#), true)
                        .unwrap();
                    let response = reply.await.unwrap();
                    assert_eq!(response.status(), StatusCode::OK);
                    let (echo, trailers) = whole(response.into_body()).await;
                    assert_eq!(echo, br#"{"item":"tea"}"#);
                    assert!(trailers.is_some());
                }
            })
        })
        .collect();
    for stream in streams {
        stream.await.unwrap();
    }

    assert_eq!(requests.load(Ordering::SeqCst), 32 * 60);
    assert!(
        house
            .records(32 * 60)
            .await
            .iter()
            .all(|record| record.attempts.len() == 1)
    );
}

#[tokio::test]
async fn a_connection_that_used_its_share_is_told_to_go_and_loses_nothing() {
    let pki = Pki::new();
    let (address, _) = h2_echo().await;
    let mut plan = with_tls(plan(route("orders"), &[address]), &pki.leaf("api.example.com"));
    plan.routing.pools[0].protocol = Protocol::H2;
    plan.listeners[0].limits.requests_per_connection = 3;
    let house = House::open(plan);
    let stream = tls(&house, &pki, "api.example.com", &[b"h2"]).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(connection);

    for _ in 0..3 {
        sender = sender.ready().await.unwrap();
        let (reply, _) = sender.send_request(request("GET", "/echo"), true).unwrap();
        assert_eq!(reply.await.unwrap().status(), StatusCode::OK);
    }

    let end = tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap()
        .unwrap();
    assert!(end.is_ok(), "{end:?}");
}
