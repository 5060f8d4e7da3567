//! Pingora's own parsers as oracles: what the guard accepts, they frame alike.
//!
//! All bytes lie in the pipe before Pingora reads, and nothing else will come: a read that waits means that Pingora
//! sees more body where the guard saw its end.

use futures_util::FutureExt;
use http::Method;
use pingora_core::protocols::http::v1::{client, server};
use pingora_http::RequestHeader;
use portcullis_framing::{Asked, BodyFraming, RequestHead};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::laws::{self, Body};
use crate::{attacks, random};

/// Larger than any message of these tests.
const PIPE: usize = 64 * 1024;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A future that has everything it needs.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("Pingora waits for more bytes")
}

/// Pingora reads the request alike, and gives back what follows it.
fn reads_request_alike(bytes: &[u8], head: &RequestHead, body: &Body) {
    let end = head.end + body.end.expect("the body is whole");
    let (mut ours, theirs) = tokio::io::duplex(PIPE);
    at_once(ours.write_all(bytes)).unwrap();
    let mut session = server::HttpSession::new(Box::new(theirs));
    session.set_pipelining_enabled(true);
    if let Err(error) = at_once(session.read_request()) {
        // Its targets are those of `http::Uri`, and its authorities are compared with `Host` in their case: it may
        // refuse more, for that is not framing the same bytes otherwise.
        let target = head.target.of(bytes);
        assert!(
            !target.starts_with(b"/") || http::Uri::try_from(target).is_err(),
            "{error}"
        );
        return;
    }

    let seen = session.req_header();
    assert_eq!(seen.method.as_str().as_bytes(), head.method.of(bytes));
    assert_eq!(seen.raw_path(), head.target.of(bytes));
    assert_eq!(seen.headers.len(), head.fields.len());
    for field in &head.fields {
        let name = std::str::from_utf8(field.name.of(bytes)).unwrap();
        let value = field.value.of(bytes);
        assert!(
            seen.headers
                .get_all(name)
                .iter()
                .any(|one| one.as_bytes() == value),
            "Pingora has no {name}"
        );
    }
    let mut content = Vec::new();
    while let Some(piece) = at_once(session.read_body_bytes()).expect("Pingora takes the body") {
        content.extend_from_slice(&piece);
    }
    assert_eq!(content, body.content, "Pingora reads another body");

    session.set_server_keepalive(Some(60));
    if let Some(reusable) = at_once(session.reuse()).unwrap() {
        let (mut stream, prefix) = reusable.into_parts();
        let mut rest = prefix.map(|prefix| prefix.to_vec()).unwrap_or_default();
        drop(ours);
        at_once(stream.read_to_end(&mut rest)).unwrap();
        assert_eq!(rest, &bytes[end..], "Pingora ends the request elsewhere");
    }
}

/// The request, when the guard takes it to its end.
fn whole_request(bytes: &[u8]) -> Option<(RequestHead, Body)> {
    let head = laws::request_head(bytes).ok()??;
    let body = laws::read_body(&bytes[head.end..], head.body, bytes.len()).ok()?;
    body.end.is_some().then_some((head, body))
}

/// Pingora reads the answer alike, and keeps the connection for another one only where the guard would.
fn reads_answer_alike(bytes: &[u8], asked: Asked) -> bool {
    let Ok(Some(head)) = laws::response_head(bytes, asked) else {
        return false;
    };
    let is_last = head.status >= 200;
    let Ok(body) = laws::read_body(&bytes[head.end..], head.body, bytes.len()) else {
        return false;
    };
    if !is_last || (head.body != BodyFraming::UntilClose && body.end.is_none()) {
        return false;
    }
    let (mut ours, theirs) = tokio::io::duplex(PIPE);
    let mut session = client::HttpSession::new(Box::new(theirs));
    let method = if asked == Asked::Head {
        Method::HEAD
    } else {
        Method::GET
    };
    let request = RequestHeader::build(method, b"/", None).unwrap();
    at_once(session.write_request_header(Box::new(request))).unwrap();
    at_once(ours.write_all(bytes)).unwrap();
    if head.body == BodyFraming::UntilClose {
        at_once(AsyncWriteExt::shutdown(&mut ours)).unwrap();
    }
    at_once(session.read_response()).expect("Pingora takes the head");

    let seen = session.resp_header().unwrap();
    assert_eq!(seen.status.as_u16(), head.status);
    assert_eq!(seen.headers.len(), head.fields.len());
    let mut content = Vec::new();
    while let Some(piece) = at_once(session.read_body_bytes()).expect("Pingora takes the body") {
        content.extend_from_slice(&piece);
    }
    assert_eq!(content, body.content, "Pingora reads another body");

    session.respect_keepalive();
    let is_reused = at_once(session.reuse()).is_some();
    let is_clean = !head.wants_close && body.end == Some(bytes.len() - head.end);
    assert!(
        !is_reused || is_clean,
        "Pingora keeps a connection the guard would not"
    );
    true
}

