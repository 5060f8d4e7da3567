//! Exchanges over HTTP/2, the endpoint played by `h2` itself.

use std::future::Future;

use h2::Reason;
use h2::server::{Connection, SendResponse};
use http::Response;

use super::*;

type Incoming = (http::Request<h2::RecvStream>, SendResponse<Bytes>);

/// An HTTP/2 endpoint; `serve` plays each connection.
async fn endpoint<F>(
    serve: impl Fn(usize, Connection<TcpStream, Bytes>) -> F + Send + Sync + 'static,
) -> Endpoint
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint {
        address: listener.local_addr().unwrap(),
        connections: Arc::default(),
        reads: Arc::default(),
    };
    let connections = Arc::clone(&endpoint.connections);
    let serve = Arc::new(serve);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = connections.fetch_add(1, Ordering::SeqCst);
            let serve = Arc::clone(&serve);
            tokio::spawn(async move {
                let connection = h2::server::handshake(stream).await.unwrap();
                serve(number, connection).await;
            });
        }
    });
    endpoint
}

/// An endpoint that does the same with each request.
async fn each(answer: impl Fn(Incoming) + Send + Sync + 'static) -> Endpoint {
    let answer = Arc::new(answer);
    endpoint(move |_, mut connection| {
        let answer = Arc::clone(&answer);
        async move {
            while let Some(Ok(incoming)) = connection.accept().await {
                answer(incoming);
            }
        }
    })
    .await
}

impl Way {
    async fn ask_h2(&self, endpoint: &Endpoint, request: Request) -> Result<Answer, EndpointFault> {
        let opened = self.mesh.open(&facts(endpoint.address, Protocol::H2)).await;
        let mut upstream = opened.unwrap();
        let answer = exchange(&mut upstream, request).await;
        upstream.release();
        answer
    }
}

fn hello(respond: &mut SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
}

#[tokio::test]
async fn requests_share_a_connection() {
    let endpoint = each(|(_, mut respond)| hello(&mut respond)).await;
    let way = Way::new();

    for _ in 0..3 {
        assert_eq!(
            way.ask_h2(&endpoint, Request::get()).await.unwrap().body,
            b"hello"
        );
    }

    assert_eq!(endpoint.connections(), 1);
    assert_eq!(way.counted(crate::metrics::ENDPOINT_CONNECTIONS, "reused"), 2);
}

#[tokio::test]
async fn a_body_and_trailers_pass_both_ways() {
    let endpoint = each(|(request, mut respond)| {
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            assert_eq!(head.uri, "http://api.test/a?b=c");
            assert_eq!(head.headers["te"], "trailers");
            assert!(!head.headers.contains_key("host") && !head.headers.contains_key("connection"));
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                stream.send_data(data, false).unwrap();
            }
            let mut trailers = body.trailers().await.unwrap().unwrap();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("set-cookie", HeaderValue::from_static("a=b"));
            stream.send_trailers(trailers).unwrap();
        });
    })
    .await;
    let mut request = Request::new(Method::POST)
        .with(Length::Unknown, &[])
        .field("te", "trailers")
        .field("connection", "x")
        .field("host", "evil.test");
    request.pieces = vec![Bytes::from(vec![b'x'; 50_000]); 20];
    request.trailers = Some(HeaderMap::from_iter([
        (HeaderName::from_static("x-sum"), HeaderValue::from_static("1")),
        (
            HeaderName::from_static("authorization"),
            HeaderValue::from_static("me"),
        ),
    ]));

    let answer = Way::new().ask_h2(&endpoint, request).await.unwrap();

    let trailers = answer.trailers.unwrap();
    assert_eq!(answer.body.len(), 1_000_000);
    assert_eq!(answer.length, Some(Length::Unknown));
    let mut names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["grpc-status", "x-sum"]);
}

