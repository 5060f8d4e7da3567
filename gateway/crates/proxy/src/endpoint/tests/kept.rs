//! Which connections serve another request, and which never do.

use super::*;
use crate::endpoint::pool::{Pool, PoolKey};

/// Connections that two requests in a row take, the first answered so.
async fn connections_after(first: Reply) -> usize {
    let endpoint = Endpoint::first_says(first).await;
    let way = Way::new();
    way.get(&endpoint).await.unwrap();
    way.get(&endpoint).await.unwrap();
    endpoint.connections()
}

#[tokio::test]
async fn a_clean_connection_serves_the_next_request() {
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let way = Way::new();

    for _ in 0..10 {
        way.get(&endpoint).await.unwrap();
    }

    assert_eq!(endpoint.connections(), 1);
    let counted = |origin| way.counted(crate::metrics::ENDPOINT_CONNECTIONS, origin);
    assert_eq!((counted("new"), counted("reused")), (1, 9));
    assert_eq!(
        endpoint.reads.lock().unwrap().len(),
        10,
        "one send for each request"
    );
}

#[tokio::test]
async fn an_endpoint_that_says_close_is_believed() {
    let field = |field: &str| says(format!("HTTP/1.1 200 OK\r\n{field}content-length: 0\r\n\r\n"));

    assert_eq!(connections_after(field("connection: close\r\n")).await, 2);
    assert_eq!(
        connections_after(field("connection: keep-alive, Close\r\n")).await,
        2
    );
    assert_eq!(connections_after(field("connection: keep-alive\r\n")).await, 1);
}

#[tokio::test]
async fn an_older_endpoint_keeps_a_connection_only_where_it_says_so() {
    let silent = says("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n");
    let keeps = says("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n");

    assert_eq!(connections_after(silent).await, 2);
    assert_eq!(connections_after(keeps).await, 1);
}

#[tokio::test]
async fn an_endpoints_own_patience_bounds_ours() {
    let field = |field: &str| says(format!("HTTP/1.1 200 OK\r\n{field}content-length: 0\r\n\r\n"));

    assert_eq!(connections_after(field("keep-alive: timeout=0\r\n")).await, 2);
    assert_eq!(connections_after(field("keep-alive: timeout=1\r\n")).await, 2);
    assert_eq!(
        connections_after(field("keep-alive: timeout=60, max=9\r\n")).await,
        1
    );
}

/// The goodbye that arrives while a connection is kept.
#[tokio::test]
async fn a_connection_that_closed_meanwhile_is_not_used() {
    let endpoint = Endpoint::first_says(says_and(HELLO, Then::Close)).await;
    let way = Way::new();
    way.get(&endpoint).await.unwrap();

    let facts = facts(endpoint.address, Protocol::H1);
    until(|| {
        way.mesh.sweep();
        way.counted_kept("h1") == 0
    })
    .await;

    assert!(way.mesh.take(&facts).is_none());
    way.get(&endpoint).await.unwrap();
    assert_eq!(endpoint.connections(), 2);
    assert_eq!(
        way.counted(crate::metrics::ENDPOINT_CONNECTIONS_FAILED, "out-of-turn"),
        0
    );
}

