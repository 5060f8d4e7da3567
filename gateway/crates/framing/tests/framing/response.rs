//! Answers' heads: attacks by class, and where RFC 9112 section 6.3 lets an answer end.

use portcullis_framing::{Asked, BodyFraming, Bounds, ResponseHead, ResponseScanner};
use portcullis_model::Reason;

use crate::attacks::{self, Class};
use crate::laws;

fn answer(bytes: &[u8], asked: Asked) -> ResponseHead {
    laws::response_head(bytes, asked)
        .unwrap_or_else(|fault| panic!("{}: {fault:?}", bytes.escape_ascii()))
        .unwrap_or_else(|| panic!("{}: goes on", bytes.escape_ascii()))
}

fn body(status: u16, fields: &str, asked: Asked) -> BodyFraming {
    answer(format!("HTTP/1.1 {status} a\r\n{fields}\r\n").as_bytes(), asked).body
}

fn hold(class: &Class) {
    for asked in [Asked::Other, Asked::Head, Asked::Upgrade] {
        for bytes in class.accepted {
            answer(bytes, asked);
        }
        for bytes in class.refused {
            match laws::response_head(bytes, asked) {
                Err(fault) => assert_eq!(fault.reason, class.reason, "{}", bytes.escape_ascii()),
                Ok(head) => panic!("{}: {head:?}", bytes.escape_ascii()),
            }
        }
    }
}

#[test]
fn a_status_line_is_a_version_and_three_digits() {
    hold(&attacks::STATUS_LINE);
}

#[test]
fn the_framing_of_an_answer_is_judged_whatever_was_asked() {
    hold(&attacks::ANSWER_FRAMING);
}

#[test]
fn an_answer_says_where_everything_stands() {
    let bytes = b"HTTP/1.1 418 I am a teapot\r\nA: b\r\nContent-Length: 3\r\n\r\nabc";

    let head = answer(bytes, Asked::Other);

    assert_eq!(head.end, bytes.len() - 3);
    assert_eq!(head.status, 418);
    assert!(!head.is_http10);
    assert_eq!(head.fields.len(), 2);
    assert_eq!(head.fields[0].name.of(bytes), b"A");
    assert_eq!(head.fields[0].value.of(bytes), b"b");
    assert_eq!(head.body, BodyFraming::Length(3));
    assert_eq!(head.said_length, Some(3));
    assert!(!head.wants_close);
}

#[test]
fn an_answer_ends_where_its_fields_say_and_otherwise_at_the_close() {
    assert_eq!(
        body(200, "Content-Length: 3\r\n", Asked::Other),
        BodyFraming::Length(3)
    );
    assert_eq!(
        body(200, "Content-Length: 0\r\n", Asked::Other),
        BodyFraming::None
    );
    assert_eq!(
        body(200, "Transfer-Encoding: chunked\r\n", Asked::Other),
        BodyFraming::Chunked
    );
    assert_eq!(body(200, "", Asked::Other), BodyFraming::UntilClose);
    assert_eq!(body(599, "", Asked::Upgrade), BodyFraming::UntilClose);
    assert_eq!(
        body(205, "Content-Length: 3\r\n", Asked::Other),
        BodyFraming::Length(3)
    );
}

#[test]
fn an_answer_to_head_has_no_body_whatever_it_says() {
    for fields in ["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
        assert_eq!(body(200, fields, Asked::Head), BodyFraming::None, "{fields}");
        assert_eq!(body(404, fields, Asked::Head), BodyFraming::None, "{fields}");
        assert_eq!(body(304, fields, Asked::Other), BodyFraming::None, "{fields}");
    }
    for status in [100, 102, 103, 199, 204] {
        assert_eq!(body(status, "", Asked::Other), BodyFraming::None, "{status}");
    }
}

