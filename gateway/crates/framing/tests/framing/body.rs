//! Bodies: where each ends, in pieces of any size.

use portcullis_framing::{BodyFraming, BodyReader, Step};
use portcullis_model::Reason;

use crate::attacks::{self, Class};
use crate::laws::{self, Body};

fn ended(bytes: &[u8]) -> Body {
    let body =
        laws::chunked_body(bytes).unwrap_or_else(|fault| panic!("{}: {fault:?}", bytes.escape_ascii()));
    assert!(body.end.is_some(), "{}: goes on", bytes.escape_ascii());
    body
}

fn hold(class: &Class) {
    for bytes in class.accepted {
        ended(bytes);
    }
    for bytes in class.refused {
        match laws::chunked_body(bytes) {
            Err(fault) => assert_eq!(fault.reason, class.reason, "{}", bytes.escape_ascii()),
            Ok(body) => panic!("{}: {body:?}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn a_chunk_size_is_digits_and_everything_ends_with_crlf() {
    hold(&attacks::CHUNKS);
}

#[test]
fn trailers_are_fields_that_decide_nothing() {
    hold(&attacks::TRAILERS);
}

#[test]
fn chunks_end_after_their_trailers() {
    let body = ended(b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\na: b\r\nC: \r\n\r\nGET /");

    assert_eq!(body.content, b"abc0123456789");
    assert_eq!(body.end, Some(43));
    assert_eq!(
        body.trailers,
        [(b"a".to_vec(), b"b".to_vec()), (b"C".to_vec(), Vec::new())]
    );
}

#[test]
fn a_chunk_that_goes_on_is_waited_for() {
    let bytes = b"3;a\r\nabc\r\n0\r\na: b\r\n\r\n";
    for end in 0..bytes.len() {
        let body = laws::chunked_body(&bytes[..end]).unwrap();
        assert_eq!(body.end, None, "{end}");
    }
}

#[test]
fn content_is_handed_out_as_it_comes() {
    let mut reader = BodyReader::new(BodyFraming::Chunked);

    assert_eq!(reader.next(b"5\r\nab"), Ok(Step::Content { skip: 3, len: 2 }));
    assert_eq!(reader.next(b""), Ok(Step::More { skip: 0 }));
    assert_eq!(reader.next(b"cde\r\n"), Ok(Step::Content { skip: 0, len: 3 }));
    assert_eq!(reader.next(b"\r\n"), Ok(Step::More { skip: 2 }));
    assert_eq!(reader.next(b"0\r\na: b"), Ok(Step::More { skip: 3 }));
    assert!(!reader.is_done());
    let Ok(Step::End { skip: 8, trailers }) = reader.next(b"a: b\r\n\r\nGET") else {
        panic!("the section was whole");
    };
    assert_eq!(trailers[0].value.of(b"a: b\r\n\r\nGET"), b"b");
    assert!(reader.is_done());
}

#[test]
fn a_length_ends_where_it_says() {
    let mut reader = BodyReader::new(BodyFraming::Length(5));

    assert_eq!(reader.next(b""), Ok(Step::More { skip: 0 }));
    assert_eq!(reader.next(b"abc"), Ok(Step::Content { skip: 0, len: 3 }));
    assert!(!reader.is_done());
    assert_eq!(reader.next(b"deGET /"), Ok(Step::Content { skip: 0, len: 2 }));
    assert!(reader.is_done());
    for _ in 0..2 {
        let end = Step::End {
            skip: 0,
            trailers: Default::default(),
        };
        assert_eq!(reader.next(b"GET /"), Ok(end));
    }
}

#[test]
fn a_body_of_no_bytes_is_over_before_it_began() {
    for framing in [BodyFraming::None, BodyFraming::Length(0)] {
        let reader = BodyReader::new(framing);
        assert!(reader.is_done());
        assert_eq!(reader.at_eof(), Ok(()));
    }
}

#[test]
fn only_a_body_without_an_end_of_its_own_is_whole_at_the_close() {
    let at_eof = |framing, bytes| {
        let mut reader = BodyReader::new(framing);
        reader.next(bytes).unwrap();
        reader.at_eof()
    };

    assert_eq!(at_eof(BodyFraming::UntilClose, b"abc"), Ok(()));
    assert_eq!(at_eof(BodyFraming::Tunnel, b"abc"), Ok(()));
    assert_eq!(at_eof(BodyFraming::Length(3), b"abc"), Ok(()));
    assert_eq!(at_eof(BodyFraming::Chunked, b"0\r\n\r\n"), Ok(()));
    for fault in [
        at_eof(BodyFraming::Length(4), b"abc"),
        at_eof(BodyFraming::Chunked, b"3\r\nabc"),
        at_eof(BodyFraming::Chunked, b"0\r\n"),
    ] {
        assert_eq!(fault.unwrap_err().reason, Reason::BodyIncomplete);
    }
}

#[test]
fn everything_is_content_in_a_tunnel() {
    let mut reader = BodyReader::new(BodyFraming::None);

    reader.switch_to_tunnel();

    assert!(!reader.is_done());
    assert_eq!(reader.next(b"\0\r\n"), Ok(Step::Content { skip: 0, len: 3 }));
    assert_eq!(reader.next(b""), Ok(Step::More { skip: 0 }));
}

/// CVE-2023-39326: a body of nearly nothing but extensions.
#[test]
fn extensions_are_bounded_by_the_content_they_come_with() {
    let body = |extension: usize, size: usize, count: usize| {
        let chunk = format!(
            "{size:x};{}\r\n{}\r\n",
            "a".repeat(extension - 1),
            "x".repeat(size)
        );
        format!("{}0\r\n\r\n", chunk.repeat(count))
    };

    ended(body(8192, 1, 1).as_bytes());
    // As signed uploads do: 80 bytes of signature for each chunk.
    ended(body(85, 1024, 300).as_bytes());
    for bytes in [body(8193, 1, 1), body(85, 1, 200)] {
        let fault = laws::chunked_body(bytes.as_bytes()).unwrap_err();
        assert_eq!(fault.why, "chunk extensions too long");
    }
}

#[test]
fn trailers_are_bounded_in_size_and_number() {
    let of_size = |size: usize| format!("0\r\na: {}\r\n\r\n", "b".repeat(size - 7));
    let of_number = |number: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(number));

    assert_eq!(ended(of_number(32).as_bytes()).trailers.len(), 32);
    ended(of_size(8192).as_bytes());
    for (bytes, why) in [
        (of_number(33), "too many trailers"),
        (of_size(8193), "trailers too long"),
    ] {
        let fault = laws::chunked_body(bytes.as_bytes()).unwrap_err();
        assert_eq!((fault.reason, fault.why), (Reason::FrameMalformed, why));
    }
}
