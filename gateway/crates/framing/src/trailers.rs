//! The fields after the last chunk, and which names they may have.

use portcullis_model::Reason;
use smallvec::SmallVec;

use crate::body::Step;
use crate::fault::Fault;
use crate::field;
use crate::line::Lines;
use crate::span::Field;

/// Bytes of the trailer section: it stays in the reader's buffer until it is whole.
const MAX_BYTES: usize = 8 * 1024;
/// Fields of the trailer section.
const MAX_FIELDS: usize = 32;

/// Names no trailer may have, because whoever merges trailers into the fields, late or early, would let them say
/// again what was decided when the head was read. RFC 9110 section 6.5.1 names the kinds: framing, routing,
/// request modifiers, authentication, response control, and how to process the content.
const FORBIDDEN: &[&str] = &[
    // Framing and the connection.
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Routing, and what endpoints take for the request line.
    "host",
    "max-forwards",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
    // Who is asking, and from where.
    "authorization",
    "cookie",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "origin",
    "referer",
    "true-client-ip",
    "x-api-key",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-user",
    "x-user-id",
    // Which request this is.
    "baggage",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "x-request-id",
    // Request modifiers and conditions.
    "cache-control",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
    // Authentication and response control.
    "age",
    "authentication-info",
    "date",
    "expires",
    "location",
    "retry-after",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "content-security-policy",
    "clear-site-data",
    "vary",
    "warning",
    "www-authenticate",
    "alt-svc",
    // How to process the content.
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "accept-ranges",
    "refresh",
];

/// Beginnings of names no trailer may have: what proxies say to each other, what tells an endpoint who the client
/// is, and what lets other origins in.
const FORBIDDEN_PREFIXES: &[&str] = &[
    "access-control-",
    "client-cert",
    "proxy-",
    "remote-",
    "sec-",
    "ssl-client-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-apigateway-",
    "x-arr-",
    "x-auth-request-",
    "x-authenticated-",
    "x-b3-",
    "x-client-cert",
    "x-forwarded-",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-portcullis-",
    "x-remote-",
    "x-spiffe",
    "x-ssl-",
    "x-tls-client-",
];

/// True when a trailer may have this name, in any case; `_` and every other mark count as `-`, for endpoints take one
/// for the other (RFC 3875 section 4.1.18).
#[must_use]
pub fn is_trailer_allowed(name: &[u8]) -> bool {
    !name.is_empty()
        && !FORBIDDEN
            .iter()
            .any(|forbidden| name.len() == forbidden.len() && starts_like(name, forbidden))
        && !FORBIDDEN_PREFIXES.iter().any(|prefix| starts_like(name, prefix))
}

fn starts_like(name: &[u8], start: &str) -> bool {
    let like = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
        _ => b'-',
    };
    name.len() >= start.len()
        && name
            .iter()
            .zip(start.bytes())
            .all(|(&byte, wanted)| like(byte) == wanted)
}

/// The trailer section, as far as it arrived.
#[derive(Debug, Default)]
pub(crate) struct Trailers {
    lines: Lines,
    list: SmallVec<[Field; 4]>,
}

impl Trailers {
    /// Looks at what arrived of the section; it starts `skip` bytes into the reader's buffer.
    pub(crate) fn next(&mut self, bytes: &[u8], skip: usize) -> Result<Step, Fault> {
        while let Some(line) = self.lines.next(bytes, MAX_BYTES).map_err(as_malformed)? {
            if line.of(bytes).is_empty() {
                return Ok(Step::End {
                    skip: skip + self.lines.position(),
                    trailers: self.list.iter().map(|field| field.shifted(skip)).collect(),
                });
            }
            if self.list.len() >= MAX_FIELDS {
                return Err(Fault::malformed("too many trailers"));
            }
            let field = field::parse(bytes, line)?;
            if !is_trailer_allowed(field.name.of(bytes)) {
                return Err(Fault::malformed("forbidden trailer"));
            }
            self.list.push(field);
        }
        Ok(Step::More { skip })
    }
}

/// The head was fine: what is wrong with the section is a fault of the body.
fn as_malformed(fault: Fault) -> Fault {
    match fault.reason {
        Reason::HeadTooLarge => Fault::malformed("trailers too long"),
        _ => fault,
    }
}
