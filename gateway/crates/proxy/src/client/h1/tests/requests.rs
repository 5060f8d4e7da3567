use http::{Method, Version};

use super::*;
use crate::message::Length;

const GET: &str = "GET /a%2Fb?c=http://d/ HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a:  2 \r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n{fields}\r\n{body}")
}

#[tokio::test]
async fn a_head_is_told_as_it_was_received() {
    let (mut client, _peer) = client(GET).await;

    let head = client.head();
    assert_eq!((&head.method, head.version), (&Method::GET, Version::HTTP_11));
    assert_eq!(&head.target[..], b"/a%2Fb?c=http://d/");
    assert!(head.authority.is_none());
    let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(head.length, Length::None);
    assert!(matches!(piece(&mut client).await, Ok(Piece::End(None))));
    assert!(
        now(|context| client.poll_piece(context)).await.is_pending(),
        "after the end there is none"
    );
}

#[tokio::test]
async fn an_absolute_form_target_gives_its_authority() {
    for (target, path) in [
        ("http://h:8/a?b", "/a?b"),
        ("http://h:8", "/"),
        ("http://h:8?q", "?q"),
    ] {
        let (client, _peer) = client(format!("GET {target} HTTP/1.1\r\nhost: h:8\r\n\r\n")).await;

        assert_eq!(&client.head().target[..], path.as_bytes());
        assert_eq!(client.head().authority.as_deref(), Some("h:8"));
    }
}

/// RFC 9110 section 7.8: the field counts only when `Connection` names it, and never in HTTP/1.0.
#[tokio::test]
async fn an_upgrade_is_wanted_only_by_who_says_so_and_can_follow() {
    for (version, connection, is_wanted) in [
        ("1.1", "keep-alive, Upgrade", true),
        ("1.1", "close", false),
        ("1.0", "upgrade", false),
    ] {
        let request = format!(
            "GET / HTTP/{version}\r\nhost: h\r\nupgrade: websocket\r\nconnection: {connection}\r\n\r\n"
        );
        let (client, _peer) = client(request).await;

        let upgrade = client.head().upgrade.as_ref();
        assert_eq!(
            upgrade.is_some_and(|value| value == "websocket"),
            is_wanted,
            "{connection}"
        );
    }
}

#[tokio::test]
async fn a_body_of_a_length_ends_there_and_leaves_the_next_request() {
    let (mut client, mut peer) = client(post("", "")).await;
    assert_eq!(client.head().length, Length::None, "a length of zero is no body");
    assert_eq!(body(&mut client).await.0, b"");
    drop(client);
    peer.shutdown().await.unwrap();

    let (mut client, _peer) = super::client(post("", "hello") + GET).await;
    assert_eq!(client.head().length, Length::Known(5));
    assert_eq!(body(&mut client).await, (b"hello".to_vec(), None));
    client
        .start(http::StatusCode::OK, HeaderMap::new(), Length::None)
        .unwrap();
    client.finish(None).unwrap();
    flush(&mut client).await;

    let Ok((_, ahead)) = client.into_next() else {
        panic!("the connection goes on");
    };
    assert_eq!(ahead, GET);
}

#[tokio::test]
async fn a_chunked_body_comes_with_its_trailers() {
    let chunks = "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (mut client, _peer) = client(format!("{CHUNKED}{chunks}{GET}")).await;
    assert_eq!(client.head().length, Length::Unknown);

    let (body, trailers) = body(&mut client).await;

    assert_eq!(body, b"hello world");
    assert_eq!(trailers.unwrap()["x-sum"], "7");
}

#[tokio::test]
async fn chunks_may_arrive_byte_by_byte() {
    let (mut client, mut peer) = client(CHUNKED).await;
    let sending = async {
        for byte in b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\na: b\r\n\r\n" {
            peer.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };

    let ((body, trailers), ()) = tokio::join!(body(&mut client), sending);

    assert_eq!(body, b"abc0123456789");
    assert_eq!(trailers.unwrap()["a"], "b");
}

#[tokio::test]
async fn a_large_body_comes_in_bounded_pieces() {
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    for head in [
        format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
            sent.len()
        ),
        format!("{CHUNKED}{:x}\r\n", sent.len()),
    ] {
        let (mut client, mut peer) = client(&head).await;
        let sending = async {
            peer.write_all(&sent).await.unwrap();
            if head.contains("chunked") {
                peer.write_all(b"\r\n0\r\n\r\n").await.unwrap();
            }
        };
        let reading = async {
            let mut read = Vec::new();
            loop {
                match piece(&mut client).await.unwrap() {
                    Piece::Data(data) => {
                        assert!(data.len() <= 64 * 1024, "{}", data.len());
                        read.extend_from_slice(&data);
                    }
                    Piece::End(_) => return read,
                }
            }
        };

        let (read, ()) = tokio::join!(reading, sending);

        assert!(read == sent, "the body arrives as it was sent");
    }
}

