//! What holds for any bytes. The fuzz targets include this file and call the same functions.

use portcullis_framing::websocket::FrameTracker;
use portcullis_framing::{
    Asked, BodyFraming, BodyReader, Bounds, Fault, Field, RequestHead, RequestScanner, ResponseHead,
    ResponseScanner, Step,
};

/// Small enough that generated heads reach them.
pub(crate) const BOUNDS: Bounds = Bounds {
    max_bytes: 2048,
    max_fields: 12,
};

/// What became of a body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Body {
    /// Its content as far as it came.
    pub content: Vec<u8>,
    /// Where the next message starts; `None` when the body goes on.
    pub end: Option<usize>,
    /// Names and values.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A request's head: alike in any pieces, and as `httparse` reads it.
pub(crate) fn request_head(bytes: &[u8]) -> Result<Option<RequestHead>, Fault> {
    let whole = RequestScanner::default().scan(bytes, &BOUNDS);
    let mut scanner = RequestScanner::default();
    let pieces = in_pieces(bytes, |some| scanner.scan(some, &BOUNDS));
    assert_eq!(whole, pieces, "the pieces of a request's head change the verdict");
    if let Ok(Some(head)) = &whole {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut other = httparse::Request::new(&mut slots);
        let end = other.parse(bytes).expect("httparse takes the head").unwrap();
        assert_eq!(end, head.end, "httparse ends the head elsewhere");
        assert_eq!(other.method.map(str::as_bytes), Some(head.method.of(bytes)));
        assert_eq!(other.path.map(str::as_bytes), Some(head.target.of(bytes)));
        assert_eq!(other.version, Some(u8::from(!head.is_http10)));
        assert_fields(bytes, &head.fields, other.headers);
        assert!(
            head.start == 0 || bytes.starts_with(b"\r\n"),
            "only an empty line is skipped"
        );
    }
    whole
}

/// An answer's head: alike in any pieces, and as `httparse` reads it.
pub(crate) fn response_head(bytes: &[u8], asked: Asked) -> Result<Option<ResponseHead>, Fault> {
    let whole = ResponseScanner::new(asked).scan(bytes, &BOUNDS);
    let mut scanner = ResponseScanner::new(asked);
    let pieces = in_pieces(bytes, |some| scanner.scan(some, &BOUNDS));
    assert_eq!(whole, pieces, "the pieces of an answer's head change the verdict");
    if let Ok(Some(head)) = &whole {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut other = httparse::Response::new(&mut slots);
        let end = other.parse(bytes).expect("httparse takes the head").unwrap();
        assert_eq!(end, head.end, "httparse ends the head elsewhere");
        assert_eq!(other.code, Some(head.status));
        assert_eq!(other.version, Some(u8::from(!head.is_http10)));
        assert_fields(bytes, &head.fields, other.headers);
    }
    whole
}

/// A chunked body: alike in any pieces, and as a decoder on `httparse` reads it.
pub(crate) fn chunked_body(bytes: &[u8]) -> Result<Body, Fault> {
    let whole = read_body(bytes, BodyFraming::Chunked, bytes.len());
    for size in [1, 7] {
        let pieces = read_body(bytes, BodyFraming::Chunked, size);
        assert_eq!(whole, pieces, "the pieces of a body change what it is");
    }
    if let Ok(body) = &whole
        && let Some(end) = body.end
    {
        let (content, other_end) = decode(bytes).expect("the other decoder takes the body");
        assert_eq!(other_end, end, "the other decoder ends the body elsewhere");
        assert_eq!(content, body.content);
    }
    whole
}

/// One direction of a WebSocket: alike in any pieces, and its frames end where another reader ends them. Gives the
/// boundaries, the one before the first frame included.
pub(crate) fn websocket(bytes: &[u8]) -> Vec<usize> {
    let boundaries = frame_ends(bytes);
    let mut tracker = FrameTracker::default();
    for at in 0..=bytes.len() {
        assert_eq!(tracker.is_between(), boundaries.contains(&at), "after {at} bytes");
        let mut other = tracker.clone();
        let rest = other.finish(&bytes[at..]);
        let end = boundaries.iter().copied().find(|end| *end >= at);
        assert_eq!(
            at + rest,
            end.unwrap_or(bytes.len()),
            "the rest of a frame from {at}"
        );
        assert_eq!(other.is_between(), end.is_some());
        if let Some(byte) = bytes.get(at) {
            tracker.pass(std::slice::from_ref(byte));
        }
    }
    let mut whole = FrameTracker::default();
    whole.pass(bytes);
    assert_eq!(
        (whole.is_between(), whole.has_closed()),
        (tracker.is_between(), tracker.has_closed())
    );
    boundaries
}