#[tokio::test]
async fn a_known_length_is_said_and_ends_with_its_last_piece() {
    let endpoint = each(|(request, mut respond)| {
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let length = head.headers.get("content-length").cloned();
            let data = body.data().await.unwrap().unwrap();
            let mut response = Response::new(());
            let said = HeaderValue::from_str(&format!("{length:?} {} {}", data.len(), body.is_end_stream()));
            response.headers_mut().insert("x-seen", said.unwrap());
            respond.send_response(response, true).unwrap();
        });
    })
    .await;

    let answer = Way::new()
        .ask_h2(&endpoint, Request::post(&["hello"]))
        .await
        .unwrap();

    assert_eq!(answer.headers["x-seen"], "Some(\"5\") 5 true");
    assert_eq!(answer.length, Some(Length::None));
}

#[tokio::test]
async fn an_answer_to_head_says_the_length_of_a_body_it_does_not_have() {
    let endpoint = each(|(_, mut respond)| {
        let response = Response::builder()
            .header("content-length", "5")
            .body(())
            .unwrap();
        respond.send_response(response, true).unwrap();
    })
    .await;

    let answer = Way::new()
        .ask_h2(&endpoint, Request::new(Method::HEAD))
        .await
        .unwrap();

    assert_eq!((answer.length, answer.body.len()), (Some(Length::Known(5)), 0));
    assert!(!answer.headers.contains_key("content-length"));
}

#[tokio::test]
async fn interim_responses_are_handed_on() {
    let endpoint = each(|(_, mut respond)| {
        let hint = Response::builder().status(103).body(()).unwrap();
        respond.send_informational(hint).unwrap();
        hello(&mut respond);
    })
    .await;

    let answer = Way::new().ask_h2(&endpoint, Request::get()).await.unwrap();

    assert_eq!(
        (&answer.interim[..], answer.status),
        (&[StatusCode::EARLY_HINTS][..], StatusCode::OK)
    );
}

#[tokio::test]
async fn an_interim_flood_is_refused() {
    let endpoint = each(|(_, mut respond)| {
        for _ in 0..17 {
            let hint = Response::builder().status(103).body(()).unwrap();
            respond.send_informational(hint).unwrap();
        }
        hello(&mut respond);
    })
    .await;

    let fault = Way::new().ask_h2(&endpoint, Request::get()).await.unwrap_err();

    assert_eq!(fault.outcome, PROTOCOL);
}

/// RFC 9113 section 8.7: a refused stream was not processed; any other reset says nothing of the kind.
#[tokio::test]
async fn only_a_refused_stream_is_unprocessed() {
    for (reason, is_unprocessed) in [
        (Reason::REFUSED_STREAM, true),
        (Reason::INTERNAL_ERROR, false),
        (Reason::CANCEL, false),
        (Reason::ENHANCE_YOUR_CALM, false),
    ] {
        let endpoint = each(move |(_, mut respond)| respond.send_reset(reason)).await;
        let way = Way::new();

        let fault = way.ask_h2(&endpoint, Request::get()).await.unwrap_err();
        let again = way.ask_h2(&endpoint, Request::get()).await.unwrap_err();

        assert_eq!(
            (fault.outcome, fault.is_unprocessed),
            (RESET, is_unprocessed),
            "{reason:?}"
        );
        assert_eq!(again.is_unprocessed, is_unprocessed);
        assert_eq!(
            endpoint.connections(),
            1,
            "a reset stream leaves its connection alone"
        );
    }
}

/// RFC 9113 section 6.8: what lies beyond the last stream of a goodbye was not processed.
#[tokio::test]
async fn a_goodbye_says_what_was_not_processed_and_the_next_request_goes_elsewhere() {
    let endpoint = endpoint(|number, mut connection| async move {
        if number == 0 {
            connection.abrupt_shutdown(Reason::NO_ERROR);
            let _ = connection.accept().await;
            return;
        }
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            hello(&mut respond);
        }
    })
    .await;
    let way = Way::new();

    let opened = way.mesh.open(&facts(endpoint.address, Protocol::H2)).await;
    if let Ok(mut upstream) = opened {
        if let Err(fault) = exchange(&mut upstream, Request::get()).await {
            assert_eq!((fault.outcome, fault.is_unprocessed), (RESET, true));
        }
        upstream.release();
    }
    let next = way.ask_h2(&endpoint, Request::get()).await.unwrap();

    assert_eq!((next.body.as_slice(), endpoint.connections()), (&b"hello"[..], 2));
}

