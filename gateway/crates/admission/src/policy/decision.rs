//! What a policy decided, parsed the same way whichever engine said it.

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use super::fault::PolicyFault;
use super::input::is_forbidden_header;

/// More fields than this in one decision are a mistake of its author.
const MAX_HEADERS: usize = 32;

/// A longer reason is cut: it goes into an answer and a log line.
const MAX_REASON_CHARS: usize = 512;

/// Fields that belong to one connection or to the message's framing, which the gateway alone writes.
const RESERVED_HEADERS: [&str; 14] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields of a request by which endpoints trust the gateway; what starts with `x-forwarded-` is one too.
const GATEWAY_HEADERS: [&str; 4] = ["forwarded", "traceparent", "tracestate", "x-request-id"];

/// What a policy decided.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Decision {
    /// Whether the request may pass.
    pub allow: bool,
    /// The policy's own words, safe to show to the client.
    pub reason: Option<String>,
    /// The status of a denial, always a 4xx.
    pub status: Option<StatusCode>,
    /// Fields of the answer when denied.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Fields added to the request when allowed.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
}

impl Decision {
    /// Reads what a policy returned: a boolean, or an object with a boolean `allow` (or `allowed`).
    ///
    /// # Errors
    /// Returns [`PolicyFault::Shape`] for anything else: a decision that is half understood is not a decision.
    pub fn parse(value: &Value) -> Result<Self, PolicyFault> {
        match value {
            Value::Bool(allow) => Ok(Self {
                allow: *allow,
                ..Self::default()
            }),
            Value::Object(fields) => Self::parse_object(fields),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(shape(format!(
                "expected a boolean or an object, got {}",
                kind(value)
            ))),
        }
    }

    fn parse_object(fields: &Map<String, Value>) -> Result<Self, PolicyFault> {
        let allow = one_of(fields, "allow", "allowed")?
            .ok_or_else(|| shape("\"allow\" is missing"))?
            .as_bool()
            .ok_or_else(|| shape("\"allow\" is not a boolean"))?;
        let reason = match fields.get("reason") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(public_text(text)),
            Some(other) => return Err(shape(format!("\"reason\" is not text but {}", kind(other)))),
        };
        let status = match one_of(fields, "status", "http_status")? {
            None | Some(Value::Null) => None,
            Some(value) => parse_status(value, allow)?,
        };
        Ok(Self {
            allow,
            reason,
            status,
            headers: parse_headers("headers", fields.get("headers"), |_| false)?,
            request_headers: parse_headers("request_headers", fields.get("request_headers"), is_ours)?,
        })
    }
}

/// The value under either of two names; both at once must agree, or nobody knows what is meant.
fn one_of<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    other: &str,
) -> Result<Option<&'a Value>, PolicyFault> {
    match (fields.get(name), fields.get(other)) {
        (Some(first), Some(second)) if first != second => {
            Err(shape(format!("\"{name}\" and \"{other}\" contradict each other")))
        }
        (Some(value), _) | (None, Some(value)) => Ok(Some(value)),
        (None, None) => Ok(None),
    }
}

/// A denial's status must be a 4xx; an allowed request's status is the endpoint's to choose.
fn parse_status(value: &Value, allow: bool) -> Result<Option<StatusCode>, PolicyFault> {
    let number = value
        .as_u64()
        .ok_or_else(|| shape("\"status\" is not a whole number"))?;
    let status = u16::try_from(number)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    match status {
        Some(_) if allow => Ok(None),
        Some(status) if status.is_client_error() => Ok(Some(status)),
        Some(_) | None => Err(shape(format!(
            "\"status\" of a denial must be 400 to 499, not {number}"
        ))),
    }
}

/// A field that only the gateway itself may write into a request.
fn is_ours(name: &HeaderName) -> bool {
    GATEWAY_HEADERS.contains(&name.as_str())
        || name.as_str().starts_with("x-forwarded-")
        || is_forbidden_header(name)
}

/// An object of names with one text or a list of texts each.
fn parse_headers(
    what: &str,
    value: Option<&Value>,
    is_reserved: fn(&HeaderName) -> bool,
) -> Result<Vec<(HeaderName, HeaderValue)>, PolicyFault> {
    let fields = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(fields)) => fields,
        Some(other) => return Err(shape(format!("\"{what}\" is not an object but {}", kind(other)))),
    };
    let mut headers = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| shape(format!("\"{what}\" has the invalid field name {name:?}")))?;
        if RESERVED_HEADERS.contains(&parsed.as_str()) || is_reserved(&parsed) {
            return Err(shape(format!("\"{what}\" may not set {parsed}")));
        }
        let values = match value {
            Value::Array(values) => values.as_slice(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                std::slice::from_ref(value)
            }
        };
        for value in values {
            headers.push((parsed.clone(), field_value(what, &parsed, value)?));
        }
        if headers.len() > MAX_HEADERS {
            return Err(shape(format!("\"{what}\" has more than {MAX_HEADERS} fields")));
        }
    }
    Ok(headers)
}

fn field_value(what: &str, name: &HeaderName, value: &Value) -> Result<HeaderValue, PolicyFault> {
    let text = value
        .as_str()
        .ok_or_else(|| shape(format!("{name} in \"{what}\" is not text but {}", kind(value))))?;
    HeaderValue::from_str(text).map_err(|_| shape(format!("{name} in \"{what}\" has a forbidden byte")))
}

/// A reason on one line and of bounded length.
fn public_text(text: &str) -> String {
    text.chars()
        .take(MAX_REASON_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn shape(message: impl Into<String>) -> PolicyFault {
    PolicyFault::Shape(message.into())
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list or set",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
