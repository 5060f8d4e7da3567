//! What one connection, one address and one listener may have, and how a connection that had it all is told.

use std::time::{Duration, Instant};

use http::Method;
use tokio::net::TcpListener;

use crate::support::h2wire::{self, GOAWAY, H2Wire, HEADERS, NO_ERROR, RST_STREAM};
use crate::support::house::HOST;
use crate::support::{Behaviour, Endpoint, House, RawConnection, Seen, wait_until};

async fn open(limits: &str) -> (House, Endpoint) {
    let endpoint = Endpoint::start("one").await;
    let house = House::open(&format!(
        r#"
listeners:
  plain: {{ listen: "127.0.0.1:0", limits: {limits} }}
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {limits}
pools: {{ main: {{ endpoints: [{{ address: "{}" }}] }} }}
routes: [{{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}]
"#,
        endpoint.address
    ));
    (house, endpoint)
}

fn get() -> Vec<u8> {
    format!("GET /open/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n").into_bytes()
}

/// RFC 9112 9.6: the last answer says that it is the last.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_request_of_a_connections_share_is_told_to_close() {
    let (house, endpoint) = open("{ requests_per_connection: 3 }").await;

    for dial in [house.plain(), house.h1()] {
        endpoint.forget();
        let mut connection = RawConnection::open(&dial).await;
        for number in 1..=3 {
            let answer = connection.ask(&get()).await;
            assert_eq!(answer.status, 200);
            let is_last = answer
                .headers
                .get("connection")
                .is_some_and(|value| value == "close");
            assert_eq!(is_last, number == 3, "request {number}: {answer:?}");
        }
        connection.write(&get()).await;
        assert_eq!(
            connection.rest().await.as_deref(),
            Some(&[][..]),
            "nothing more is answered"
        );
        assert_eq!(endpoint.requests(), 3);
    }
}

