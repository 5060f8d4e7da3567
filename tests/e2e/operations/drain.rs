//! The end of a gateway: it says so, finishes what it began, and goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::load::{Ask, Load, ok};
use crate::support::Seen;
use crate::support::h2wire::{self, H2Wire};
use crate::support::{Authority, Behaviour, Dial, Endpoint, TestGateway, configure, folder, wait_until};

/// An endpoint that answers when it is let.
struct Slow {
    address: SocketAddr,
    arrived: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl Slow {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let slow = Self {
            address,
            arrived: Arc::clone(&arrived),
            let_go: Arc::clone(&let_go),
        };
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let (arrived, let_go) = (Arc::clone(&arrived), Arc::clone(&let_go));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                        assert!(tcp.read_buf(&mut head).await.unwrap() > 0, "half a head");
                    }
                    arrived.add_permits(1);
                    let_go.acquire().await.unwrap().forget();
                    tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
                        .await
                        .unwrap();
                    let _ = tcp.read_buf(&mut head).await;
                });
            }
        });
        slow
    }
}

struct Edge {
    gateway: TestGateway,
    h1: Dial,
    h2: Dial,
}

fn start(fast: SocketAddr, slow: SocketAddr, drain_timeout: &str) -> Edge {
    let (folder, authority) = (folder(), Authority::new("edge"));
    authority
        .leaf(&["api.example.com"], None)
        .write(folder.path(), "server");
    let text = format!(
        r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  public: {{ listen: "127.0.0.1:0", tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }} }}
pools:
  fast: {{ endpoints: [{{ address: "{fast}" }}] }}
  slow: {{ endpoints: [{{ address: "{slow}" }}] }}
routes:
  - {{ name: fast, match: {{ path: "/fast/**" }}, public: true, pool: fast }}
  - {{ name: slow, match: {{ path: "/slow/**" }}, public: true, pool: slow, timeouts: {{ request: 60s }} }}