/// RFC 9112 section 7.1: what is no chunk ends the request, for good.
#[tokio::test]
async fn bad_chunks_are_a_fault_and_stay_one() {
    for (chunks, is_good) in [
        ("3\r\nabc\r\n0\r\n\r\n", true),
        ("3\r\nabc\r\nzz\r\n0\r\n\r\n", false),
        ("3\r\nabc\r\n0\r\nhost: evil\r\n\r\n", false),
    ] {
        let (mut client, _peer) = client(format!("{CHUNKED}{chunks}")).await;

        assert!(matches!(piece(&mut client).await, Ok(Piece::Data(data)) if data == "abc"));
        for _ in 0..2 {
            match now(|context| client.poll_piece(context)).await {
                Poll::Ready(Err(ClientFault::Frame(_))) => assert!(!is_good),
                Poll::Ready(Ok(Piece::End(None))) | Poll::Pending => assert!(is_good),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_is_gone() {
    for request in [
        post("", "hello").trim_end_matches("lo").to_owned(),
        format!("{CHUNKED}5\r\nhel"),
    ] {
        let (mut client, peer) = client(request).await;
        assert!(matches!(piece(&mut client).await, Ok(Piece::Data(data)) if data == "hel"));

        drop(peer);

        assert!(matches!(piece(&mut client).await, Err(ClientFault::Gone)));
    }
}

#[tokio::test]
async fn a_client_is_gone_when_it_closes_and_not_before() {
    let (mut client, mut peer) = client(GET).await;
    assert!(now(|context| client.poll_gone(context)).await.is_pending());

    peer.write_all(GET.as_bytes()).await.unwrap();
    assert!(now(|context| client.poll_gone(context)).await.is_pending());
    peer.shutdown().await.unwrap();

    timeout(PATIENCE, poll_fn(|context| client.poll_gone(context)))
        .await
        .expect("a closed side is a client that left");
}

#[tokio::test]
async fn what_is_pipelined_is_kept_and_bounded() {
    let (mut client, mut peer) = client(GET).await;
    let flood = tokio::spawn(async move {
        let _ = peer.write_all(&GET.as_bytes().repeat(40_000)).await;
        peer
    });

    timeout(PATIENCE, async {
        while client.rest_len() < 64 * 1024 {
            assert!(now(|context| client.poll_gone(context)).await.is_pending());
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("some of it is read");
    for _ in 0..100 {
        assert!(now(|context| client.poll_gone(context)).await.is_pending());
        tokio::task::yield_now().await;
    }

    assert!(client.rest_len() <= 65 * 1024, "{}", client.rest_len());
    flood.abort();
}

#[tokio::test]
async fn who_waits_is_invited_once_and_who_does_not_wait_is_not() {
    let waiting = post("expect: 100-Continue\r\n", "hello");
    let (head, rest) = waiting.split_at(waiting.len() - 5);
    let (mut client, mut peer) = client(head).await;
    assert!(client.head().expects_continue);

    client.invite();
    client.invite();
    flush(&mut client).await;
    assert_eq!(
        until(&mut peer, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    peer.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(body(&mut client).await.0, b"hello");
    client
        .start(http::StatusCode::OK, HeaderMap::new(), Length::None)
        .unwrap();
    client.finish(None).unwrap();
    flush(&mut client).await;
    let answer = until(&mut peer, "\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n"),
        "invited only once: {answer}"
    );
    assert!(!answer.contains("close"), "{answer}");

    for (request, expects) in [
        (post("expect: 100-continue\r\n", "hello"), true),
        (post("", "hello"), false),
        (
            post("expect: 100-continue\r\n", "hello").replace("1.1", "1.0"),
            false,
        ),
        (post("expect: 100-continue\r\n", ""), false),
    ] {
        let (mut client, mut peer) = super::client(&request).await;
        assert_eq!(client.head().expects_continue, expects, "{request}");
        client.invite();
        client
            .start(http::StatusCode::OK, HeaderMap::new(), Length::None)
            .unwrap();
        flush(&mut client).await;
        let answer = until(&mut peer, "\r\n").await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\n", "{request}");
    }
}
