use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, StatusCode};

use super::*;
use crate::message::Length;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

fn fields(list: &[(HeaderName, &'static str)]) -> HeaderMap {
    let fields = list.iter();
    fields
        .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
        .collect()
}

/// The bytes of an answer, and whether the connection goes on.
async fn answer(
    request: &str,
    status: StatusCode,
    fields: HeaderMap,
    (length, pieces): (Length, &[&'static str]),
) -> (String, bool) {
    let (mut client, mut peer) = client(request).await;
    client.start(status, fields, length).unwrap();
    for piece in pieces {
        push(&mut client, Bytes::from_static(piece.as_bytes())).await;
    }
    client.finish(None).unwrap();
    flush(&mut client).await;
    let goes_on = client.into_next().is_ok();
    (rest(&mut peer).await, goes_on)
}

#[tokio::test]
async fn an_answer_of_a_known_length_says_it() {
    let fields = fields(&[(HeaderName::from_static("x-a"), "1")]);

    let (answer, goes_on) = answer(GET, StatusCode::OK, fields, (Length::Known(5), &["he", "llo"])).await;

    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello"
    );
    assert!(goes_on);
}

#[tokio::test]
async fn an_answer_of_an_unknown_length_comes_in_chunks_with_its_trailers() {
    let (mut client, mut peer) = client(GET).await;
    client
        .start(StatusCode::OK, HeaderMap::new(), Length::Unknown)
        .unwrap();
    push(&mut client, Bytes::from_static(b"hello")).await;
    push(&mut client, Bytes::new()).await;
    push(&mut client, Bytes::from(vec![b'x'; 300])).await;
    let trailers = fields(&[
        (HeaderName::from_static("grpc-status"), "0"),
        (CONTENT_LENGTH, "7"),
        (http::header::HOST, "evil"),
    ]);

    client.finish(Some(trailers)).unwrap();
    flush(&mut client).await;

    assert!(client.into_next().is_ok());
    let body = format!(
        "5\r\nhello\r\n12c\r\n{}\r\n0\r\ngrpc-status: 0\r\n\r\n",
        "x".repeat(300)
    );
    let expected = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    assert_eq!(rest(&mut peer).await, expected);
}

/// RFC 9112 section 7.1: chunks are not for HTTP/1.0; the end of the connection ends the body.
#[tokio::test]
async fn an_http10_client_gets_no_chunks() {
    let old = "GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n";

    let (unknown, goes_on) = answer(
        old,
        StatusCode::OK,
        HeaderMap::new(),
        (Length::Unknown, &["hello"]),
    )
    .await;
    assert_eq!(unknown, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
    assert!(!goes_on);

    let (known, goes_on) = answer(
        old,
        StatusCode::OK,
        HeaderMap::new(),
        (Length::Known(5), &["hello"]),
    )
    .await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n";
    assert_eq!(known, format!("{head}hello"));
    assert!(goes_on);

    let unasked = old.replace("connection: keep-alive\r\n", "");
    let (known, goes_on) = answer(&unasked, StatusCode::OK, HeaderMap::new(), (Length::None, &[])).await;
    assert_eq!(
        known,
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    assert!(!goes_on);
}

/// RFC 9110 sections 8.6, 9.3.2, 15.3.5 and 15.4.5.
#[tokio::test]
async fn what_has_no_body_gets_none() {
    let head = "HEAD / HTTP/1.1\r\nhost: h\r\n\r\n";
    let length = |text| fields(&[(CONTENT_LENGTH, text)]);
    let cases = [
        (
            head,
            200,
            length("7"),
            Length::Known(7),
            "200 OK\r\ncontent-length: 7\r\n",
        ),
        (
            head,
            200,
            HeaderMap::new(),
            Length::Known(7),
            "200 OK\r\ncontent-length: 7\r\n",
        ),
        (head, 200, HeaderMap::new(), Length::Unknown, "200 OK\r\n"),
        (head, 200, HeaderMap::new(), Length::None, "200 OK\r\n"),
        (
            GET,
            304,
            length("7"),
            Length::None,
            "304 Not Modified\r\ncontent-length: 7\r\n",
        ),
        (GET, 304, HeaderMap::new(), Length::None, "304 Not Modified\r\n"),
        (GET, 204, length("7"), Length::Known(7), "204 No Content\r\n"),
        (GET, 204, HeaderMap::new(), Length::Unknown, "204 No Content\r\n"),
    ];

    for (request, status, fields, length, expected) in cases {
        let status = StatusCode::from_u16(status).unwrap();
        let (answer, goes_on) = answer(request, status, fields, (length, &["content"])).await;

        assert_eq!(answer, format!("HTTP/1.1 {expected}\r\n"));
        assert!(goes_on, "{expected}");
    }
    let (empty, _) = answer(GET, StatusCode::CREATED, HeaderMap::new(), (Length::None, &[])).await;
    assert_eq!(empty, "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n");
}

#[tokio::test]
async fn framing_is_never_the_endpoints_to_say() {
    let claimed = fields(&[
        (CONTENT_LENGTH, "999"),
        (TRANSFER_ENCODING, "gzip"),
        (CONNECTION, "x-secret"),
        (HeaderName::from_static("x-kept"), "1"),
    ]);

    let (answer, _) = answer(GET, StatusCode::OK, claimed, (Length::Known(2), &["ok"])).await;

    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nx-kept: 1\r\ncontent-length: 2\r\n\r\nok"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_keep_its_length_ends_the_connection() {
    for (pieces, is_kept) in [
        (&["hello"][..], true),
        (&["hell"], false),
        (&["hel", "lo!"], false),
    ] {
        let (mut client, mut peer) = client(GET).await;
        client
            .start(StatusCode::OK, HeaderMap::new(), Length::Known(5))
            .unwrap();
        let mut pushed = pieces
            .iter()
            .map(|piece| client.push(Bytes::from_static(piece.as_bytes())));
        let is_pushed = pushed.all(|pushed| pushed.is_ok());
        let is_finished = client.finish(None).is_ok();
        assert_eq!(is_pushed && is_finished, is_kept, "{pieces:?}");
        flush(&mut client).await;

        match client.into_next() {
            Ok(_) => assert!(is_kept, "{pieces:?}"),
            Err(closing) => {
                assert!(!is_kept, "{pieces:?}");
                let (seen, ()) = tokio::join!(rest(&mut peer), closing.close());
                assert!(!seen.ends_with("hello") && !seen.contains('!'), "{seen}");
            }
        }
    }
}

#[tokio::test]
async fn an_unfinished_chunked_answer_has_no_last_chunk() {
    let (mut client, mut peer) = client(GET).await;
    client
        .start(StatusCode::OK, HeaderMap::new(), Length::Unknown)
        .unwrap();
    client.push(Bytes::from_static(b"part")).unwrap();

    let Err(closing) = client.into_next() else {
        panic!("half an answer leaves no connection");
    };
    let (seen, ()) = tokio::join!(rest(&mut peer), closing.close());

    assert!(
        seen.ends_with("\r\n\r\n4\r\npart\r\n"),
        "what was queued still leaves: {seen}"
    );
}

#[tokio::test]
async fn interim_responses_go_to_who_knows_them() {
    for (version, expected) in [
        (
            "1.1",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n",
        ),
        ("1.0", "HTTP/1.1 200 OK\r\n"),
    ] {
        let (mut client, mut peer) = client(format!("GET / HTTP/{version}\r\nhost: h\r\n\r\n")).await;

        let hints = fields(&[(http::header::LINK, "</a>"), (CONTENT_LENGTH, "3")]);
        client.interim(StatusCode::EARLY_HINTS, &hints);
        assert_eq!(client.status(), None);
        client
            .start(StatusCode::OK, HeaderMap::new(), Length::None)
            .unwrap();
        client.interim(StatusCode::EARLY_HINTS, &hints);
        client.finish(None).unwrap();
        flush(&mut client).await;
        drop(client);

        let seen = rest(&mut peer).await;
        assert!(seen.starts_with(expected), "{seen}");
        assert!(
            seen.ends_with("\r\n\r\n") && seen.matches(" 103 ").count() < 2,
            "{seen}"
        );
    }
}

#[tokio::test]
async fn interim_responses_without_end_are_dropped_and_the_answer_is_not() {
    let (mut client, mut peer) = client(GET).await;
    let hints = fields(&[(http::header::LINK, "</a>")]);

    for _ in 0..100_000 {
        client.interim(StatusCode::EARLY_HINTS, &hints);
    }
    client
        .start(StatusCode::NO_CONTENT, HeaderMap::new(), Length::None)
        .unwrap();
    client.finish(None).unwrap();
    let writing = async {
        flush(&mut client).await;
        drop(client);
    };
    let (seen, ()) = tokio::join!(rest(&mut peer), writing);

    assert!(seen.len() < 70 * 1024, "{}", seen.len());
    assert!(seen.ends_with("HTTP/1.1 204 No Content\r\n\r\n"));
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_answer() {
    let (mut client, mut peer) = client(GET).await;
    client
        .start(StatusCode::OK, HeaderMap::new(), Length::Unknown)
        .unwrap();
    let mut pushed = 0;
    while now(|context| client.poll_room(context)).await.is_ready() {
        client.push(Bytes::from(vec![b'x'; 16 * 1024])).unwrap();
        pushed += 16 * 1024;
        assert!(pushed < 64 * 1024 * 1024, "room without end");
    }

    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while peer.read(&mut buffer).await.unwrap() > 0 {}
    });

    timeout(PATIENCE, poll_fn(|context| client.poll_room(context)))
        .await
        .expect("room again once the peer reads")
        .unwrap();
    reading.abort();
}

#[tokio::test]
async fn small_and_large_pieces_leave_in_order() {
    let (mut client, mut peer) = client(GET).await;
    let sizes = [10, 20_000, 5, 16 * 1024, 100_000, 1, 16 * 1024 - 1, 70_000, 3];
    let mut expected = Vec::new();
    for (index, size) in sizes.into_iter().enumerate() {
        expected.extend_from_slice(&vec![b'a' + index as u8; size]);
    }
    let length = expected.len() as u64;
    let sending = async {
        client
            .start(StatusCode::OK, HeaderMap::new(), Length::Known(length))
            .unwrap();
        for (index, size) in sizes.into_iter().enumerate() {
            push(&mut client, Bytes::from(vec![b'a' + index as u8; size])).await;
        }
        client.finish(None).unwrap();
        flush(&mut client).await;
        drop(client);
    };

    let (seen, ()) = tokio::join!(rest(&mut peer), sending);

    let (_, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(
        body.as_bytes() == expected,
        "the pieces arrive in order and whole"
    );
}

#[tokio::test]
async fn after_a_switch_both_ways_are_raw() {
    let request = "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let (mut client, mut peer) = client(request).await;
    assert!(matches!(piece(&mut client).await, Ok(Piece::End(None))));

    let said = fields(&[
        (CONNECTION, "Upgrade"),
        (UPGRADE, "websocket"),
        (CONTENT_LENGTH, "3"),
    ]);
    client.switch(said);
    client.push(Bytes::from_static(b"0\r\n\r\n")).unwrap();
    flush(&mut client).await;
    let head = until(&mut peer, "\r\n\r\n").await;
    peer.write_all(b"GET / \0").await.unwrap();

    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    assert_eq!(until(&mut peer, "0\r\n\r\n").await, "0\r\n\r\n");
    assert!(matches!(piece(&mut client).await, Ok(Piece::Data(data)) if &data[..] == b"GET / \0"));
    assert!(now(|context| client.poll_gone(context)).await.is_pending());
    peer.shutdown().await.unwrap();
    assert!(matches!(piece(&mut client).await, Ok(Piece::End(None))));
    client.finish(None).unwrap();
    assert!(client.into_next().is_err(), "a tunnel is nobody's next request");
}

#[tokio::test]
async fn an_answer_before_the_body_closes_and_still_arrives() {
    let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 60000\r\n\r\n";
    let (mut client, mut peer) = client(head).await;
    peer.write_all(&[b'x'; 30_000]).await.unwrap();

    client
        .start(StatusCode::PAYLOAD_TOO_LARGE, HeaderMap::new(), Length::Known(2))
        .unwrap();
    client.push(Bytes::from_static(b"no")).unwrap();
    client.finish(None).unwrap();
    flush(&mut client).await;
    let Err(closing) = client.into_next() else {
        panic!("the rest of the body would be taken for a request");
    };
    let closed = tokio::spawn(closing.close());
    peer.write_all(&[b'x'; 30_000]).await.unwrap();
    let seen = rest(&mut peer).await;
    drop(peer);

    assert_eq!(
        seen,
        "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    );
    timeout(PATIENCE, closed)
        .await
        .expect("the drain is bounded")
        .unwrap();
}

#[tokio::test]
async fn a_body_that_is_wholly_here_leaves_the_connection_and_nothing_of_it() {
    for (request, goes_on) in [
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello",
            true,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\n\r\nhello",
            false,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            true,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            false,
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
            false,
        ),
    ] {
        let (mut client, mut peer) = client(request).await;
        client
            .start(StatusCode::NOT_FOUND, HeaderMap::new(), Length::None)
            .unwrap();
        client.finish(None).unwrap();
        flush(&mut client).await;
        let said = until(&mut peer, "\r\n\r\n").await;
        assert_eq!(said.contains("connection: close\r\n"), !goes_on, "{request}");
        // Whoever still wants it has it.
        assert!(
            matches!(piece(&mut client).await, Ok(Piece::Data(data)) if data == "hello"),
            "{request}"
        );

        match client.into_next() {
            Ok((_, ahead)) => assert!(goes_on && ahead.is_empty(), "{request}"),
            Err(_) => assert!(!goes_on, "{request}"),
        }
    }
}

#[tokio::test]
async fn nobody_is_promised_what_is_not_kept() {
    let close = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let (said, goes_on) = answer(close, StatusCode::OK, HeaderMap::new(), (Length::None, &[])).await;
    assert!(said.contains("connection: close\r\n") && !goes_on, "{said}");

    let (mut client, mut peer) = client(GET).await;
    client.close_after();
    client
        .start(StatusCode::OK, HeaderMap::new(), Length::None)
        .unwrap();
    assert!(
        client
            .start(StatusCode::OK, HeaderMap::new(), Length::None)
            .is_err(),
        "one answer for one request"
    );
    flush(&mut client).await;
    assert!(
        until(&mut peer, "\r\n\r\n")
            .await
            .contains("connection: close\r\n")
    );
    assert!(client.into_next().is_err());
}

/// RFC 9112 section 9.8: where the end of the connection ends the answer, an end without a farewell is a cut.
#[tokio::test]
async fn under_tls_an_answer_that_broke_off_does_not_end_like_a_whole_one() {
    for is_whole in [true, false] {
        let request = "GET / HTTP/1.0\r\nhost: h\r\n\r\n";
        let (mut client, mut peer) = over(tls_pair().await, request).await;
        client
            .start(StatusCode::OK, HeaderMap::new(), Length::Unknown)
            .unwrap();
        client.push(Bytes::from(vec![b'x'; 40_000])).unwrap();
        if is_whole {
            client.finish(None).unwrap();
        }

        let Err(closing) = client.into_next() else {
            panic!("the connection's end is the answer's");
        };
        let mut read = Vec::new();
        let (end, ()) = tokio::join!(peer.read_to_end(&mut read), async {
            closing.close().await;
        });

        assert!(
            read.ends_with(&[b'x'; 40_000]),
            "everything queued arrives: {}",
            read.len()
        );
        assert_eq!(end.is_ok(), is_whole);
    }
}

#[tokio::test]
async fn under_tls_bodies_pass_both_ways() {
    let body: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (mut client, mut peer) = over(tls_pair().await, head).await;
    let serving = async {
        client
            .start(StatusCode::OK, HeaderMap::new(), Length::Known(300_000))
            .unwrap();
        loop {
            match piece(&mut client).await.unwrap() {
                Piece::Data(data) => push(&mut client, data).await,
                Piece::End(_) => break,
            }
            let _ = now(|context| client.poll_flush(context)).await;
        }
        client.finish(None).unwrap();
        flush(&mut client).await;
        drop(client);
    };
    let asking = async {
        let (mut reading, mut writing) = tokio::io::split(&mut peer);
        let mut answer = Vec::new();
        let (sent, _cut) = tokio::join!(
            async {
                writing.write_all(&body).await?;
                writing.flush().await
            },
            reading.read_to_end(&mut answer)
        );
        sent.unwrap();
        answer
    };

    let ((), answer) = timeout(PATIENCE, async { tokio::join!(serving, asking) })
        .await
        .expect("an answer");

    assert!(answer.ends_with(&body), "the body comes back as it was sent");
}