#[tokio::test]
async fn an_answer_that_is_reset_halfway_is_not_whole() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let endpoint = each(move |(_, mut respond)| {
            tokio::spawn(async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(b"hel"), false).unwrap();
                // The data leaves before the reset, which would overtake it.
                tokio::task::yield_now().await;
                stream.send_reset(reason);
            });
        })
        .await;

        let fault = Way::new().ask_h2(&endpoint, Request::get()).await.unwrap_err();

        assert_eq!(
            (fault.outcome, fault.is_unprocessed),
            (RESET, false),
            "{reason:?}"
        );
    }
}

/// RFC 9113 section 8.1.1.
#[tokio::test]
async fn a_body_that_is_not_as_long_as_said_is_refused() {
    for said in ["4", "6"] {
        let endpoint = each(move |(_, mut respond)| {
            let response = Response::builder()
                .header("content-length", said)
                .body(())
                .unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            let _ = stream.send_data(Bytes::from_static(b"hello"), true);
        })
        .await;

        let fault = Way::new().ask_h2(&endpoint, Request::get()).await.unwrap_err();

        assert_eq!(fault.outcome, PROTOCOL, "{said}");
    }
}

/// RFC 9113 section 8.1: an endpoint that has answered may stop the request.
#[tokio::test]
async fn an_early_answer_is_read_although_the_body_is_not_wanted() {
    let endpoint = each(|(request, mut respond)| {
        tokio::spawn(async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"no"), true).unwrap();
            tokio::task::yield_now().await;
            drop(request);
            stream.send_reset(Reason::NO_ERROR);
        });
    })
    .await;
    let request = Request {
        pieces: vec![Bytes::from(vec![b'x'; 60_000]); 100],
        length: Length::Unknown,
        ..Request::new(Method::PUT)
    };

    let answer = Way::new().ask_h2(&endpoint, request).await.unwrap();

    assert_eq!(answer.body, b"no");
}

#[tokio::test]
async fn an_endpoint_gets_room_only_as_its_answer_is_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let endpoint = each(move |(_, mut respond)| {
        let counter = Arc::clone(&counter);
        tokio::spawn(async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            loop {
                stream.reserve_capacity(16 * 1024);
                match poll_fn(|context| stream.poll_capacity(context)).await {
                    Some(Ok(room)) => {
                        let _ = stream.send_data(Bytes::from(vec![0; room]), false);
                        counter.fetch_add(room, Ordering::SeqCst);
                    }
                    _ => return,
                }
            }
        });
    })
    .await;
    let way = Way::new();
    let mut upstream = way
        .mesh
        .open(&facts(endpoint.address, Protocol::H2))
        .await
        .unwrap();
    upstream.send_head(&Request::get().head, Length::None).unwrap();
    poll_fn(|context| upstream.poll_head(context)).await.unwrap();

    until(|| sent.load(Ordering::SeqCst) == 256 * 1024).await;
    let mut read = 0;
    while read <= 256 * 1024 {
        match poll_fn(|context| upstream.poll_piece(context)).await.unwrap() {
            Piece::Data(data) => read += data.len(),
            Piece::End(_) => panic!("it has no end"),
        }
    }
    assert!(sent.load(Ordering::SeqCst) <= read + 256 * 1024);
    upstream.release();
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_http2_is_no_way() {
    let endpoint = Endpoint::start(|_, _| says(HELLO)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(HELLO).await;
        }
    });
    let way = Way::new();

    let mut facts = facts(endpoint.address, Protocol::H2);
    facts.target.endpoint.address = address;
    let mut upstream = match way.mesh.open(&facts).await {
        Err(fault) => return assert_eq!(fault.kind(), TransportKind::Protocol),
        // The handshake is optimistic: the answer shows it.
        Ok(upstream) => upstream,
    };
    let fault = exchange(&mut upstream, Request::get()).await.unwrap_err();

    assert!(matches!(fault.outcome, Outcome::Transport(_)), "{fault:?}");
}