/// The race that no look can win: the endpoint closes as the request is on its way. Whether it acted on it is not
/// known, and is said so.
#[tokio::test]
async fn a_kept_connection_that_breaks_under_a_request_is_no_proof_that_nothing_happened() {
    let endpoint = Endpoint::start(|_, request| match request {
        0 => says(HELLO),
        _ => says_and("", Then::Close),
    })
    .await;
    let way = Way::new();
    way.get(&endpoint).await.unwrap();

    let fault = way.get(&endpoint).await.unwrap_err();

    assert_eq!((fault.outcome, fault.is_unprocessed), (RESET, false));
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn a_request_that_never_left_leaves_its_connection_clean() {
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let way = Way::new();

    let mut unsent = way.open(&endpoint).await;
    unsent.send_head(&Request::get().head, Length::None).unwrap();
    assert!(!unsent.has_left());
    unsent.release();
    way.get(&endpoint).await.unwrap();

    assert_eq!(endpoint.connections(), 1);
    assert_eq!(endpoint.seen().matches("HTTP/1.1").count(), 1);
}

#[tokio::test]
async fn an_unfinished_request_costs_its_connection() {
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let way = Way::new();

    let mut half = way.open(&endpoint).await;
    half.send_head(&Request::post(&["hello"]).head, Length::Known(5))
        .unwrap();
    half.push(Bytes::from_static(b"he"));
    poll_fn(|context| half.poll_flush(context)).await.unwrap();
    assert!(half.has_left());
    half.release();
    way.get(&endpoint).await.unwrap();

    assert_eq!(endpoint.connections(), 2);
}

#[tokio::test]
async fn an_unread_answer_costs_its_connection() {
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let way = Way::new();

    let mut unread = way.open(&endpoint).await;
    unread.send_head(&Request::get().head, Length::None).unwrap();
    poll_fn(|context| unread.poll_flush(context)).await.unwrap();
    poll_fn(|context| unread.poll_head(context)).await.unwrap();
    unread.release();
    way.get(&endpoint).await.unwrap();

    assert_eq!(endpoint.connections(), 2);
}

#[tokio::test]
async fn the_connection_used_last_is_used_next() {
    let endpoint = Endpoint::start(|connection, _| {
        says(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{connection}"
        ))
    })
    .await;
    let way = Way::new();
    let (mut first, mut second) = (way.open(&endpoint).await, way.open(&endpoint).await);
    let a = exchange(&mut first, Request::get()).await.unwrap().body;
    let b = exchange(&mut second, Request::get()).await.unwrap().body;
    first.release();
    second.release();

    assert_eq!(way.get(&endpoint).await.unwrap().body, b);
    assert_eq!(way.get(&endpoint).await.unwrap().body, b);
    assert_ne!(a, b);
}

#[tokio::test]
async fn another_pool_has_its_own_connections() {
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let way = Way::new();
    way.get(&endpoint).await.unwrap();

    let mut other = facts(endpoint.address, Protocol::H1);
    other.target.endpoint.pool = PoolId::from("other");

    assert!(way.mesh.take(&other).is_none());
    assert!(way.mesh.take(&facts(endpoint.address, Protocol::H1)).is_some());
}

/// What was verified for one generation of trust, or for one name, was not verified for another.
#[test]
fn lanes_are_apart_by_everything_that_was_verified() {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let pool = Pool::default();
    let id = PoolId::from("pool");
    let (a, b): (Arc<str>, Arc<str>) = ("a.test".into(), "b.test".into());
    let key = |trust, dns| PoolKey {
        pool: &id,
        address: SocketAddr::from(([127, 0, 0, 1], 443)),
        trust,
        dns,
    };

    let keys = [
        (None, None),
        (Some(1), Some(&a)),
        (Some(2), Some(&a)),
        (Some(1), Some(&b)),
    ];
    let lanes = keys.map(|(trust, dns)| pool.lane(&key(trust, dns), &metrics));

    for (index, lane) in lanes.iter().enumerate() {
        let (trust, dns) = keys[index];
        assert!(Arc::ptr_eq(lane, &pool.lane(&key(trust, dns), &metrics)));
        assert!(
            lanes
                .iter()
                .skip(index + 1)
                .all(|other| !Arc::ptr_eq(lane, other))
        );
    }
}

#[test]
fn a_lane_nobody_uses_is_swept_away() {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let pool = Pool::default();
    let id = PoolId::from("pool");
    let key = PoolKey {
        pool: &id,
        address: SocketAddr::from(([127, 0, 0, 1], 80)),
        trust: None,
        dns: None,
    };

    let used = pool.lane(&key, &metrics);
    pool.sweep();
    let still = pool.lane(&key, &metrics);
    assert!(Arc::ptr_eq(&used, &still));

    let gone = Arc::downgrade(&used);
    drop((used, still));
    pool.sweep();
    assert!(gone.upgrade().is_none());
}

#[tokio::test]
async fn a_refused_connection_is_counted_and_says_that_nothing_left() {
    let address = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let way = Way::new();

    let Err(fault) = way.mesh.open(&facts(address, Protocol::H1)).await else {
        panic!("nobody listens there");
    };

    assert_eq!(fault.kind(), TransportKind::Refused);
    assert_eq!(
        way.counted(crate::metrics::ENDPOINT_CONNECTIONS_FAILED, "refused"),
        1
    );
}
