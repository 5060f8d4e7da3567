//! Answers that are right, and what is made of them.

use super::*;

async fn answer_to(request: Request, reply: Reply) -> (Answer, usize) {
    let endpoint = Endpoint::first_says(reply).await;
    let way = Way::new();
    let answer = way.ask(&endpoint, request).await.unwrap();
    way.get(&endpoint).await.unwrap();
    (answer, endpoint.connections())
}

#[tokio::test]
async fn fields_of_the_connection_stay_on_it() {
    let reply = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
                 Proxy-Connection: x\r\nTE: x\r\nX-Stays: 2\r\nX-Stays: 3\r\nContent-Length: 0\r\n\r\n";

    let (answer, connections) = answer_to(Request::get(), says(reply)).await;

    let names: Vec<_> = answer.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!((names, connections), (vec!["x-stays"], 1));
    assert_eq!(answer.headers.get_all("x-stays").iter().count(), 2);
}

#[tokio::test]
async fn values_keep_their_bytes() {
    let (answer, _) = answer_to(
        Request::get(),
        says(b"HTTP/1.1 200 OK\r\nx: caf\xc3\xa9 \xff\r\ncontent-length: 0\r\n\r\n"),
    )
    .await;

    assert_eq!(answer.headers["x"].as_bytes(), b"caf\xc3\xa9 \xff");
}

#[tokio::test]
async fn an_answer_to_head_says_the_length_of_a_body_it_does_not_have() {
    for (reply, length) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Length::Known(5)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Length::None),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            Length::Unknown,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", Length::Unknown),
    ] {
        let (answer, connections) = answer_to(Request::new(Method::HEAD), says(reply)).await;

        assert_eq!((answer.length, connections), (Some(length), 1), "{reply:?}");
        assert!(answer.body.is_empty(), "{reply:?}");
    }
}

#[tokio::test]
async fn statuses_without_a_body_end_with_their_head() {
    for (reply, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", Length::None),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", Length::None),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
            Length::Known(5),
        ),
    ] {
        let (answer, connections) = answer_to(Request::get(), says(reply)).await;

        assert_eq!((answer.length, connections), (Some(length), 1), "{reply:?}");
        assert!(answer.body.is_empty(), "{reply:?}");
    }
}

#[tokio::test]
async fn a_body_may_end_with_its_connection() {
    let reply = says_and("HTTP/1.1 200 OK\r\n\r\nhello", Then::Close);

    let (answer, connections) = answer_to(Request::get(), reply).await;

    assert_eq!((answer.length, connections), (Some(Length::Unknown), 2));
    assert_eq!(answer.body, b"hello");
}

#[tokio::test]
async fn trailers_are_handed_on() {
    let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\n\
                 Grpc-Status: 0\r\nx-sum: abc\r\n\r\n";

    let (answer, connections) = answer_to(Request::get(), says(reply)).await;

    let trailers = answer.trailers.unwrap();
    assert_eq!((trailers["grpc-status"].as_bytes(), connections), (&b"0"[..], 1));
    assert_eq!((trailers.len(), &answer.body[..]), (2, &b"hello"[..]));
}

#[tokio::test]
async fn a_wanted_switch_of_protocols_opens_a_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Way::new();
    let facts = AttemptFacts {
        is_upgrade: true,
        ..facts(listener.local_addr().unwrap(), Protocol::Auto)
    };
    let (accepted, opened) = tokio::join!(listener.accept(), way.mesh.open(&facts));
    let (mut endpoint, mut upstream) = (accepted.unwrap().0, opened.unwrap());
    let mut request = Request::get();
    request.head.is_websocket = true;
    upstream.send_head(&request.head, Length::None).unwrap();
    poll_fn(|context| upstream.poll_flush(context)).await.unwrap();
    let mut buffer = vec![0; 1024];
    let count = endpoint.read(&mut buffer).await.unwrap();
    let head = String::from_utf8_lossy(&buffer[..count]).into_owned();
    let switch =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\0raw";
    endpoint.write_all(switch).await.unwrap();

    let answer = poll_fn(|context| upstream.poll_head(context)).await.unwrap();
    upstream.switch();
    let piece = poll_fn(|context| upstream.poll_piece(context)).await.unwrap();
    upstream.push(Bytes::from_static(b"\0back"));
    upstream.finish(None);
    poll_fn(|context| upstream.poll_flush(context)).await.unwrap();
    let mut rest = Vec::new();
    endpoint.read_to_end(&mut rest).await.unwrap();
    drop(endpoint);
    let end = poll_fn(|context| upstream.poll_piece(context)).await.unwrap();

    assert!(
        head.contains("connection: Upgrade\r\nupgrade: websocket\r\n"),
        "{head}"
    );
    assert_eq!(answer.status, StatusCode::SWITCHING_PROTOCOLS);
    assert!(matches!(piece, Piece::Data(data) if data == "\0raw"));
    assert_eq!(rest, b"\0back");
    assert!(matches!(end, Piece::End(None)));
}

#[tokio::test]
async fn a_big_body_arrives_whole() {
    let body: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    let known = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(),
        &body,
    ]
    .concat();
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(777) {
        chunked.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for reply in [known, chunked] {
        let (answer, connections) = answer_to(Request::get(), says(reply)).await;

        assert!(answer.body == body);
        assert_eq!(connections, 1);
    }
}

/// An endpoint that stops reading may have answered already.
#[tokio::test]
async fn an_early_answer_is_read_although_the_body_cannot_be_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Way::new();
    let facts = facts(listener.local_addr().unwrap(), Protocol::H1);
    let (accepted, opened) = tokio::join!(listener.accept(), way.mesh.open(&facts));
    let (mut endpoint, mut upstream) = (accepted.unwrap().0, opened.unwrap());
    let answering = async move {
        let mut buffer = [0; 64];
        endpoint.read_exact(&mut buffer).await.unwrap();
        let reply = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
        endpoint.write_all(reply).await.unwrap();
        endpoint.shutdown().await.unwrap();
        endpoint
    };
    let body = Request {
        pieces: vec![Bytes::from(vec![b'x'; 60_000]); 400],
        length: Length::Known(24_000_000),
        ..Request::new(Method::PUT)
    };

    let (answer, endpoint) = tokio::join!(exchange(&mut upstream, body), answering);
    upstream.release();
    drop(endpoint);

    let answer = answer.unwrap();
    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::PAYLOAD_TOO_LARGE, &b"no"[..])
    );
    assert!(way.mesh.take(&facts).is_none());
}
