//! Endpoints that answer what is not one unambiguous response: each is a fault, and the next request goes elsewhere.

use super::*;

/// Asks an endpoint whose first answer is bad; gives the fault, after the next request had a connection of its own.
async fn fault_of(request: Request, reply: Reply) -> EndpointFault {
    let shown = String::from_utf8_lossy(&reply.bytes).into_owned();
    let shown = shown.chars().take(200).collect::<String>();
    let endpoint = Endpoint::first_says(reply).await;
    let way = Way::new();

    let Err(fault) = way.ask(&endpoint, request).await else {
        panic!("accepted {shown:?}");
    };
    let next = way.get(&endpoint).await.unwrap();

    assert_eq!(next.body, b"hello", "after {shown:?}");
    assert_eq!(endpoint.connections(), 2, "{shown:?} was reused");
    assert!(!fault.is_unprocessed, "{shown:?}");
    fault
}

async fn refused(request: fn() -> Request, replies: &[&str]) {
    for reply in replies {
        let fault = fault_of(request(), says(reply)).await;
        assert_eq!(fault.outcome, PROTOCOL, "{reply:?}: {fault:?}");
    }
}

/// The same answer with one harmless word instead: it is taken whole, and its connection serves the next request.
async fn accepted(request: fn() -> Request, reply: &str) -> Answer {
    let endpoint = Endpoint::first_says(says(reply)).await;
    let way = Way::new();

    let answer = way.ask(&endpoint, request()).await;
    let answer = answer.unwrap_or_else(|fault| panic!("{reply:?}: {fault:?}"));
    way.get(&endpoint).await.unwrap();

    assert_eq!(endpoint.connections(), 1, "{reply:?} was not reused");
    answer
}

/// RFC 9110 section 15.2.2: a server switches only to what it was asked for.
#[tokio::test]
async fn an_unsolicited_switch_of_protocols_is_refused() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

    refused(Request::get, &[switch]).await;
}

#[tokio::test]
async fn interim_responses_are_handed_on_up_to_sixteen() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let hello = std::str::from_utf8(HELLO).unwrap();

    let answer = accepted(Request::get, &[hint.repeat(16).as_str(), hello].concat()).await;
    assert_eq!(answer.interim, [StatusCode::EARLY_HINTS; 16]);
    refused(Request::get, &[&[hint.repeat(17).as_str(), hello].concat()]).await;
}

