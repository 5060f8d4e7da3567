//! Requests' heads: attacks by class, and what an accepted head says.

use portcullis_framing::{BodyFraming, Bounds, RequestHead, RequestScanner};
use portcullis_model::{Reason, Rejection};

use crate::attacks::{self, Class};
use crate::laws;

fn accepted(bytes: &[u8]) -> RequestHead {
    laws::request_head(bytes)
        .unwrap_or_else(|fault| panic!("{}: {fault:?}", bytes.escape_ascii()))
        .unwrap_or_else(|| panic!("{}: goes on", bytes.escape_ascii()))
}

fn hold(class: &Class) {
    for bytes in class.accepted {
        accepted(bytes);
    }
    for bytes in class.refused {
        match laws::request_head(bytes) {
            Err(fault) => assert_eq!(fault.reason, class.reason, "{}", bytes.escape_ascii()),
            Ok(head) => panic!("{}: {head:?}", bytes.escape_ascii()),
        }
    }
}

fn why(bytes: &[u8]) -> &'static str {
    laws::request_head(bytes).unwrap_err().why
}

#[test]
fn a_length_is_digits_and_said_once() {
    hold(&attacks::LENGTH);
}

#[test]
fn chunked_alone_is_taken_and_every_other_coding_refused() {
    hold(&attacks::CODING);
}

#[test]
fn lines_end_with_crlf_and_names_with_their_colon() {
    hold(&attacks::LINES);
}

#[test]
fn control_bytes_are_refused() {
    hold(&attacks::CONTROLS);
}

#[test]
fn other_protocols_are_refused() {
    hold(&attacks::PRELUDES);
}

#[test]
fn other_versions_are_unsupported() {
    hold(&attacks::VERSIONS);
}

#[test]
fn a_request_names_a_host() {
    hold(&attacks::HOST_MISSING);
}

#[test]
fn a_request_names_one_host() {
    hold(&attacks::HOST_AMBIGUOUS);
}

#[test]
fn a_host_is_nothing_but_a_host() {
    hold(&attacks::HOST_INVALID);
}

#[test]
fn a_target_has_one_of_three_forms() {
    hold(&attacks::TARGET);
}

#[test]
fn a_fragment_is_refused_before_a_parser_can_drop_it() {
    hold(&attacks::FRAGMENT);
}

#[test]
fn connect_is_refused() {
    hold(&attacks::CONNECT);
}

#[test]
fn a_head_says_where_everything_stands() {
    let bytes =
        b"\r\nPUT /a?b=c HTTP/1.1\r\nHost: h\r\nEmpty:\r\nX-Y: \t d e \r\nContent-Length: 12\r\n\r\nbody";

    let head = accepted(bytes);

    let fields: Vec<_> = head
        .fields
        .iter()
        .map(|field| (field.name.of(bytes), field.value.of(bytes)))
        .collect();
    assert_eq!((head.start, head.end), (2, bytes.len() - 4));
    assert_eq!(head.method.of(bytes), b"PUT");
    assert_eq!(head.target.of(bytes), b"/a?b=c");
    assert!(!head.is_http10);
    assert_eq!(head.body, BodyFraming::Length(12));
    let expected: [(&[u8], &[u8]); 4] = [
        (b"Host", b"h"),
        (b"Empty", b""),
        (b"X-Y", b"d e"),
        (b"Content-Length", b"12"),
    ];
    assert_eq!(fields, expected);
}

#[test]
fn the_body_is_delimited_as_the_fields_say() {
    let body = |fields: &str| accepted(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes()).body;

    assert_eq!(body(""), BodyFraming::None);
    assert_eq!(body("Content-Length: 0\r\n"), BodyFraming::None);
    assert_eq!(body("Content-Length: 007\r\n"), BodyFraming::Length(7));
    assert_eq!(
        body("Content-Length: 999999999999999999\r\n"),
        BodyFraming::Length(999_999_999_999_999_999)
    );
    assert_eq!(body("Transfer-Encoding: Chunked\r\n"), BodyFraming::Chunked);
}

