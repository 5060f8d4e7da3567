//! Endpoints that fail: what is tried again, what is not, and what the client gets.

use std::time::Duration;

use portcullis_pipeline::Ending;

use super::support::endpoint::Endpoint;
use super::support::{House, plan, route, until, with_contract};
use super::{GET, GET_CLOSE, post};

#[tokio::test]
async fn a_silent_endpoint_is_answered_504_and_the_connection_stays() {
    let endpoint = Endpoint::silent().await;
    let mut route = route("orders");
    route.timeouts.request = Duration::from_millis(200);
    let house = House::open(plan(route, &[endpoint.address]));
    let mut client = house.connect().await;

    client.send(GET.as_bytes()).await;
    let answer = client.until("}").await;

    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("endpoint-timeout"), "{answer}");
    client.send(GET.as_bytes()).await;
    assert!(client.until("}").await.starts_with("HTTP/1.1 504 "));
}

#[tokio::test]
async fn a_refused_connection_is_tried_in_the_next_region() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone_address = gone.local_addr().unwrap();
    drop(gone);
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(plan(
        route("orders"),
        &[gone_address, endpoint.address],
    )));

    let answer = house
        .ask(&post(r#"{"item":"tea"}"#).replace("Host", "Connection: close\r\nHost"))
        .await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(endpoint.seen().ends_with(r#"{"item":"tea"}"#));
    let attempts = &house.records(1).await[0].attempts;
    assert_eq!(
        attempts.iter().map(|one| one.outcome).collect::<Vec<_>>(),
        ["refused", "ok"]
    );
}

#[tokio::test]
async fn a_body_is_given_out_again_at_the_next_attempt() {
    let full = Endpoint::start(|_| b"HTTP/1.1 503 Full\r\ncontent-length: 4\r\n\r\nfull".to_vec()).await;
    let endpoint = Endpoint::hello().await;
    let house = House::open(with_contract(plan(
        route("orders"),
        &[full.address, endpoint.address],
    )));
    let request =
        post(r#"{"item":"tea"}"#).replace("Host", "Idempotency-Key: 1\r\nConnection: close\r\nHost");

    let answer = house.ask(&request).await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(full.seen().ends_with(r#"{"item":"tea"}"#), "{}", full.seen());
    assert!(
        endpoint.seen().ends_with(r#"{"item":"tea"}"#),
        "{}",
        endpoint.seen()
    );
}

#[tokio::test]
async fn an_unsafe_request_that_was_taken_is_not_sent_again() {
    let dropping = Endpoint::start(|_| Vec::new()).await;
    let endpoint = Endpoint::hello().await;
    let house = House::open(plan(route("orders"), &[dropping.address, endpoint.address]));

    let answer = house
        .ask("POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .await;

    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("endpoint-reset"), "{answer}");
    assert_eq!(endpoint.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_the_connection_and_is_recorded() {
    let endpoint = Endpoint::start(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\npart".to_vec()
    })
    .await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));

    let answer = house.ask(GET).await;

    assert!(answer.ends_with("part"), "{answer}");
    let record = house.records(1).await.remove(0);
    assert_eq!(record.ending, Ending::EndpointBroke);
}

#[tokio::test]
async fn an_unsolicited_switch_of_protocols_is_not_passed_on() {
    let endpoint = Endpoint::start(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec()
    })
    .await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));

    let answer = house.ask(GET_CLOSE).await;

    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("endpoint-protocol"), "{answer}");
}

#[tokio::test]
async fn a_kept_connection_that_its_endpoint_closed_is_not_used_again() {
    // Says keep-alive and hangs up after every answer.
    let endpoint = Endpoint::start(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: connection: close\r\n\r\nhello".to_vec()
    })
    .await;
    let house = House::open(plan(route("orders"), &[endpoint.address]));
    let mut client = house.connect().await;

    for round in 1..=20 {
        client
            .send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
            .await;
        let answer = client.until("hello").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        until(|| endpoint.closed() == round).await;
        assert_eq!(endpoint.connections(), round);
    }
}