#[test]
fn pingora_frames_every_accepted_request_alike() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut count = 0;
    for class in attacks::REQUESTS {
        for bytes in class.accepted.iter().chain(class.refused) {
            let bytes = [bytes, &b"\r\n\r\nabc0\r\n\r\nGET / HTTP/1.1\r\n"[..]].concat();
            if let Some((head, body)) = whole_request(&bytes) {
                reads_request_alike(&bytes, &head, &body);
                count += 1;
            }
        }
    }
    assert!(count > 30, "only {count} requests came so far");
}

#[test]
fn pingora_frames_every_accepted_chunk_alike() {
    let runtime = runtime();
    let _guard = runtime.enter();
    for class in attacks::BODIES {
        for bytes in class.accepted {
            let head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            let bytes = [&head[..], bytes, b"GET /next HTTP/1.1\r\n"].concat();
            let (head, body) = whole_request(&bytes).unwrap();
            reads_request_alike(&bytes, &head, &body);
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let bytes = [&head[..], &bytes[bytes.len() - 20..]].concat();
            reads_answer_alike(&bytes, Asked::Other);
        }
    }
}

#[test]
fn pingora_frames_every_accepted_answer_alike() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut count = 0;
    for class in attacks::ANSWERS {
        for bytes in class.accepted.iter().chain(class.refused) {
            for rest in [
                &b""[..],
                b"abc",
                b"3\r\nabc\r\n0\r\n\r\n",
                b"3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
            ] {
                for asked in [Asked::Other, Asked::Head] {
                    count += usize::from(reads_answer_alike(&[bytes, rest].concat(), asked));
                }
            }
        }
    }
    assert!(count > 60, "only {count} answers came so far");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn pingora_frames_generated_requests_alike(valid in random::request(), next in "(GET /[a-z]{0,9} HTTP/1.1\r\n)?") {
        let runtime = runtime();
        let _guard = runtime.enter();
        let bytes = [&valid.head[..], &valid.body, next.as_bytes()].concat();

        let (head, body) = whole_request(&bytes).unwrap();

        prop_assert_eq!(&body.content, &valid.content);
        reads_request_alike(&bytes, &head, &body);
    }

    #[test]
    fn pingora_frames_mutated_requests_alike(bytes in random::mutated(random::request().prop_map(|valid| [valid.head, valid.body].concat()))) {
        let runtime = runtime();
        let _guard = runtime.enter();

        if let Some((head, body)) = whole_request(&bytes) {
            reads_request_alike(&bytes, &head, &body);
        }
    }

    #[test]
    fn pingora_frames_generated_answers_alike(valid in random::response(), next in select(vec![&b""[..], b"HTTP/1.1 200 OK\r\n"])) {
        let runtime = runtime();
        let _guard = runtime.enter();

        let bytes = [&valid.head[..], &valid.body, next].concat();

        prop_assert!(reads_answer_alike(&bytes, Asked::Other));
    }

    #[test]
    fn pingora_frames_mutated_answers_alike(bytes in random::mutated(random::response().prop_map(|valid| [valid.head, valid.body].concat())), asked in select(vec![Asked::Head, Asked::Other])) {
        let runtime = runtime();
        let _guard = runtime.enter();

        reads_answer_alike(&bytes, asked);
    }
}
