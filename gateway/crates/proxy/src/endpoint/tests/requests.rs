//! What leaves, and in how many pieces.

use super::*;

/// What arrived of a request, read by read.
async fn reads_of(request: Request) -> Vec<String> {
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let way = Way::new();
    way.ask(&endpoint, request).await.unwrap();
    let reads = endpoint.reads.lock().unwrap();
    reads
        .iter()
        .map(|read| String::from_utf8_lossy(read).into_owned())
        .collect()
}

#[tokio::test]
async fn a_head_is_built_from_parts_and_leaves_at_once() {
    let request = Request::get()
        .field("accept", "*/*")
        .field("host", "evil.test")
        .field("content-length", "9")
        .field("transfer-encoding", "chunked")
        .field("connection", "close")
        .field("upgrade", "h2c")
        .field("te", "trailers")
        .field("keep-alive", "timeout=1")
        .field("x-two", "1")
        .field("x-two", "2");

    let reads = reads_of(request).await;

    let head = "GET /a?b=c HTTP/1.1\r\nhost: api.test\r\naccept: */*\r\nx-two: 1\r\nx-two: 2\r\n\r\n";
    assert_eq!(reads, [head]);
}

#[tokio::test]
async fn a_head_and_its_body_leave_in_one_send() {
    let reads = reads_of(Request::post(&["hel", "lo"])).await;
    let head = "POST /a?b=c HTTP/1.1\r\nhost: api.test\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(reads, [head]);

    let reads = reads_of(Request::new(Method::POST).with(Length::Unknown, &["hel", "lo"])).await;
    let head = "POST /a?b=c HTTP/1.1\r\nhost: api.test\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(reads, [[head, "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"].concat()]);
}

/// RFC 9110 section 8.6.
#[tokio::test]
async fn a_method_that_means_a_body_says_that_there_is_none() {
    for (method, says_so) in [
        (Method::POST, true),
        (Method::PUT, true),
        (Method::PATCH, true),
        (Method::GET, false),
        (Method::DELETE, false),
    ] {
        let reads = reads_of(Request::new(method.clone())).await;

        assert_eq!(reads[0].contains("content-length: 0\r\n"), says_so, "{method}");
    }
}

#[tokio::test]
async fn trailers_follow_a_body_of_unknown_length() {
    let mut request = Request::new(Method::POST).with(Length::Unknown, &["hello"]);
    request.trailers = Some(HeaderMap::from_iter([
        (HeaderName::from_static("x-sum"), HeaderValue::from_static("1")),
        (
            HeaderName::from_static("content-length"),
            HeaderValue::from_static("9"),
        ),
        (
            HeaderName::from_static("authorization"),
            HeaderValue::from_static("me"),
        ),
    ]));

    let reads = reads_of(request).await;

    assert!(
        reads[0].ends_with("\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"),
        "{reads:?}"
    );
}

#[tokio::test]
async fn trailers_are_dropped_where_the_length_was_said() {
    let mut request = Request::post(&["hello"]);
    let trailer = (HeaderName::from_static("x-sum"), HeaderValue::from_static("1"));
    request.trailers = Some(HeaderMap::from_iter([trailer]));

    let reads = reads_of(request).await;

    assert!(reads[0].ends_with("\r\n\r\nhello"), "{reads:?}");
}

#[tokio::test]
async fn a_target_that_would_break_the_request_line_is_never_sent() {
    for path in ["", "/a b", "/a\r\nx: y", "/a\tb", "/\0", "/\u{7f}"] {
        let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
        let way = Way::new();
        let mut request = Request::get();
        request.head.path_and_query = path.to_owned();

        let fault = way.ask(&endpoint, request).await.unwrap_err();
        let next = way.get(&endpoint).await.unwrap();

        assert_eq!(fault.outcome, PROTOCOL, "{path:?}");
        assert_eq!(
            (next.body.as_slice(), endpoint.connections()),
            (&b"hello"[..], 1),
            "{path:?}"
        );
        assert!(endpoint.seen().starts_with("GET /a?b=c HTTP/1.1\r\n"), "{path:?}");
    }
}

#[tokio::test]
async fn a_big_body_is_sent_whole_either_way() {
    let pieces: Vec<Bytes> = [1, 20_000, 64 * 1024, 7, 100_000, 16 * 1024]
        .iter()
        .map(|size| Bytes::from(vec![b'x'; *size]))
        .collect();
    let size: usize = pieces.iter().map(Bytes::len).sum();
    for length in [Length::Known(size as u64), Length::Unknown] {
        let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
        let way = Way::new();
        let request = Request {
            length,
            pieces: pieces.clone(),
            ..Request::new(Method::PUT)
        };

        way.ask(&endpoint, request).await.unwrap();
        way.get(&endpoint).await.unwrap();

        let seen = endpoint.seen();
        assert_eq!(seen.matches('x').count(), size);
        assert_eq!(endpoint.connections(), 1);
    }
}

/// A body that is shorter or longer than its head says never lets the connection serve somebody else.
#[tokio::test]
async fn a_body_that_is_not_what_was_said_costs_the_connection() {
    let longer = Request {
        pieces: vec![Bytes::from_static(b"hello, evil")],
        ..Request::post(&["hello"])
    };
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let way = Way::new();

    way.ask(&endpoint, longer).await.unwrap();
    way.get(&endpoint).await.unwrap();

    assert!(!endpoint.seen().contains("evil"));
    assert_eq!(endpoint.connections(), 2);
}

/// Pieces of 32 KiB that are taken before the one who pushes has to wait.
async fn pieces_taken(upstream: &mut Upstream) -> usize {
    let head = Request::new(Method::PUT).head;
    upstream.send_head(&head, Length::Unknown).unwrap();
    let piece = Bytes::from(vec![0; 32 * 1024]);
    let mut taken = 0;
    poll_fn(|context| {
        while upstream.poll_room(context)?.is_ready() {
            upstream.push(piece.clone());
            taken += 1;
            assert!(taken < 4096, "it never has to wait");
        }
        Poll::Ready(Ok::<_, EndpointFault>(()))
    })
    .await
    .unwrap();
    taken
}

#[tokio::test]
async fn an_endpoint_that_does_not_read_makes_the_sender_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Way::new();
    let facts = facts(listener.local_addr().unwrap(), Protocol::H1);
    let (accepted, opened) = tokio::join!(listener.accept(), way.mesh.open(&facts));
    let (_silent, mut upstream) = (accepted.unwrap(), opened.unwrap());

    assert!(pieces_taken(&mut upstream).await >= 2);
}

#[tokio::test]
async fn an_http2_endpoint_that_gives_no_room_makes_the_sender_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Way::new();
    let facts = facts(listener.local_addr().unwrap(), Protocol::H2);
    let (accepted, opened) = tokio::join!(listener.accept(), way.mesh.open(&facts));
    let (_silent, mut upstream) = (accepted.unwrap(), opened.unwrap());

    // Two wait here; the window an endpoint starts with has room for less than two more.
    assert!((2..=4).contains(&pieces_taken(&mut upstream).await));
}
