//! Holds a body until it is known to fit: not one byte of it goes on before.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_model::path::hex;
use portcullis_model::{Reason, Rejection, Violation};
use serde_json::Value;

use super::json::{MAX_VALUES, parse_strict};
use super::operation::{BodyKind, Operation};
use super::schema::Schema;
use super::shape::{Fields, Repeated};
use super::violation::{BODY, Pointer, violation};

/// Collects a body under a bound and judges it when it is whole.
#[derive(Debug)]
pub struct BodyGate {
    operation: Arc<Operation>,
    /// The entry of the operation's `content`; `None` when no media type was accepted.
    media: Option<usize>,
    max: u64,
    held: Vec<u8>,
}

/// A body that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldBody {
    /// The bytes, as received.
    pub bytes: Bytes,
    /// The JSON value, when the body is JSON.
    pub json: Option<Value>,
}

impl BodyGate {
    pub(super) const fn new(operation: Arc<Operation>, media: Option<usize>, max: u64) -> Self {
        Self {
            operation,
            media,
            max,
            held: Vec::new(),
        }
    }

    /// Holds some more bytes.
    ///
    /// # Errors
    /// Refuses more bytes than the route allows, and any byte where the operation takes none of this media type.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.media.is_none() {
            return Err(Rejection::new(Reason::MediaType));
        }
        if (self.held.len() as u64).saturating_add(bytes.len() as u64) > self.max {
            return Err(Rejection::new(Reason::BodyTooLarge));
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes held now.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held.len()
    }

    /// Judges the whole body and releases it.
    ///
    /// # Errors
    /// Refuses a required body that is empty, what is not well-formed, and what does not fit, with at most 32
    /// violations.
    pub fn finish(self) -> Result<HeldBody, Rejection> {
        let rule = self.operation.body.as_ref();
        if self.held.is_empty() {
            return match rule {
                Some(rule) if rule.is_required => Err(Rejection::new(Reason::BodyMissing)),
                Some(_) | None => Ok(HeldBody {
                    bytes: Bytes::new(),
                    json: None,
                }),
            };
        }
        let kind = rule
            .zip(self.media)
            .and_then(|(rule, media)| rule.media.get(media))
            .map(|(_, kind)| kind);
        let json = match kind {
            None => return Err(Rejection::new(Reason::MediaType)),
            Some(BodyKind::Opaque) => None,
            Some(BodyKind::Json(schema)) => {
                let value = parse_strict(&self.held)?;
                if let Some(schema) = schema {
                    judge(schema, &value)?;
                }
                Some(value)
            }
            Some(BodyKind::Form(fields, schema)) => {
                judge(schema, &parse_form(&self.held, fields)?)?;
                None
            }
        };
        Ok(HeldBody {
            bytes: Bytes::from(self.held),
            json,
        })
    }
}

fn judge(schema: &Schema, value: &Value) -> Result<(), Rejection> {
    schema.check(value, BODY, &Pointer::default()).map_err(invalid)
}

fn invalid(violations: Vec<Violation>) -> Rejection {
    Rejection::new(Reason::BodyInvalid).with_violations(violations)
}

/// Reads a form as the flat object that its schema describes.
fn parse_form(body: &[u8], fields: &Fields) -> Result<Value, Rejection> {
    let mut pairs = Vec::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MAX_VALUES {
            return Err(Rejection::new(Reason::BodyTooLarge));
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let (name, value) = (
            halves.next().unwrap_or_default(),
            halves.next().unwrap_or_default(),
        );
        let decoded = decode(name).zip(decode(value));
        pairs.push(decoded.ok_or(Rejection::new(Reason::BodyMalformed))?);
    }
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    fields.read(pairs).map_err(|Repeated(name)| {
        let told = violation(BODY, Pointer::of(&name), "uniqueNames", "every name at most once");
        Rejection::new(Reason::BodyDuplicateKey).with_violations(vec![told])
    })
}

/// Strict: every `%` starts an encoded byte and the whole is UTF-8.
fn decode(text: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => bytes.next().and_then(hex)? * 16 + bytes.next().and_then(hex)?,
            b'+' => b' ',
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok()
}
