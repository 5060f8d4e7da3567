//! Fields of HTTP/2 messages: what they cost, and which may not stand in them.

use h2::RecvStream;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Request};
use portcullis_framing::{Fault, is_trailer_allowed};
use portcullis_model::Reason;

use crate::message::Length;

/// What a field costs beside its name and value, as SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 section 6.5.2).
const FIELD_COST: usize = 32;
/// Fields of a response that would have another connection's meaning (RFC 9113 section 8.2.2).
const CONNECTION_FIELDS: [HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
];

/// What a decoded head costs, as SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 section 6.5.2).
pub(crate) fn head_cost(request: &Request<RecvStream>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_COST);
    path + authority + 4 * FIELD_COST + fields.sum::<usize>()
}

/// What is known of a request body's length.
pub(crate) fn body_length(fields: &HeaderMap, body: &RecvStream) -> Length {
    if body.is_end_stream() {
        return Length::None;
    }
    // h2 refused what is no number and what disagrees.
    let said = fields
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match said {
        Some(0) => Length::None,
        Some(length) => Length::Known(length),
        None => Length::Unknown,
    }
}

/// True when the client waits to be invited.
pub(crate) fn is_continue_expected(fields: &HeaderMap) -> bool {
    fields
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The fields that may stand in an HTTP/2 message.
pub(crate) fn without_connection_fields(mut fields: HeaderMap) -> HeaderMap {
    for name in &CONNECTION_FIELDS {
        fields.remove(name);
    }
    fields
}

/// Trailers may not say anything about framing, routing or identity (RFC 9110 section 6.5.1).
pub(crate) fn check_trailers(trailers: &HeaderMap) -> Result<(), Fault> {
    let is_allowed = trailers
        .keys()
        .all(|name| is_trailer_allowed(name.as_str().as_bytes()));
    if is_allowed {
        return Ok(());
    }
    Err(Fault {
        reason: Reason::FrameMalformed,
        why: "a field that may not stand in trailers",
    })
}

/// The trailers of an answer that may stand there.
pub(crate) fn allowed_trailers(mut trailers: HeaderMap) -> HeaderMap {
    let refused: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| !is_trailer_allowed(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in refused {
        trailers.remove(name);
    }
    without_connection_fields(trailers)
}
