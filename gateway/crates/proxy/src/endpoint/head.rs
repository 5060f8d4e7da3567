//! Heads on the way to and from an endpoint: written from parsed parts, and read without a copy.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use portcullis_framing::{self as framing, Field};
use portcullis_pipeline::UpstreamHead;

use super::attempt::{EndpointFault, ResponseHead};
use super::pool::IDLE_TIME;
use crate::message::Length;

/// Not among the names of the `http` crate.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Interim responses of one request that are handed on.
pub(crate) const MAX_INTERIM: usize = 16;

/// How a request body is delimited on HTTP/1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// There is no body.
    Nothing,
    /// So many bytes are missing.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The connection is a tunnel.
    Raw,
}

/// True for fields that belong to one connection or say where a body ends: they are made anew on each side.
pub(crate) fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        *name,
        CONNECTION | CONTENT_LENGTH | TE | TRANSFER_ENCODING | UPGRADE
    ) || *name == KEEP_ALIVE
        || name == "proxy-connection"
}

/// Writes a request head; `is_last` asks the endpoint to close the connection afterwards.
pub(crate) fn write_head(
    out: &mut BytesMut,
    head: &UpstreamHead,
    framing: Framing,
    is_last: bool,
) -> Result<(), EndpointFault> {
    let path = head.path_and_query.as_bytes();
    if path.is_empty() || path.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(EndpointFault::protocol("the outgoing target cannot be written"));
    }
    out.put_slice(head.method.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(path);
    out.put_slice(b" HTTP/1.1\r\nhost: ");
    out.put_slice(head.authority.as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in &head.headers {
        if name != HOST && !is_of_connection(name) {
            put_field(out, name, value);
        }
    }
    if head.is_websocket {
        out.put_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
    } else if is_last {
        out.put_slice(b"connection: close\r\n");
    }
    match framing {
        Framing::Length(length) => put_length(out, length),
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        // RFC 9110 section 8.6: a method that means a body says so when there is none.
        Framing::Nothing if expects_body(&head.method) && !head.is_websocket => put_length(out, 0),
        Framing::Nothing | Framing::Raw => {}
    }
    out.put_slice(b"\r\n");
    Ok(())
}

const fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn put_length(out: &mut BytesMut, length: u64) {
    out.put_slice(b"content-length: ");
    out.put_slice(length.to_string().as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes one field line.
pub(crate) fn put_field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes the size of a chunk and the line end after it.
pub(crate) fn put_chunk_size(out: &mut BytesMut, size: usize) {
    let digits = usize::BITS
        .saturating_sub(size.leading_zeros())
        .div_ceil(4)
        .max(1);
    for place in (0..digits).rev() {
        let digit = (size >> (place * 4)) & 0xf;
        let letter = char::from_digit(u32::try_from(digit).unwrap_or_default(), 16).unwrap_or('0');
        out.put_u8(u8::try_from(letter).unwrap_or(b'0'));
    }
    out.put_slice(b"\r\n");
}

/// A response head out of the bytes that the guard found to be one, and how long the endpoint keeps the connection
/// afterwards. The values are slices of the bytes.
pub(crate) fn read_head(
    bytes: &Bytes,
    head: &framing::ResponseHead,
    is_head: bool,
) -> Result<(ResponseHead, Duration), EndpointFault> {
    let status = StatusCode::from_u16(head.status).map_err(|_| malformed())?;
    let mut headers = HeaderMap::with_capacity(head.fields.len());
    let mut nominated: Vec<HeaderName> = Vec::new();
    let mut patience = IDLE_TIME;
    for field in &head.fields {
        let (name, value) = read_field(bytes, field)?;
        if !is_of_connection(&name) {
            headers.append(name, value);
        } else if name == CONNECTION {
            let tokens = value.to_str().unwrap_or_default().split(',');
            nominated.extend(tokens.filter_map(|token| token.trim().parse().ok()));
        } else if name == KEEP_ALIVE {
            patience = patience.min(endpoint_patience(value.as_bytes()));
        }
    }
    for name in nominated {
        headers.remove(name);
    }
    let length = match (head.body, head.said_length) {
        (framing::BodyFraming::Length(length), _) | (framing::BodyFraming::None, Some(length)) => {
            known(length)
        }
        (framing::BodyFraming::None, None) if is_head => Length::Unknown,
        (framing::BodyFraming::None | framing::BodyFraming::Tunnel, _) => Length::None,
        (framing::BodyFraming::Chunked | framing::BodyFraming::UntilClose, _) => Length::Unknown,
    };
    let head = ResponseHead {
        status,
        headers,
        length,
    };
    Ok((head, patience))
}

/// A body's length as the endpoint says it.
pub(crate) const fn known(length: u64) -> Length {
    match length {
        0 => Length::None,
        length => Length::Known(length),
    }
}

fn read_field(bytes: &Bytes, field: &Field) -> Result<(HeaderName, HeaderValue), EndpointFault> {
    let name = HeaderName::from_bytes(field.name.of(bytes)).map_err(|_| malformed())?;
    let value = bytes.slice_ref(field.value.of(bytes));
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| malformed())?;
    Ok((name, value))
}

const fn malformed() -> EndpointFault {
    EndpointFault::protocol("a field that cannot be handed on")
}

/// Trailers out of the bytes in which they stand.
pub(crate) fn read_trailers(bytes: &[u8], found: &[Field]) -> Result<Option<HeaderMap>, EndpointFault> {
    if found.is_empty() {
        return Ok(None);
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let mut trailers = HeaderMap::with_capacity(found.len());
    for field in found {
        let (name, value) = read_field(&bytes, field)?;
        trailers.append(name, value);
    }
    Ok(retain_trailers(trailers))
}

/// The trailers that may be handed on, when there are some.
pub(crate) fn retain_trailers(mut trailers: HeaderMap) -> Option<HeaderMap> {
    let refused: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !framing::is_trailer_allowed(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// How long an endpoint says it keeps an idle connection (`Keep-Alive: timeout=5`), less a margin for the way.
pub(crate) fn endpoint_patience(field: &[u8]) -> Duration {
    let text = std::str::from_utf8(field).unwrap_or_default();
    let seconds = text
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout=")?.parse::<u64>().ok());
    seconds.map_or(IDLE_TIME, |seconds| {
        Duration::from_secs(seconds).saturating_sub(Duration::from_secs(1))
    })
}
