//! A request's head in the hall's words: its fields are slices of the bytes that arrived, not copies.

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use portcullis_framing::{BodyFraming, Fault, Field, RequestHead};
use portcullis_model::Reason;

use crate::client::{ClientHead, NamedHost};
use crate::message::Length;

/// Takes a head off the front of what arrived; what follows it stays.
pub(super) fn take(ahead: &mut BytesMut, head: &RequestHead) -> Result<ClientHead, Fault> {
    let bytes = ahead.split_to(head.end).freeze();
    if ahead.is_empty() {
        // The rest of the buffer would be held for as long as the answer takes.
        *ahead = BytesMut::new();
    }
    let method = Method::from_bytes(head.method.of(&bytes)).map_err(|_| malformed("method"))?;
    let (target, authority) = target(bytes.slice_ref(head.target.of(&bytes)))?;
    let headers = fields(&bytes, &head.fields)?;
    let version = if head.is_http10 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let length = match head.body {
        BodyFraming::None | BodyFraming::Length(0) => Length::None,
        BodyFraming::Length(length) => Length::Known(length),
        BodyFraming::Chunked | BodyFraming::UntilClose | BodyFraming::Tunnel => Length::Unknown,
    };
    Ok(ClientHead {
        upgrade: (!head.is_http10).then(|| upgrade(&headers)).flatten(),
        expects_continue: !head.is_http10 && length != Length::None && is_continue_expected(&headers),
        method,
        target,
        authority,
        headers,
        version,
        length,
    })
}

/// The fields of a head or of a trailer section; their spans point into `bytes`.
fn fields(bytes: &Bytes, fields: &[Field]) -> Result<HeaderMap, Fault> {
    let too_many = Fault {
        reason: Reason::HeadTooLarge,
        why: "too many fields",
    };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.of(bytes)).map_err(|_| malformed("field name"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value.of(bytes)))
            .map_err(|_| malformed("field value"))?;
        headers.try_append(name, value).map_err(|_| too_many)?;
    }
    Ok(headers)
}

/// Trailers, if there are any; the framing guard let only such pass as may stand there.
pub(super) fn trailers(section: &Bytes, spans: &[Field]) -> Result<Option<HeaderMap>, Fault> {
    if spans.is_empty() {
        return Ok(None);
    }
    fields(section, spans).map(Some)
}

/// The target's path and query, and the authority of an absolute-form target.
fn target(raw: Bytes) -> Result<(Bytes, Option<NamedHost>), Fault> {
    if raw.starts_with(b"/") || &*raw == b"*" {
        return Ok((raw, None));
    }
    let Some(start) = raw.windows(3).position(|window| window == b"://") else {
        return Ok((raw, None));
    };
    let rest = raw.slice(start + 3..);
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let authority = Authority::from_maybe_shared(rest.slice(..end)).map_err(|_| Fault {
        reason: Reason::HostInvalid,
        why: "the target's authority",
    })?;
    let path = if end == rest.len() {
        Bytes::from_static(b"/")
    } else {
        rest.slice(end..)
    };
    Ok((path, Some(NamedHost(authority))))
}

/// The protocol a client asks to switch to.
fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(UPGRADE)?;
    let is_own = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    is_own.then(|| wanted.clone())
}

fn is_continue_expected(headers: &HeaderMap) -> bool {
    headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

const fn malformed(why: &'static str) -> Fault {
    Fault {
        reason: Reason::FrameMalformed,
        why,
    }
}
