//! Whoever makes the gateway wait is waited for so long and no longer, and the log says who it was.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::support::house::{CONTRACT, HOST, order_of};
use crate::support::{
    Act, Behaviour, Dial, Endpoint, House, PATIENCE, RawConnection, Recorder, Scripted, wait_until,
};

const SECOND: Duration = Duration::from_secs(1);
/// Well above every deadline here, well below a test's patience.
const SLACK: Duration = Duration::from_secs(12);
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn open(address: std::net::SocketAddr) -> House {
    House::open(&format!(
        r#"
listeners:
  plain:
    listen: "127.0.0.1:0"
    limits: {{ header_timeout: 1s, idle_timeout: 1s, body_rate: 1KiB/s }}
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {{ header_timeout: 1s, handshake_timeout: 1s, idle_timeout: 1s, body_rate: 1KiB/s }}
{CONTRACT}
pools: {{ main: {{ endpoints: [{{ address: "{address}" }}] }} }}
routes:
  - {{ name: api, match: {{ path: "/api/**" }}, public: true, contract: orders, pool: main }}
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main, timeouts: {{ request: 1s, idle: 1s }} }}
  - {{ name: socket, match: {{ path: "/open/bad/**" }}, public: true, upgrade: [websocket], pool: main, timeouts: {{ idle: 1s }} }}
  - {{ name: patient, match: {{ path: "/patient" }}, public: true, pool: main }}
"#
    ))
}

/// Sends the same bytes every little while until the gateway no longer listens; gives how long that took and what came back.
async fn drip(dial: &Dial, start: &str, bytes: &[u8]) -> (Duration, RawConnection) {
    let mut connection = RawConnection::open(dial).await;
    assert!(connection.write(start.as_bytes()).await);
    let since = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for piece in std::iter::repeat(bytes) {
        ticks.tick().await;
        let has_answer = connection.peek(Duration::from_millis(1)).await;
        if has_answer || !connection.write(piece).await {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "the gateway waits for ever");
    }
    (since.elapsed(), connection)
}