/// RFC 9113 6.8: streams up to the one that GOAWAY names are answered, later ones were never seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_that_used_its_share_gets_goaway_and_loses_nothing() {
    let (house, endpoint) = open("{ requests_per_connection: 3 }").await;
    let mut wire = H2Wire::open(&house.h2(), &[]).await;
    for stream in [1, 3, 5] {
        assert!(wire.write(&h2wire::get(stream, "/open/x", HOST)).await);
    }

    let (mut answered, mut last, mut code) = (Vec::new(), 0, None);
    while let Some(frame) = wire.frame().await {
        match frame.kind {
            HEADERS => answered.push(frame.stream),
            RST_STREAM => panic!("{frame:?}"),
            GOAWAY => {
                last = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
            _ => {}
        }
    }

    answered.sort_unstable();
    assert_eq!(answered, [1, 3, 5]);
    assert_eq!(code, Some(NO_ERROR));
    assert!(last >= 5, "GOAWAY names the last stream that was served: {last}");
    assert_eq!(endpoint.requests(), 3);
    let mut client = house.h2().connect().await.unwrap();
    for _ in 0..10 {
        if client.is_closed() {
            client = house.h2().connect().await.unwrap();
        }
        if let Ok(answer) = client.send(Method::GET, "/open/x", &[], b"").await {
            assert_eq!(answer.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_age_is_told_to_go() {
    let (house, _endpoint) = open("{ connection_age: 1s, idle_timeout: 30s }").await;

    for dial in [house.plain(), house.h1()] {
        let mut connection = RawConnection::open(&dial).await;
        let since = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            assert!(connection.write(&get()).await);
            // A connection may also be closed between two requests, when it grew old there.
            let Some(answer) = connection.maybe_answer().await else {
                break;
            };
            if answer
                .headers
                .get("connection")
                .is_some_and(|value| value == "close")
            {
                assert_eq!(connection.rest().await.as_deref(), Some(&[][..]));
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(15), "it grows old for ever");
        }
        assert!(
            since.elapsed() > Duration::from_millis(900),
            "{:?}",
            since.elapsed()
        );
    }
    let mut client = house.h2().connect().await.unwrap();
    let since = Instant::now();
    wait_until("GOAWAY", || {
        let is_told = client.is_closed();
        std::future::ready(is_told.then_some(()))
    })
    .await;
    assert!(since.elapsed() > Duration::from_millis(900));
    assert!(client.send(Method::GET, "/open/x", &[], b"").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_and_an_address_hold_so_many_connections_and_take_new_ones_when_some_went() {
    for (limits, bound) in [
        ("{ per_address: 5 }", "per-address"),
        ("{ max_connections: 5 }", "max-connections"),
    ] {
        let (house, _endpoint) = open(limits).await;
        let seen = Seen::of(&house.gateway);
        let mut held = Vec::new();
        for _ in 0..5 {
            let mut connection = RawConnection::open(&house.plain()).await;
            assert_eq!(connection.ask(&get()).await.status, 200);
            held.push(connection);
        }

        let mut beyond = RawConnection::open(&house.plain()).await;
        beyond.write(&get()).await;
        assert_eq!(
            beyond.rest().await.as_deref(),
            Some(&[][..]),
            "closed without an answer"
        );
        let label = format!("bound=\"{bound}\"");
        assert!(
            seen.metric("portcullis_connections_refused_total", &[&label])
                .await
                >= 1.0
        );
        for connection in &mut held {
            assert_eq!(
                connection.ask(&get()).await.status,
                200,
                "those that are there stay"
            );
        }
        held.pop();
        wait_until("a place", || async {
            let mut next = RawConnection::open(&house.plain()).await;
            next.write(&get()).await;
            next.maybe_answer().await.filter(|answer| answer.status == 200)
        })
        .await;
    }
}

/// RFC 9112 9.6: a client that says it will send nothing more still gets its answer, or a clean end; never half a one.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_client_gets_a_whole_answer_or_none_and_is_not_kept() {
    let (house, endpoint) = open("{ idle_timeout: 30s, header_timeout: 2s }").await;
    let seen = Seen::of(&house.gateway);
    endpoint.behave(Behaviour::Bytes(100_000));
    let before = seen.metric("portcullis_connections", &[]).await;

    for dial in [house.plain(), house.h1()] {
        for said in [&get()[..], b"", b"GET /open/x HTTP/1.1\r\nhost"] {
            let mut connection = RawConnection::open(&dial).await;
            assert!(connection.write(said).await);
            connection.half_close().await;
            let since = Instant::now();
            if let Some(answer) = connection.maybe_answer().await
                && answer.status == 200
            {
                assert_eq!(answer.body.len(), 100_000);
            }
            assert_eq!(connection.rest().await.as_deref(), Some(&[][..]));
            assert!(
                since.elapsed() < Duration::from_secs(10),
                "half a client is not waited for: {:?}",
                since.elapsed()
            );
        }
    }
    wait_until("nothing to be kept", || async {
        (seen.metric("portcullis_connections", &[]).await <= before).then_some(())
    })
    .await;
}

/// A half-closed client whose endpoint hangs: gone, or waiting under the route's deadline; recorded once either way.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_client_of_a_hanging_endpoint_ends_at_the_deadline_at_the_latest() {
    let endpoint = Endpoint::start("one").await;
    endpoint.behave(Behaviour::Hang);
    let house = House::open(&format!(
        "{}pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\nroutes: [{{ name: open, match: {{ path: \"/open/**\" }}, public: true, pool: main, timeouts: {{ request: 2s }} }}]\n",
        crate::support::house::LISTENERS,
        endpoint.address
    ));

    for dial in [house.plain(), house.h1()] {
        let lines = house.gateway.access.all().len();
        let mut connection = RawConnection::open(&dial).await;
        let post = format!("POST /open/x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n");
        assert!(connection.write(post.as_bytes()).await);
        connection.half_close().await;
        if let Some(answer) = connection.maybe_answer().await {
            house.assert_refused(&answer, 504, "endpoint-timeout");
        }
        assert!(connection.rest().await.is_some());
        wait_until("its line", || {
            std::future::ready((house.gateway.access.all().len() == lines + 1).then_some(()))
        })
        .await;
    }
}

/// An endpoint that accepts and never shakes hands costs the route's `connect`, not its `request`.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_never_shakes_hands_is_a_502_at_the_connect_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let house = House::open(&format!(
        r#"{}
pools: {{ main: {{ tls: {{ server_name: api.example.com, ca: server.pem }}, endpoints: [{{ address: "{address}" }}] }} }}
routes: [{{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main, timeouts: {{ connect: 1s, request: 30s }}, retry: {{ attempts: 0 }} }}]
"#,
        crate::support::house::LISTENERS
    ));

    for dial in [house.plain(), house.h2()] {
        let since = Instant::now();
        let answer = dial.send(Method::POST, "/open/x", &[], b"{}").await;
        assert!(
            ["endpoint-connect", "endpoint-tls"].contains(&answer.code().as_str()),
            "{answer:?}"
        );
        assert_eq!(answer.status, 502);
        let elapsed = since.elapsed();
        assert!(
            elapsed > Duration::from_millis(900) && elapsed < Duration::from_secs(20),
            "{elapsed:?}"
        );
    }
}
