//! Clients that are slow on purpose: at sending a head, at sending a body, at reading an answer.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;

use crate::floods::Siege;
use crate::support::h2wire::{self, CONTINUATION, DATA, END_HEADERS, End, H2Wire, HEADERS, WINDOW_UPDATE};
use crate::support::house::HOST;
use crate::support::{Behaviour, PATIENCE, RawConnection, wait_until};

const LISTENERS: &str = r#"
listeners:
  plain:
    listen: "127.0.0.1:0"
    limits: { header_timeout: 1s, idle_timeout: 30s, body_rate: 1KiB/s }
  public:
    listen: "127.0.0.1:0"
    tls: { certificates: [{ chain: server.pem, key: server.key }] }
    limits: { header_timeout: 1s, idle_timeout: 30s, body_rate: 1KiB/s }
"#;

/// Well above every deadline here.
const SLACK: Duration = Duration::from_secs(15);

async fn open_connections(siege: &Siege) -> f64 {
    siege.seen.metric("portcullis_connections", &[]).await
}

/// RFC 9113 10.5: a head in CONTINUATION frames that drip keeps the connection to its deadline and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_http2_that_drips_ends_the_connection_at_its_deadline() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    let block = h2wire::fields(&h2wire::request("GET", "/open/x", HOST));
    let mut wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let since = Instant::now();
    wire.write(&h2wire::frame(HEADERS, 0, 1, &block[..5])).await;

    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut bytes = block[5..].iter();
    loop {
        ticks.tick().await;
        let Some(byte) = bytes.next() else { break };
        if since.elapsed() > SLACK || !wire.write(&h2wire::frame(CONTINUATION, 0, 1, &[*byte])).await {
            break;
        }
    }

    println!("a dripping head was waited for {:?}", since.elapsed());
    assert!(since.elapsed() < SLACK, "waited for ever");
    assert!(wire.end(PATIENCE).await.is_closed);
    siege.assert_good_is_served().await;
}

/// Nothing at all after the TLS handshake, and half a preface.
#[tokio::test(flavor = "multi_thread")]
async fn a_preface_that_does_not_come_is_not_waited_for() {
    let siege = Siege::begin_with(&LISTENERS.replace("idle_timeout: 30s", "idle_timeout: 1s")).await;

    for said in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06",
    ] {
        let since = Instant::now();
        let mut wire = RawConnection::open(&siege.house.h2()).await;
        assert!(wire.write(said).await);
        assert!(wire.rest().await.is_some(), "{said:?}: closed");
        assert!(since.elapsed() < SLACK, "{said:?}: {:?}", since.elapsed());
    }
}

/// A body of HTTP/2 by the byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_http2_that_drips_is_answered_408() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    let mut wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let block = h2wire::fields(&h2wire::request("POST", "/open/x", HOST));
    wire.write(&h2wire::frame(HEADERS, END_HEADERS, 1, &block)).await;
    let since = Instant::now();
    let is_refused =
        |line: &serde_json::Value| line["reason"] == "body-timeout" && line["protocol"] == "HTTP/2";

    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while !siege.house.gateway.access.all().iter().any(is_refused) {
        ticks.tick().await;
        wire.write(&h2wire::frame(DATA, 0, 1, b"x")).await;
        assert!(since.elapsed() < SLACK, "a dripping body is waited for");
    }

    let End { answers, goaway, .. } = wire.end(Duration::from_secs(1)).await;
    assert_eq!(
        (answers.len(), goaway),
        (1, None),
        "the stream is answered, the connection goes on"
    );
    assert_ne!(answers[0].1[0], 0x88);
    siege.assert_good_is_served().await;
}

/// CVE-2019-9517: answers that are asked for and never taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_window_is_not_waited_for() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    siege.endpoint.behave(Behaviour::Bytes(1 << 20));
    let mut wire = H2Wire::open(&siege.house.h2(), &[(4, 0)]).await;
    for stream in (1..200).step_by(2) {
        assert!(wire.write(&h2wire::get(stream, "/open/x", HOST)).await);
    }
    let since = Instant::now();

    let end = wire.end(SLACK).await;
    println!(
        "{} answers, {} resets, {:?} after {:?}",
        end.answers.len(),
        end.resets.len(),
        end.goaway,
        since.elapsed()
    );
    assert!(
        end.is_closed || end.resets.len() + end.answers.len() >= 100,
        "{end:?}"
    );
    assert!(
        end.is_closed || end.resets.len() >= 90,
        "streams without a window are held: {} resets",
        end.resets.len()
    );
    siege.assert_good_is_served().await;
}

/// The same with credit for a byte at a time, which no silence betrays.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_an_answer_by_the_byte_is_not_waited_for() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    siege.endpoint.behave(Behaviour::Bytes(1 << 20));
    let mut wire = H2Wire::open(&siege.house.h2(), &[(4, 1)]).await;
    assert!(wire.write(&h2wire::get(1, "/open/x", HOST)).await);
    let since = Instant::now();
    let is_cut = |line: &serde_json::Value| {
        line["route"] == "open"
            && line["ending"].is_string()
            && line["bytes_out"].as_u64() < Some(1 << 20)
            && line["bytes_out"].as_u64() > Some(3)
    };

    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut is_taken = true;
    while is_taken && !siege.house.gateway.access.all().iter().any(is_cut) {
        ticks.tick().await;
        is_taken = wire
            .write(&h2wire::frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()))
            .await;
        assert!(
            since.elapsed() < SLACK,
            "a reader of ten bytes a second is served for ever"
        );
    }

    println!("a reader by the byte was served for {:?}", since.elapsed());
    siege.assert_good_is_served().await;
}

/// A large answer on HTTP/1.1 that nobody reads: cut after the route's `idle`, with and without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    siege.endpoint.behave(Behaviour::Bytes(64 << 20));
    let before = open_connections(&siege).await;
    let request = format!("GET /open/x HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let since = Instant::now();

    let mut held = Vec::new();
    for dial in [siege.house.plain(), siege.house.h1()] {
        for _ in 0..3 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let tcp = socket.connect(dial.address).await.unwrap();
            let mut connection = match &dial.tls {
                None => RawConnection::over(Box::new(tcp)),
                Some(config) => {
                    let tls = crate::support::client::handshake(tcp, config, &dial.name)
                        .await
                        .unwrap();
                    RawConnection::over(Box::new(tls))
                }
            };
            assert!(connection.write(request.as_bytes()).await);
            held.push(connection);
        }
    }
    wait_until("the readers to be cut", || async {
        (open_connections(&siege).await <= before).then_some(())
    })
    .await;

    println!("readers of nothing were cut after {:?}", since.elapsed());
    assert!(
        since.elapsed() > Duration::from_secs(1),
        "not before the route's idle time"
    );
    drop(held);
    siege.assert_good_is_served().await;
}

/// A slow but steady reader gets its whole answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_but_steady_reader_gets_the_whole_answer() {
    let siege = Siege::begin_with(LISTENERS).await;
    siege.endpoint.behave(Behaviour::Bytes(8 << 20));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut tcp = socket.connect(siege.house.plain().address).await.unwrap();
    let request = format!("GET /open/x HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut tcp, request.as_bytes())
        .await
        .unwrap();

    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let (mut total, mut piece) = (0, vec![0; 128 * 1024]);
    loop {
        ticks.tick().await;
        let count = tokio::time::timeout(PATIENCE, tcp.read(&mut piece))
            .await
            .unwrap()
            .unwrap();
        if count == 0 {
            break;
        }
        total += count;
    }

    assert!(total > 8 << 20, "{total} bytes arrived");
}