/// Another reader, for whole directions: where frames end (RFC 6455 section 5.2).
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    let mut at = 0;
    while let Some([_, second]) = bytes[at..].first_chunk::<2>() {
        let width = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(extended) = bytes.get(at + 2..at + 2 + width) else {
            break;
        };
        let length = match width {
            0 => u64::from(second & 0x7f),
            _ => extended.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(at + 2 + width + mask));
        match end.filter(|end| *end <= bytes.len() && length < 1 << 63) {
            Some(end) => at = end,
            None => break,
        }
        ends.push(at);
    }
    ends
}

/// Reads a body from a buffer that gets `size` bytes at a time and keeps what it must.
pub(crate) fn read_body(bytes: &[u8], framing: BodyFraming, size: usize) -> Result<Body, Fault> {
    let mut reader = BodyReader::new(framing);
    let mut body = Body {
        content: Vec::new(),
        end: None,
        trailers: Vec::new(),
    };
    let (mut from, mut to) = (0, 0);
    loop {
        assert_eq!(reader.at_eof().is_ok(), is_whole(framing, &reader));
        let held = &bytes[from..to];
        match reader.next(held)? {
            Step::Content { skip, len } => {
                assert!(len > 0, "content without a byte");
                body.content.extend_from_slice(&held[skip..skip + len]);
                from += skip + len;
            }
            Step::More { skip } => {
                from += skip;
                if to == bytes.len() {
                    assert!(!reader.is_done());
                    return Ok(body);
                }
                to = bytes.len().min(to + size.max(1));
            }
            Step::End { skip, trailers } => {
                assert!(reader.is_done());
                let text = |field: &Field| {
                    let (name, value) = (field.name.of(held), field.value.of(held));
                    assert!(portcullis_framing::is_trailer_allowed(name));
                    (name.to_vec(), value.to_vec())
                };
                body.trailers = trailers.iter().map(text).collect();
                body.end = Some(from + skip);
                return Ok(body);
            }
        }
    }
}

fn is_whole(framing: BodyFraming, reader: &BodyReader) -> bool {
    reader.is_done() || matches!(framing, BodyFraming::UntilClose | BodyFraming::Tunnel)
}

fn in_pieces<T>(
    bytes: &[u8],
    mut scan: impl FnMut(&[u8]) -> Result<Option<T>, Fault>,
) -> Result<Option<T>, Fault> {
    for end in 0..=bytes.len() {
        let verdict = scan(&bytes[..end]);
        if !matches!(verdict, Ok(None)) {
            return verdict;
        }
    }
    Ok(None)
}

fn assert_fields(bytes: &[u8], ours: &[Field], theirs: &[httparse::Header<'_>]) {
    let ours: Vec<_> = ours
        .iter()
        .map(|field| (field.name.of(bytes), field.value.of(bytes)))
        .collect();
    let theirs: Vec<_> = theirs
        .iter()
        .map(|field| (field.name.as_bytes(), field.value))
        .collect();
    assert_eq!(ours, theirs, "httparse reads other fields");
}

/// Another decoder, for whole bodies: the content and where the body ends.
fn decode(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(&bytes[at..]).ok()? else {
            return None;
        };
        at += line;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        content.extend_from_slice(bytes.get(at..at + size)?);
        at += size + 2;
        if bytes.get(at - 2..at)? != b"\r\n" {
            return None;
        }
    }
    let mut slots = [httparse::EMPTY_HEADER; 64];
    match httparse::parse_headers(&bytes[at..], &mut slots).ok()? {
        httparse::Status::Complete((section, _)) => Some((content, at + section)),
        httparse::Status::Partial => None,
    }
}