fn assert_at_deadline(elapsed: Duration) {
    assert!(
        elapsed >= SECOND - Duration::from_millis(50) && elapsed < SLACK,
        "closed after {elapsed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_closed_at_its_deadline() {
    let recorder = Recorder::start().await;
    let house = open(recorder.address);

    for dial in [house.plain(), house.h1()] {
        let (elapsed, mut connection) =
            drip(&dial, "GET /open/x HTTP/1.1\r\nhost: a\r\nx-slow: ", b"a").await;

        assert_at_deadline(elapsed);
        let answer = connection.answer().await;
        house.assert_refused(&answer, 408, "head-timeout");
        assert_eq!(answer.headers["connection"], "close");
        assert_eq!(connection.rest().await.as_deref(), Some(&[][..]));
    }
    assert_eq!(recorder.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed() {
    let recorder = Recorder::start().await;
    let house = open(recorder.address);

    for dial in [house.plain(), house.h1()] {
        let since = Instant::now();
        let mut silent = RawConnection::open(&dial).await;
        assert_eq!(
            silent.rest().await.as_deref(),
            Some(&[][..]),
            "closed without a word"
        );
        assert_at_deadline(since.elapsed());

        let mut kept = RawConnection::open(&dial).await;
        let request = format!("GET /open/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
        assert_eq!(kept.ask(request.as_bytes()).await.status, 200);
        let since = Instant::now();
        assert_eq!(
            kept.rest().await.as_deref(),
            Some(&[][..]),
            "closed after its only request"
        );
        assert_at_deadline(since.elapsed());
    }
    let tcp = Dial {
        tls: None,
        ..house.h1()
    };
    let since = Instant::now();
    assert!(
        RawConnection::open(&tcp).await.rest().await.is_some(),
        "no handshake is waited for without end"
    );
    assert_at_deadline(since.elapsed());
    let mut h2 = house.h2().connect().await.unwrap();
    assert_eq!(
        h2.send(Method::GET, "/open/x", &[], b"").await.unwrap().status,
        200
    );
    let since = Instant::now();
    wait_until("the idle h2 connection to be closed", || {
        std::future::ready(h2.is_closed().then_some(()))
    })
    .await;
    assert_at_deadline(since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_is_answered_504_and_the_connection_goes_on() {
    let endpoint = Endpoint::start("one").await;
    let house = open(endpoint.address);

    for dial in [house.plain(), house.h1(), house.h2()] {
        endpoint.behave(Behaviour::Hang);
        let mut client = dial.connect().await.unwrap();
        let since = Instant::now();

        let late = client.send(Method::POST, "/open/x", &[], b"body").await.unwrap();

        assert_at_deadline(since.elapsed());
        let line = house.assert_refused(&late, 504, "endpoint-timeout");
        assert_eq!(
            line["attempts"].as_array().unwrap().len(),
            1,
            "an unsafe request is asked once: {line}"
        );
        endpoint.behave(Behaviour::Answer);
        let next = client.send(Method::GET, "/open/x", &[], b"").await.unwrap();
        assert_eq!(next.status, 200, "{next:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_breaks_for_the_client_too() {
    let endpoint = Endpoint::start("one").await;
    let house = open(endpoint.address);
    endpoint.behave(Behaviour::BreakInBody);

    for dial in [house.plain(), house.h1(), house.h2()] {
        let mut client = dial.connect().await.unwrap();
        let answer = client.start(Method::GET, "/open/x", &[], b"").await.unwrap();
        assert_eq!(answer.status(), 200);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();

        let body = tokio::time::timeout(PATIENCE, answer.into_body().collect())
            .await
            .expect("an end");

        assert!(body.is_err(), "half an answer must not look whole: {body:?}");
        let line = house.gateway.access_line(&id);
        assert_eq!(
            (&line["ending"], &line["status"]),
            (&"endpoint-broke".into(), &200.into()),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_closes_without_an_answer_is_a_502() {
    let endpoint = Endpoint::start("one").await;
    let house = open(endpoint.address);
    endpoint.behave(Behaviour::Close);

    for dial in [house.plain(), house.h1(), house.h2()] {
        let mut client = dial.connect().await.unwrap();
        let answer = client.send(Method::POST, "/open/x", &[], b"body").await.unwrap();

        house.assert_refused(&answer, 502, "endpoint-reset");
    }
    endpoint.stop();
    let gone = house.h1().send(Method::POST, "/open/x", &[], b"body").await;

    house.assert_refused(&gone, 502, "endpoint-connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_below_its_rate_is_refused() {
    let recorder = Recorder::start().await;
    let house = open(recorder.address);
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: 90000\r\n\r\n"
        )
    };

    for dial in [house.plain(), house.h1()] {
        let (elapsed, mut connection) = drip(&dial, &head("/api/orders"), b" ").await;

        assert_at_deadline(elapsed);
        let answer = connection.answer().await;
        house.assert_refused(&answer, 408, "body-timeout");
        assert_eq!(connection.rest().await.as_deref(), Some(&[][..]));
        assert_eq!(recorder.text(), "", "a corked body leaves nothing");
    }
    let (elapsed, mut connection) = drip(&house.plain(), &head("/patient"), b" ").await;

    assert_at_deadline(elapsed);
    house.assert_refused(&connection.answer().await, 408, "body-timeout");
    let quick = house
        .h1()
        .send(Method::POST, "/api/orders", JSON, order_of(90_000).as_bytes())
        .await;
    assert_eq!(quick.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_still_has_its_line() {
    let endpoint = Endpoint::start("one").await;
    let house = open(endpoint.address);
    endpoint.behave(Behaviour::Hang);

    for (seen, dial, protocol) in [
        (1, house.plain(), "HTTP/1.1"),
        (2, house.h1(), "HTTP/1.1"),
        (3, house.h2(), "HTTP/2"),
    ] {
        let task = tokio::spawn(async move {
            let mut client = dial.connect().await.unwrap();
            client.send(Method::GET, "/patient", &[], b"").await
        });
        wait_until("the request at the endpoint", || {
            std::future::ready((endpoint.requests() == seen).then_some(()))
        })
        .await;
        task.abort();

        let is_it = |line: &&Value| line["ending"] == "client-closed" && line["route"] == "patient";
        let line = wait_until("the aborted request's line", || {
            let mut lines = house.gateway.access.all();
            lines.retain(|line| is_it(&line));
            std::future::ready((lines.len() == seen).then(|| lines.pop().unwrap()))
        })
        .await;
        assert_eq!(
            (&line["protocol"], &line["status"]),
            (&protocol.into(), &Value::Null),
            "{line}"
        );
    }
}

/// An upload that uses up its request's time is its client's doing: the endpoint cannot answer what it has not got.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_a_408_and_blames_no_endpoint() {
    let endpoint = Endpoint::start("one").await;
    let house = open(endpoint.address);
    let head = format!("POST /open/slow HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 90000\r\n\r\n");

    for dial in [house.plain(), house.h1()] {
        let (elapsed, mut connection) = drip(&dial, &head, &[b' '; 1024]).await;

        assert_at_deadline(elapsed);
        let line = house.assert_refused(&connection.answer().await, 408, "body-timeout");
        assert_eq!(line["attempts"][0]["outcome"], "abandoned", "{line}");
    }
    assert_eq!(house.plain().get("/open/quick", &[]).await.status, 200);
}

/// In a tunnel either side may be the one that says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_tunnel_ends_at_its_deadline_and_blames_no_endpoint() {
    let endpoint = Scripted::start().await;
    let house = open(endpoint.address);
    let ask = format!(
        "GET /open/bad HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

    for dial in [house.plain(), house.h1()] {
        endpoint.play(&[Act::send(agreed), Act::Hang]);
        let mut connection = RawConnection::open(&dial).await;
        let since = Instant::now();
        let answer = connection.ask(ask.as_bytes()).await;
        assert_eq!(answer.status, 101);
        connection.rest().await;

        assert_at_deadline(since.elapsed());
        let id = answer.headers["x-request-id"].to_str().unwrap();
        let line = house.gateway.access_line(id);
        assert_eq!(line["ending"], "deadline-passed", "{line}");
        assert_eq!(line["attempts"][0]["outcome"], "ok", "{line}");
    }
}
