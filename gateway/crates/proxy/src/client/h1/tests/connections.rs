use std::mem::size_of_val;

use portcullis_model::Reason;
use portcullis_pipeline::Ending;

use super::house::Echo;
use super::*;
use crate::client::h1::serve;

/// A served connection.
struct Served {
    peer: TcpStream,
    echo: Arc<Echo>,
    drain: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn open(limits: ConnectionLimits) -> Self {
        let (peer, socket) = pair().await;
        let (connection, drain) = connection(limits);
        let echo = Arc::new(Echo::new());
        let house = Arc::clone(&echo);
        let task = tokio::spawn(async move { serve(&*house, socket, connection).await });
        Self {
            peer,
            echo,
            drain,
            task,
        }
    }

    async fn ask(&mut self, request: &str) -> String {
        self.peer.write_all(request.as_bytes()).await.unwrap();
        until(&mut self.peer, "!").await
    }

    /// What still comes; the connection's task ends with it.
    async fn rest(mut self) -> String {
        let rest = rest(&mut self.peer).await;
        drop(self.peer);
        timeout(PATIENCE, self.task).await.expect("an end").unwrap();
        rest
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n")
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let mut served = Served::open(ConnectionLimits::default()).await;

    for number in 0..5 {
        let answer = served.ask(&get(&format!("/{number}"))).await;
        assert!(answer.ends_with(&format!("\r\n\r\nGET /{number}!")), "{answer}");
        assert!(!answer.contains("connection:"), "{answer}");
    }
    let posted = served
        .ask("POST /p HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc")
        .await;

    assert!(
        posted.contains("connection: close\r\n") && posted.ends_with("POST /pabc!"),
        "{posted}"
    );
    assert_eq!(served.rest().await, "");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut served = Served::open(ConnectionLimits::default()).await;
    let post = "POST /2 HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let all = [
        &get("/1"),
        post,
        &get("/3").replace("host", "connection: close\r\nhost"),
        &get("/4"),
    ]
    .concat();

    served.peer.write_all(all.as_bytes()).await.unwrap();
    let answers = served.rest().await;

    let bodies: Vec<_> = answers
        .split("\r\n\r\n")
        .skip(1)
        .map(|part| part.split('!').next().unwrap())
        .collect();
    assert_eq!(bodies, ["GET /1", "POST /2abc", "GET /3"], "{answers}");
}

#[tokio::test]
async fn the_last_request_of_a_share_is_told_to_close() {
    let limits = ConnectionLimits {
        requests_per_connection: 2,
        ..ConnectionLimits::default()
    };
    let mut served = Served::open(limits).await;

    assert!(!served.ask(&get("/1")).await.contains("close"));
    assert!(served.ask(&get("/2")).await.contains("connection: close\r\n"));
    assert_eq!(served.rest().await, "");
}

#[tokio::test]
async fn an_old_connection_is_told_to_close() {
    let limits = ConnectionLimits {
        connection_age: Duration::ZERO,
        ..ConnectionLimits::default()
    };
    let mut served = Served::open(limits).await;

    assert!(served.ask(&get("/1")).await.contains("connection: close\r\n"));
    assert_eq!(served.rest().await, "");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_answered_408_and_recorded() {
    let limits = ConnectionLimits {
        header_timeout: Duration::from_millis(50),
        ..ConnectionLimits::default()
    };
    let mut served = Served::open(limits).await;
    let records = Arc::clone(&served.echo);

    assert!(served.ask(&get("/in-time")).await.ends_with("GET /in-time!"));
    served.peer.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
    let answer = served.rest().await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("connection: close\r\n") && answer.contains("head-timeout"),
        "{answer}"
    );
    let reasons: Vec<_> = records
        .records
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|record| record.reason)
        .collect();
    assert_eq!(reasons, [Some(Reason::HeadTimeout)]);
}

#[tokio::test]
async fn what_is_no_request_is_refused_recorded_and_the_last_word() {
    for (bytes, status, reason) in [
        ("GET / HTTP/1.1\r\n\r\n", 400, Reason::HostMissing),
        (
            "GET / HTTP/3.0\r\nhost: h\r\n\r\n",
            505,
            Reason::VersionUnsupported,
        ),
        ("\u{16}\u{3}\u{1}\u{2}", 400, Reason::FrameMalformed),
    ] {
        let mut served = Served::open(ConnectionLimits::default()).await;
        let echo = Arc::clone(&served.echo);
        served
            .peer
            .write_all([bytes, &get("/smuggled")].concat().as_bytes())
            .await
            .unwrap();

        let answer = served.rest().await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let records = echo.records.0.lock().unwrap();
        assert_eq!(
            (records.len(), records[0].reason, records[0].ending),
            (1, Some(reason), Ending::Complete)
        );
    }
}

#[tokio::test]
async fn a_silent_connection_is_closed_without_a_word() {
    let limits = ConnectionLimits {
        idle_timeout: Duration::from_millis(300),
        ..ConnectionLimits::default()
    };
    let silent = Served::open(limits).await;
    assert_eq!(silent.rest().await, "");

    let mut kept = Served::open(limits).await;
    assert!(kept.ask(&get("/")).await.ends_with("GET /!"));
    let echo = Arc::clone(&kept.echo);
    assert_eq!(kept.rest().await, "");
    assert!(echo.records.0.lock().unwrap().is_empty(), "nobody was refused");
}

#[tokio::test]
async fn a_drain_serves_what_was_on_its_way_and_ends() {
    let mut busy = Served::open(ConnectionLimits::default()).await;
    let mut idle = Served::open(ConnectionLimits::default()).await;
    assert!(!idle.ask(&get("/")).await.contains("close"));

    busy.drain.send(true).unwrap();
    idle.drain.send(true).unwrap();

    let last = busy.ask(&get("/last")).await;
    assert!(
        last.contains("connection: close\r\n") && last.ends_with("GET /last!"),
        "{last}"
    );
    assert_eq!(busy.rest().await, "");
    assert_eq!(idle.rest().await, "");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_connection() {
    for bytes in [
        "",
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc",
    ] {
        let mut served = Served::open(ConnectionLimits::default()).await;
        served.peer.write_all(bytes.as_bytes()).await.unwrap();
        served.peer.shutdown().await.unwrap();

        assert_eq!(served.rest().await, "", "{bytes}");
    }
}

/// A connection costs its task; arrays on its stack would be paid for by every idle one.
#[tokio::test]
async fn an_idle_connection_is_small() {
    let (_peer, socket) = pair().await;
    let (connection, _drain) = connection(ConnectionLimits::default());
    let echo = Echo::new();

    let served = serve(&echo, socket, connection);

    assert!(size_of_val(&served) <= 2048, "{}", size_of_val(&served));
}