#[test]
fn the_length_that_was_said_is_kept_where_there_is_no_body() {
    let bytes = b"HTTP/1.1 200 a\r\nContent-Length: 3\r\n\r\n";

    assert_eq!(answer(bytes, Asked::Head).said_length, Some(3));
    assert_eq!(
        answer(b"HTTP/1.1 304 a\r\nContent-Length: 3\r\n\r\n", Asked::Other).said_length,
        Some(3)
    );
    assert_eq!(
        answer(b"HTTP/1.1 200 a\r\nContent-Length: 0\r\n\r\n", Asked::Other).said_length,
        Some(0)
    );
    assert_eq!(answer(b"HTTP/1.1 200 a\r\n\r\n", Asked::Other).said_length, None);
}

/// CVE-2026-2833: a tunnel that only one side opened swallows the next requests.
#[test]
fn a_switch_of_protocols_is_taken_only_when_an_upgrade_was_asked() {
    let bytes = b"HTTP/1.1 101 a\r\nUpgrade: websocket\r\n\r\n";

    assert_eq!(answer(bytes, Asked::Upgrade).body, BodyFraming::Tunnel);
    for asked in [Asked::Other, Asked::Head] {
        let fault = laws::response_head(bytes, asked).unwrap_err();
        assert_eq!(fault.reason, Reason::EndpointProtocol);
    }
    let framed = b"HTTP/1.1 101 a\r\nContent-Length: 3\r\n\r\n";
    assert!(laws::response_head(framed, Asked::Upgrade).is_err());
}

#[test]
fn an_endpoint_that_will_close_is_known() {
    for (bytes, closes) in [
        (&b"HTTP/1.1 200 a\r\nContent-Length: 0\r\n\r\n"[..], false),
        (
            b"HTTP/1.1 200 a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            true,
        ),
        (b"HTTP/1.0 200 a\r\nContent-Length: 0\r\n\r\n", true),
        (
            b"HTTP/1.0 200 a\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
            false,
        ),
        (b"HTTP/1.1 200 a\r\n\r\n", true),
        (b"HTTP/1.1 200 a\r\nConnection: keep-alive\r\n\r\n", true),
        (b"HTTP/1.1 204 a\r\n\r\n", false),
    ] {
        let head = answer(bytes, Asked::Other);
        assert_eq!(head.wants_close, closes, "{}", bytes.escape_ascii());
        assert_eq!(head.is_http10, bytes.starts_with(b"HTTP/1.0"));
    }
}

#[test]
fn the_head_after_an_interim_one_is_scanned_with_the_same_scanner() {
    let bytes = b"HTTP/1.1 103 a\r\nLink: b\r\n\r\nHTTP/1.1 200 a\r\nContent-Length: 3\r\n\r\n";
    let mut scanner = ResponseScanner::new(Asked::Head);

    let interim = scanner.scan(bytes, &laws::BOUNDS).unwrap().unwrap();
    let last = scanner
        .scan(&bytes[interim.end..], &laws::BOUNDS)
        .unwrap()
        .unwrap();

    assert_eq!((interim.status, interim.end), (103, 27));
    assert_eq!(
        (last.status, last.end, last.fields.len()),
        (200, bytes.len() - 27, 1)
    );
    assert_eq!(last.body, BodyFraming::None);
}

#[test]
fn an_answer_that_goes_on_is_waited_for() {
    for bytes in [&b""[..], b"HTTP", b"HTTP/1.1 200 a\r\n", b"HTTP/1.1 200 a\r\n\r"] {
        assert_eq!(laws::response_head(bytes, Asked::Other), Ok(None));
    }
}

#[test]
fn the_size_and_fields_of_an_answer_are_bounded() {
    let bytes = b"HTTP/1.1 200 a\r\na: b\r\nc: d\r\n\r\n";
    let scan = |max_bytes, max_fields| {
        let bounds = Bounds {
            max_bytes,
            max_fields,
        };
        ResponseScanner::new(Asked::Other).scan(bytes, &bounds)
    };

    assert!(scan(bytes.len(), 2).unwrap().is_some());
    for fault in [scan(bytes.len() - 1, 2), scan(bytes.len(), 1)] {
        assert_eq!(fault.unwrap_err().reason, Reason::EndpointProtocol);
    }
}