#[test]
fn a_client_that_will_close_is_known() {
    let closes = |version: &str, fields: &str| {
        accepted(format!("GET / HTTP/{version}\r\nHost: h\r\n{fields}\r\n").as_bytes()).wants_close
    };

    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: closed\r\n",
        "X-Connectio: close\r\n",
    ] {
        assert!(!closes("1.1", fields), "{fields}");
    }
    for fields in [
        "Connection: close\r\n",
        "connection:\tte ,\tCLOSE\r\n",
        "Connection: te\r\nConnection: close\r\n",
        "Connection: close\r\nConnection: te\r\n",
        "Connection: keep-alive, close\r\n",
    ] {
        assert!(closes("1.1", fields), "{fields}");
        assert!(closes("1.0", fields), "{fields}");
    }
    assert!(closes("1.0", ""));
    assert!(!closes("1.0", "Connection: Keep-Alive\r\n"));
    assert!(accepted(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n").is_http10);
}

#[test]
fn refusals_say_what_was_wrong() {
    for (bytes, text) in [
        (&b"GET / HTTP/1.1\r\nHost: h\r\na: b\nc"[..], "bare line feed"),
        (b"GET / HTTP/1.1\r\nHost: h\r\na: b\rc", "bare carriage return"),
        (b"GET / HTTP/1.1\r\nHost: h\r\na: \0", "control byte"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n b\r\n", "folded field"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\tb\r\n", "folded field"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n", "empty field name"),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\na : b\r\n",
            "whitespace in a field name",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\na\t: b\r\n",
            "whitespace in a field name",
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\na@b: c\r\n", "field name"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nab\r\n", "field without a colon"),
        (b"GET /\r\n", "request target"),
        (b"GET\r\n", "method"),
    ] {
        assert_eq!(why(bytes), text, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_fault_becomes_a_rejection_with_its_detail_kept_private() {
    let rejection = Rejection::from(laws::request_head(b"\0").unwrap_err());

    assert_eq!(rejection.reason, Reason::FrameMalformed);
}

#[test]
fn other_bytes_are_refused_as_soon_as_they_are_seen() {
    assert_eq!(why(b"\x16"), "control byte");
    assert_eq!(why(b"GET / HTTP/1.1\r\nHo\x00"), "control byte");
    assert_eq!(why(b"GET / HTTP/1.1\r\nHost: h\r\n\rx"), "bare carriage return");
}

#[test]
fn a_head_that_goes_on_is_waited_for() {
    for bytes in [
        &b""[..],
        b"\r",
        b"\r\n",
        b"GET / HT",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r",
    ] {
        assert_eq!(laws::request_head(bytes), Ok(None), "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_size_of_a_head_is_bounded_to_the_byte() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let scan = |bytes: &[u8], max_bytes| {
        let bounds = Bounds {
            max_bytes,
            max_fields: 4,
        };
        RequestScanner::default().scan(bytes, &bounds)
    };

    assert!(scan(head, head.len()).unwrap().is_some());
    assert!(
        scan(&[head, &b"next"[..]].concat(), head.len())
            .unwrap()
            .is_some()
    );
    assert_eq!(
        scan(head, head.len() - 1).unwrap_err().reason,
        Reason::HeadTooLarge
    );
    // The empty line before the request line is not a part of it.
    assert!(
        scan(&[&b"\r\n"[..], head].concat(), head.len())
            .unwrap()
            .is_some()
    );
    assert_eq!(scan(&[b'a'; 100], 100), Ok(None));
    assert_eq!(scan(&[b'a'; 101], 100).unwrap_err().reason, Reason::HeadTooLarge);
    assert_eq!(scan(head, 0).unwrap_err().reason, Reason::HeadTooLarge);
    // A bad byte inside the bound counts before the bound does, one outside of it never.
    assert_eq!(scan(b"ab\0de", 3).unwrap_err().reason, Reason::FrameMalformed);
    assert_eq!(scan(b"abc\0e", 3).unwrap_err().reason, Reason::HeadTooLarge);
    assert!(scan(head, usize::MAX).unwrap().is_some());
}

#[test]
fn a_line_may_not_be_longer_than_the_head() {
    let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(laws::BOUNDS.max_bytes));
    let field = format!(
        "GET / HTTP/1.1\r\nHost: h\r\na: {}",
        "b".repeat(laws::BOUNDS.max_bytes)
    );

    for bytes in [line, field] {
        let fault = laws::request_head(bytes.as_bytes()).unwrap_err();
        assert_eq!(fault.reason, Reason::HeadTooLarge);
    }
}

#[test]
fn the_number_of_fields_is_bounded() {
    let with = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "a: b\r\n".repeat(count - 1)
        )
    };

    let most = accepted(with(laws::BOUNDS.max_fields).as_bytes());
    let fault = laws::request_head(with(laws::BOUNDS.max_fields + 1).as_bytes()).unwrap_err();

    assert_eq!(most.fields.len(), laws::BOUNDS.max_fields);
    assert_eq!(fault.reason, Reason::HeadTooLarge);
}

#[test]
fn a_scanner_is_as_new_after_a_head() {
    let mut scanner = RequestScanner::default();
    let first = b"\r\nPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    let second = b"GET /b HTTP/1.1\r\nHost: i\r\n\r\n";

    assert!(scanner.scan(first, &laws::BOUNDS).unwrap().is_some());

    let head = scanner.scan(second, &laws::BOUNDS).unwrap();
    assert_eq!(head, Some(accepted(second)));
}

#[test]
fn spans_of_other_bytes_are_empty() {
    let head = accepted(b"GET /abc HTTP/1.1\r\nHost: h\r\n\r\n");

    assert_eq!(head.target.of(b"GET /"), b"");
}