"#
    );
    configure(folder.path(), &text);
    let gateway = TestGateway::start_with(folder, &["--drain-timeout", drain_timeout]);
    let address = gateway.address("public");
    let h1 = Dial::tls(address, "api.example.com", authority.roots(), None);
    let h2 = Dial::h2(address, "api.example.com", authority.roots(), None);
    Edge { gateway, h1, h2 }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_finishes_what_began_and_exits_as_soon_as_it_is_done() {
    let (fast, slow) = (Endpoint::start("fast").await, Slow::start().await);
    let mut edge = start(fast.address, slow.address, "60s");
    let seen = Seen::of(&edge.gateway);
    let dials = vec![
        edge.h1.clone(),
        edge.h1.clone(),
        edge.h1.clone(),
        edge.h2.clone(),
        edge.h2.clone(),
    ];
    let load = Load::start(dials, || Ask::get("/fast/1"), ok);
    let mut held = Vec::new();
    for dial in [&edge.h1, &edge.h2] {
        let mut client = dial.connect().await.unwrap();
        held.push(tokio::spawn(async move {
            let answer = client.send(Method::POST, "/slow/1", &[], b"{}").await;
            (answer, client)
        }));
    }
    slow.arrived.acquire_many(2).await.unwrap().forget();
    load.answered(1_000).await;
    assert!(seen.is_ready().await);

    load.expect_the_end();
    edge.gateway.signal("TERM");

    wait_until("readiness to fail", || async {
        (!seen.is_ready().await).then_some(())
    })
    .await;
    assert_eq!(seen.get("/livez").await.status, StatusCode::OK);
    let tally = load.finish("drain under load").await;
    assert_eq!(tally.failures(), Vec::<String>::new());
    assert!(!edge.gateway.has_exited(), "two requests are in flight");

    slow.let_go.add_permits(2);
    let let_go = Instant::now();
    for (index, held) in held.into_iter().enumerate() {
        let (answer, client) = held.await.unwrap();
        let answer = answer.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"late"[..]));
        if index == 0 {
            assert_eq!(answer.headers["connection"], "close", "h1 is told to go");
        }
        wait_until("the connection to end", || async {
            client.is_closed().then_some(())
        })
        .await;
    }
    let status = edge.gateway.wait_for_exit();
    println!("exited {:?} after the last request could end", let_go.elapsed());
    assert_eq!(status.code(), Some(0));
    assert!(
        let_go.elapsed() < Duration::from_secs(15),
        "well before the drain timeout of 60 s"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_h2_connection_is_told_to_go_and_new_connections_are_refused() {
    let (fast, slow) = (Endpoint::start("fast").await, Slow::start().await);
    let mut edge = start(fast.address, slow.address, "60s");
    let mut idle = edge.h2.connect().await.unwrap();
    assert_eq!(
        idle.send(Method::GET, "/fast/1", &[], b"").await.unwrap().status,
        StatusCode::OK
    );
    let mut idle_h1 = edge.h1.connect().await.unwrap();
    assert_eq!(
        idle_h1
            .send(Method::GET, "/fast/1", &[], b"")
            .await
            .unwrap()
            .status,
        StatusCode::OK
    );

    edge.gateway.signal("TERM");

    wait_until("GOAWAY", || async { idle.is_closed().then_some(()) }).await;
    wait_until("the idle h1 connection to end", || async {
        idle_h1.is_closed().then_some(())
    })
    .await;
    assert_eq!(edge.gateway.wait_for_exit().code(), Some(0));
    assert!(edge.h1.connect().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_hangs_is_cut_at_the_drain_timeout() {
    let fast = Endpoint::start("fast").await;
    fast.behave(Behaviour::Hang);
    let mut edge = start(fast.address, fast.address, "2s");
    let mut client = edge.h1.connect().await.unwrap();
    let held = tokio::spawn(async move { client.send(Method::GET, "/slow/1", &[], b"").await });
    wait_until("the request to hang", || async {
        (fast.requests() == 1).then_some(())
    })
    .await;

    let told = Instant::now();
    edge.gateway.signal("TERM");
    let status = edge.gateway.wait_for_exit();

    println!(
        "a hanging request was cut {:?} after SIGTERM, the timeout is 2 s",
        told.elapsed()
    );
    assert_eq!(status.code(), Some(0));
    assert!(
        told.elapsed() >= Duration::from_millis(1_900),
        "not before its time"
    );
    assert!(told.elapsed() < Duration::from_secs(12));
    let cut = held.await.unwrap();
    assert!(
        cut.as_ref()
            .map_or(true, |answer| answer.status.is_server_error()),
        "{cut:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_ends_at_once() {
    let fast = Endpoint::start("fast").await;
    fast.behave(Behaviour::Hang);
    let mut edge = start(fast.address, fast.address, "60s");
    let mut client = edge.h1.connect().await.unwrap();
    let held = tokio::spawn(async move { client.send(Method::GET, "/slow/1", &[], b"").await });
    wait_until("the request to hang", || async {
        (fast.requests() == 1).then_some(())
    })
    .await;

    let told = Instant::now();
    edge.gateway.signal("INT");
    let status = edge.gateway.wait_for_exit();

    assert_eq!(status.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert!(
        held.await
            .unwrap()
            .map_or(true, |answer| answer.status.is_server_error())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_ends_a_drain_at_once() {
    let fast = Endpoint::start("fast").await;
    fast.behave(Behaviour::Hang);
    let mut edge = start(fast.address, fast.address, "60s");
    let mut client = edge.h1.connect().await.unwrap();
    let held = tokio::spawn(async move { client.send(Method::GET, "/slow/1", &[], b"").await });
    wait_until("the request to hang", || async {
        (fast.requests() == 1).then_some(())
    })
    .await;
    edge.gateway.signal("TERM");
    wait_until("the drain to begin", || async {
        edge.h1.connect().await.is_err().then_some(())
    })
    .await;

    let told = Instant::now();
    edge.gateway.signal("INT");
    let status = edge.gateway.wait_for_exit();

    assert_eq!(status.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert!(
        held.await
            .unwrap()
            .map_or(true, |answer| answer.status.is_server_error())
    );
}

/// RFC 9113 6.8: GOAWAY says what is still served; that is, and nothing after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_under_way_outlives_goaway() {
    let (fast, slow) = (Endpoint::start("fast").await, Slow::start().await);
    let mut edge = start(fast.address, slow.address, "60s");
    let mut wire = H2Wire::open(&edge.h2, &[]).await;
    assert!(wire.write(&h2wire::get(1, "/slow/1", "api.example.com")).await);
    slow.arrived.acquire().await.unwrap().forget();

    edge.gateway.signal("TERM");

    let mut code = None;
    while code.is_none() {
        let frame = wire.frame().await.expect("GOAWAY before the end");
        if frame.kind == h2wire::GOAWAY {
            code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
        }
        // The first of two GOAWAYs is followed by a PING that waits for its answer (RFC 9113 6.8).
        if frame.kind == h2wire::PING && frame.flags == 0 {
            wire.write(&h2wire::frame(h2wire::PING, h2wire::ACK, 0, &frame.payload))
                .await;
        }
    }
    assert_eq!(code, Some(h2wire::NO_ERROR));
    slow.let_go.add_permits(1);
    let mut end = wire.end(Duration::from_secs(20)).await;
    assert_eq!(end.goaway.unwrap_or(h2wire::NO_ERROR), h2wire::NO_ERROR);
    let (stream, head) = end.answers.pop().expect("the answer of the stream under way");
    assert_eq!((stream, head[0]), (1, 0x88));
    assert!(end.is_closed && end.resets.is_empty(), "{end:?}");
    assert_eq!(edge.gateway.wait_for_exit().code(), Some(0));
}

/// RFC 9112 9.6: whoever asks just when the drain begins could not know; it is served once more and told to close.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_its_way_when_the_drain_begins_is_served_and_told_to_close() {
    let (fast, slow) = (Endpoint::start("fast").await, Slow::start().await);
    let mut edge = start(fast.address, slow.address, "60s");
    let mut kept = Vec::new();
    for _ in 0..20 {
        let mut client = edge.h1.connect().await.unwrap();
        let answer = client.send(Method::GET, "/fast/1", &[], b"").await.unwrap();
        assert!(!answer.headers.contains_key("connection") || answer.headers["connection"] == "keep-alive");
        kept.push(client);
    }

    edge.gateway.signal("TERM");
    let told = Instant::now();
    let mut last = kept.split_off(10);
    // Ten ask at once, ten when the drain has begun for certain; the lame duck's second is not over for either.
    let mut answers = Vec::new();
    for client in &mut kept {
        answers.push(client.send(Method::GET, "/fast/1", &[], b"").await);
    }
    wait_until("the drain to begin", || async {
        edge.h1.connect().await.is_err().then_some(())
    })
    .await;
    for client in &mut last {
        let answer = client.send(Method::GET, "/fast/1", &[], b"").await;
        if let Ok(answer) = &answer {
            assert_eq!(answer.headers["connection"], "close", "{answer:?}");
        }
        answers.push(answer);
    }

    let is_in_time = told.elapsed() < Duration::from_millis(900);
    for answer in answers {
        match answer {
            Ok(answer) => assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"fast"[..])),
            Err(error) => assert!(!is_in_time, "lost within the lame duck's second: {error}"),
        }
    }
    assert_eq!(edge.gateway.wait_for_exit().code(), Some(0));
}
