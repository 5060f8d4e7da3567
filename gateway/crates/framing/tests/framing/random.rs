//! Laws over generated messages: valid ones are taken as they were meant, mutated ones break no law.

use portcullis_framing::{Asked, BodyFraming};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::laws;

/// What attacks are made of.
const NASTY: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\x7f",
    b"\x80",
    b"#",
    b"0",
    b"a",
    b"-",
    b"+",
    b"0x",
    b"HTTP/1.1",
    b"Host: h\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"0\r\n\r\n",
    b"\r\n ",
    b" :",
    b"\n\n",
    b"1;",
    b"@",
    b"//",
];

/// The fields that say where the body ends, and what they say.
#[derive(Clone, Debug)]
pub(crate) struct Framed {
    fields: &'static str,
    framing: BodyFraming,
}

/// A message that must be taken, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Valid {
    /// The head.
    pub head: Vec<u8>,
    /// The body as it is sent.
    pub body: Vec<u8>,
    /// What the body says.
    pub content: Vec<u8>,
    /// How it is delimited.
    pub framing: BodyFraming,
    count: usize,
}

fn framed() -> impl Strategy<Value = Framed> {
    select(vec![
        Framed {
            fields: "",
            framing: BodyFraming::None,
        },
        Framed {
            fields: "Content-Length: 0\r\n",
            framing: BodyFraming::None,
        },
        Framed {
            fields: "content-length:7 \r\n",
            framing: BodyFraming::Length(7),
        },
        Framed {
            fields: "Transfer-Encoding: chunked\r\n",
            framing: BodyFraming::Chunked,
        },
        Framed {
            fields: "transfer-encoding:\tCHUNKED\r\n",
            framing: BodyFraming::Chunked,
        },
    ])
}

fn field() -> impl Strategy<Value = String> {
    let value = "([!-~\u{e4}]([ \t!-~\u{e4}]{0,20}[!-~\u{e4}])?)?";
    (
        "x[!#$%&'*+.^_`|~0-9A-Za-z-]{0,12}",
        "[ \t]{0,2}",
        value,
        "[ \t]{0,2}",
    )
        .prop_map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n"))
}

/// A chunked body: its bytes and its content.
fn chunks() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk = (vec(any::<u8>(), 1..24), "(;[ -~]{0,10})?", any::<bool>());
    (vec(chunk, 0..4), vec(field(), 0..3)).prop_map(|(chunks, trailers)| {
        let (mut bytes, mut content) = (Vec::new(), Vec::new());
        for (piece, extension, is_upper) in chunks {
            let size = if is_upper {
                format!("{:X}{extension}\r\n", piece.len())
            } else {
                format!("0{:x}{extension}\r\n", piece.len())
            };
            bytes.extend_from_slice(size.as_bytes());
            bytes.extend_from_slice(&piece);
            bytes.extend_from_slice(b"\r\n");
            content.extend_from_slice(&piece);
        }
        bytes.extend_from_slice(b"0\r\n");
        bytes.extend_from_slice(trailers.concat().as_bytes());
        bytes.extend_from_slice(b"\r\n");
        (bytes, content)
    })
}

fn valid(first: impl Strategy<Value = String>, fixed: &'static str) -> impl Strategy<Value = Valid> {
    let parts = (first, vec(field(), 0..4), framed(), vec(field(), 0..4), chunks());
    parts.prop_map(
        move |(first, before, framed, after, (chunked, chunked_content))| {
            let head = format!(
                "{first}\r\n{}{}{fixed}{}\r\n",
                before.concat(),
                framed.fields,
                after.concat()
            );
            let (body, content) = match framed.framing {
                BodyFraming::Length(_) => (b"\r\n\r\nabc".to_vec(), b"\r\n\r\nabc".to_vec()),
                BodyFraming::Chunked => (chunked, chunked_content),
                BodyFraming::None | BodyFraming::UntilClose | BodyFraming::Tunnel => Default::default(),
            };
            Valid {
                count: before.len() + after.len() + usize::from(!framed.fields.is_empty()),
                head: head.into_bytes(),
                body,
                content,
                framing: framed.framing,
            }
        },
    )
}