/// RFC 9112 section 6.3: framing that can be read in two ways is refused, CVE-2022-32213 and its like.
#[tokio::test]
async fn ambiguous_lengths_are_refused() {
    refused(
        Request::get,
        &[
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ],
    )
    .await;

    let answer = accepted(Request::get, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(
        (answer.length, &answer.body[..]),
        (Some(Length::Known(5)), &b"hello"[..])
    );
}

/// RFC 9112 section 6.1.
#[tokio::test]
async fn transfer_codings_other_than_one_final_chunked_are_refused() {
    refused(
        Request::get,
        &[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    )
    .await;

    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = accepted(Request::get, chunked).await;
    assert_eq!(
        (answer.length, &answer.body[..]),
        (Some(Length::Unknown), &b"hello"[..])
    );
}

/// RFC 9112 section 7.1.
#[tokio::test]
async fn chunks_that_two_readers_could_frame_differently_are_refused() {
    for chunks in [
        "\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n x: y\r\n\r\n",
        // RFC 9110 section 6.5.1: no trailer may say again what the head decided.
        "5\r\nhello\r\n0\r\ncontent-length: 6\r\n\r\n",
        "5\r\nhello\r\n0\r\nset-cookie: a=b\r\n\r\n",
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        let fault = fault_of(Request::get(), says(&reply)).await;
        assert_eq!(fault.outcome, PROTOCOL, "{chunks:?}: {fault:?}");
    }
}

/// RFC 9112 sections 2.2, 5.1 and 5.2.
#[tokio::test]
async fn heads_that_a_repairing_parser_would_read_otherwise_are_refused() {
    refused(
        Request::get,
        &[
            "HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
            "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\n x: a\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nx\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 5\r\n\r\nhello",
        ],
    )
    .await;

    let answer = accepted(
        Request::get,
        "HTTP/1.1 200 OK\r\nX:  a b\t\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await;
    assert_eq!(answer.headers["x"], "a b");
}

#[tokio::test]
async fn what_is_no_status_line_is_refused() {
    refused(
        Request::get,
        &[
            "HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 1000 High\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 999 High\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 +20 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
            "ICY 200 OK\r\ncontent-length: 0\r\n\r\n",
            "hello, this is SMTP\r\n\r\n",
            "\u{15}\u{3}\u{1}\r\n\r\n",
        ],
    )
    .await;

    for line in ["HTTP/1.1 200 OK", "HTTP/1.1 599 Odd", "HTTP/1.1 204 "] {
        let reply = if line.contains("204") {
            format!("{line}\r\n\r\n")
        } else {
            format!("{line}\r\ncontent-length: 0\r\n\r\n")
        };
        assert_eq!(
            accepted(Request::get, &reply).await.length,
            Some(Length::None),
            "{line}"
        );
    }
}

#[tokio::test]
async fn heads_are_bounded_in_bytes_and_fields() {
    let fields = |count: usize| "a: b\r\n".repeat(count);
    let of_size = |size: usize| format!("x: {}\r\n", "a".repeat(size));
    let reply = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}content-length: 5\r\n\r\nhello");

    accepted(Request::get, &reply(&fields(255))).await;
    refused(Request::get, &[&reply(&fields(256))]).await;
    accepted(Request::get, &reply(&of_size(60_000))).await;
    refused(Request::get, &[&reply(&of_size(66_000))]).await;
    let endless = format!("HTTP/1.1 200 OK\r\n{}", of_size(1024).repeat(80));
    refused(Request::get, &[&endless]).await;
}

/// An answer that goes on after its end: the surplus must never be the answer to somebody else's request.
#[tokio::test]
async fn a_second_answer_nobody_asked_for_is_never_read() {
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let good = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    let unchanged = "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n";
    let head = || Request::new(Method::HEAD);
    let cases: [(fn() -> Request, String); 6] = [
        (Request::get, [good, evil].concat()),
        (Request::get, [good, "\r\n"].concat()),
        (Request::get, [empty, evil].concat()),
        (Request::get, [unchanged, "evil"].concat()),
        (head, [good, evil].concat()),
        (
            Request::get,
            [
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                evil,
            ]
            .concat(),
        ),
    ];
    for (request, reply) in cases {
        let endpoint = Endpoint::first_says(says(&reply)).await;
        let way = Way::new();

        let _ = way.ask(&endpoint, request()).await;
        let next = way.get(&endpoint).await.unwrap();

        assert_eq!(next.body, b"hello", "{reply:?}");
        assert_eq!(endpoint.connections(), 2, "{reply:?}");
        let failed = way.counted(crate::metrics::ENDPOINT_CONNECTIONS_FAILED, "out-of-turn");
        assert_eq!(failed, 1, "{reply:?}");
    }
}

/// The same, when the surplus comes later, while the connection is kept.
#[tokio::test]
async fn words_out_of_turn_on_a_kept_connection_close_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let way = Way::new();
    let facts = facts(address, Protocol::H1);
    let (mut first, mut upstream) = {
        let (accepted, opened) = tokio::join!(listener.accept(), way.mesh.open(&facts));
        (accepted.unwrap().0, opened.unwrap())
    };
    let answering = async {
        let mut buffer = [0; 1024];
        assert!(first.read(&mut buffer).await.unwrap() > 0);
        first.write_all(HELLO).await.unwrap();
    };
    let (answer, ()) = tokio::join!(exchange(&mut upstream, Request::get()), answering);
    answer.unwrap();
    upstream.release();

    first.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();

    let name = crate::metrics::ENDPOINT_CONNECTIONS_FAILED;
    until(|| {
        way.mesh.sweep();
        way.counted(name, "out-of-turn") == 1
    })
    .await;
    assert!(way.mesh.take(&facts).is_none());
}

#[tokio::test]
async fn an_answer_before_the_request_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Way::new();
    let facts = facts(listener.local_addr().unwrap(), Protocol::H1);
    let (accepted, opened) = tokio::join!(listener.accept(), way.mesh.open(&facts));
    accepted.unwrap().0.write_all(HELLO).await.unwrap();

    let mut upstream = opened.unwrap();
    let Upstream::H1(early) = &mut upstream else {
        panic!("plaintext is HTTP/1.1");
    };
    let fault = poll_fn(|context| early.poll_head(context)).await.unwrap_err();

    assert_eq!((fault.outcome, fault.is_unprocessed), (PROTOCOL, true));
}

/// RFC 9112 section 8: what breaks off is incomplete, wherever it does.
#[tokio::test]
async fn an_answer_that_breaks_off_is_a_reset_at_every_byte() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n";
    for whole in [HELLO, &chunked[..]] {
        for cut in 0..whole.len() {
            let fault = fault_of(Request::get(), says_and(&whole[..cut], Then::Close)).await;
            assert_eq!(fault.outcome, RESET, "cut at {cut}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_reset_is_told_from_an_end() {
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhello";
    let fault = fault_of(Request::get(), says_and(until_close, Then::Reset)).await;

    assert_eq!(fault.outcome, RESET);
}