/// A request that must be taken.
pub(crate) fn request() -> impl Strategy<Value = Valid> {
    let first = ("[A-Z]{3,7}", "/[!-\"$-~]{0,30}", any::<bool>())
        .prop_filter("CONNECT has its own rule", |(method, ..)| method != "CONNECT")
        .prop_map(|(method, target, leads)| {
            format!("{}{method} {target} HTTP/1.1", if leads { "\r\n" } else { "" })
        });
    valid(first, "Host: h\r\n")
}

/// An answer that must be taken when nothing special was asked.
pub(crate) fn response() -> impl Strategy<Value = Valid> {
    let first = (200u16..=599, "[ \t!-~]{0,20}")
        .prop_filter("these have no body", |(status, _)| !matches!(status, 204 | 304))
        .prop_map(|(status, phrase)| format!("HTTP/1.1 {status} {phrase}"));
    valid(first, "")
}

/// One to four wounds.
pub(crate) fn mutated(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let wound = (any::<prop::sample::Index>(), 0usize..4, select(NASTY.to_vec()));
    (bytes, vec(wound, 1..5)).prop_map(|(mut bytes, wounds)| {
        for (place, cut, insert) in wounds {
            let from = place.index(bytes.len() + 1);
            let to = bytes.len().min(from + cut);
            bytes.splice(from..to, insert.iter().copied());
        }
        bytes
    })
}

/// Anything that looks a little like a message.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        select(NASTY.to_vec()).prop_map(<[u8]>::to_vec),
        vec(any::<u8>(), 1..3),
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_valid_request_is_taken_as_it_was_meant(valid in request(), next in vec(any::<u8>(), 0..20)) {
        let head = laws::request_head(&[&valid.head[..], &next].concat()).unwrap().unwrap();

        prop_assert_eq!(head.end, valid.head.len());
        prop_assert_eq!(head.body, valid.framing);
        prop_assert_eq!(head.fields.len(), valid.count + 1);
    }

    #[test]
    fn a_valid_answer_is_taken_as_it_was_meant(valid in response(), next in vec(any::<u8>(), 0..20)) {
        let head = laws::response_head(&[&valid.head[..], &next].concat(), Asked::Other).unwrap().unwrap();

        prop_assert_eq!(head.end, valid.head.len());
        prop_assert_eq!(head.fields.len(), valid.count);
        if head.body == BodyFraming::UntilClose {
            prop_assert_eq!(head.said_length, None);
        } else {
            prop_assert_eq!(head.body, valid.framing);
        }
    }

    #[test]
    fn a_valid_body_gives_its_content_and_leaves_the_next_message((bytes, content) in chunks(), next in vec(any::<u8>(), 0..20)) {
        let body = laws::chunked_body(&[&bytes[..], &next].concat()).unwrap();

        prop_assert_eq!(body.end, Some(bytes.len()));
        prop_assert_eq!(body.content, content);
    }

    #[test]
    fn a_body_of_a_length_is_alike_in_any_pieces(length in 0u64..40, bytes in vec(any::<u8>(), 0..60), size in 1usize..9) {
        let framing = BodyFraming::Length(length);
        let whole = laws::read_body(&bytes, framing, bytes.len()).unwrap();

        prop_assert_eq!(&whole, &laws::read_body(&bytes, framing, size).unwrap());
        let taken = bytes.len().min(usize::try_from(length).unwrap());
        prop_assert_eq!(&whole.content, &bytes[..taken]);
        prop_assert_eq!(whole.end.is_some(), taken as u64 == length);
    }

    #[test]
    fn no_request_breaks_a_law(bytes in prop_oneof![mutated(request().prop_map(|valid| valid.head)), soup()]) {
        let _ = laws::request_head(&bytes);
    }

    #[test]
    fn no_answer_breaks_a_law(bytes in prop_oneof![mutated(response().prop_map(|valid| valid.head)), soup()], asked in select(vec![Asked::Head, Asked::Upgrade, Asked::Other])) {
        let _ = laws::response_head(&bytes, asked);
    }

    #[test]
    fn no_body_breaks_a_law(bytes in prop_oneof![mutated(chunks().prop_map(|(bytes, _)| bytes)), soup()]) {
        let _ = laws::chunked_body(&bytes);
    }
}
