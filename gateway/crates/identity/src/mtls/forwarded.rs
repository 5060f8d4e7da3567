//! A client certificate as endpoints are told of it: one element of `x-forwarded-client-cert`.
//!
//! The grammar is Envoy's: `key=value` pairs with semicolons between them, a value in double quotes where it may
//! hold `,`, `;` or `=`. The subject is whatever a certificate authority was made to sign, so it is written with
//! nothing in it that any reader could take for an end: no quote, no backslash before a quote, no separator.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;
use portcullis_model::SpiffeId;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::der_parser::oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::peer::PeerIdentity;

/// Longest element; one that needs more is refused rather than told in part.
const MAX_ELEMENT: usize = 4096;

/// Why a certificate cannot be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ForwardedFault {
    /// It would be cut.
    #[error("it takes {0} bytes, and {MAX_ELEMENT} are sent at most")]
    TooLong(usize),
    /// Some byte of it may not stand in a field.
    #[error("it is no field value")]
    NoValue,
}

/// What is known already of how a certificate is told. Copies of a peer share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwarded {
    /// What is the same whoever says it.
    element: OnceLock<Arc<str>>,
    /// What was told last: of one connection it is told by one name, until our own identity is another one.
    told: Arc<ArcSwapOption<Told>>,
}

#[derive(Debug)]
struct Told {
    by: Option<Arc<SpiffeId>>,
    value: HeaderValue,
}

impl PeerIdentity {
    /// What endpoints are told of the certificate by a gateway of this name. A name is known by its place in memory.
    pub(crate) fn forwarded_element(&self, by: Option<Arc<SpiffeId>>) -> Result<HeaderValue, ForwardedFault> {
        let is_by = |told: &Told| match (&told.by, &by) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if let Some(told) = &*self.forwarded.told.load()
            && is_by(told)
        {
            return Ok(told.value.clone());
        }
        let element = self.forwarded.element.get_or_init(|| element(self).into());
        let text = match &by {
            Some(by) => Bytes::from(format!("By={by};{element}")),
            None => Bytes::copy_from_slice(element.as_bytes()),
        };
        if text.len() > MAX_ELEMENT {
            return Err(ForwardedFault::TooLong(text.len()));
        }
        let value = HeaderValue::from_maybe_shared(text).map_err(|_| ForwardedFault::NoValue)?;
        let told = Told {
            by,
            value: value.clone(),
        };
        self.forwarded.told.store(Some(Arc::new(told)));
        Ok(value)
    }
}

/// Everything of the element that is the same for every request of a connection: `Hash`, `Subject`, and `URI` when
/// the certificate names a workload.
fn element(peer: &PeerIdentity) -> String {
    let mut text = String::from("Hash=");
    push_hex(&mut text, &peer.fingerprint);
    text.push_str(";Subject=\"");
    let leaf = peer.chain.first().map_or(&[][..], |leaf| leaf.as_ref());
    // As everywhere: a mistake of the parser costs the subject, not a worker.
    text.push_str(&catch_unwind(AssertUnwindSafe(|| subject(leaf))).unwrap_or_default());
    text.push('"');
    if let Ok(id) = &peer.spiffe_id {
        // Nothing in a SPIFFE ID needs quotes.
        let _ = write!(text, ";URI={id}");
    }
    text
}

/// A certificate's subject as RFC 4514 writes it: the last part first, what is not plain as a hex pair.
fn subject(der: &[u8]) -> String {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => distinguished_name(certificate.subject()),
        Err(_) => String::new(),
    }
}

fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (index, part) in parts.iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            push_attribute(&mut text, attribute);
        }
    }
    text
}

/// `CN=value` for the types and encodings that RFC 4514 has names for, `1.2.3=#hex` for the others.
fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let value = attribute.attr_value();
    match (short_name(attribute), plain_text(value)) {
        (Some(name), Some(plain)) => {
            text.push_str(name);
            text.push('=');
            push_escaped(text, plain);
        }
        (name, _) => {
            match name {
                Some(name) => text.push_str(name),
                None => text.push_str(&attribute.attr_type().to_id_string()),
            }
            text.push_str("=#");
            push_der(text, value);
        }
    }
}

/// The names of RFC 4514 section 3.
fn short_name(attribute: &AttributeTypeAndValue<'_>) -> Option<&'static str> {
    let names = [
        (oid!(2.5.4.3), "CN"),
        (oid!(2.5.4.6), "C"),
        (oid!(2.5.4.7), "L"),
        (oid!(2.5.4.8), "ST"),
        (oid!(2.5.4.9), "STREET"),
        (oid!(2.5.4.10), "O"),
        (oid!(2.5.4.11), "OU"),
        (oid!(0.9.2342.19200300.100.1.1), "UID"),
        (oid!(0.9.2342.19200300.100.1.25), "DC"),
    ];
    names
        .into_iter()
        .find_map(|(oid, name)| (oid == *attribute.attr_type()).then_some(name))
}

/// The text of a value whose encoding is a subset of UTF-8.
fn plain_text<'a>(value: &'a Any<'_>) -> Option<&'a str> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            std::str::from_utf8(value.data).ok()
        }
        _ => None,
    }
}

/// Letters, digits and what no grammar around here knows stay; everything else is a hex pair (RFC 4514 section 2.4
/// allows that for any byte). A backslash is always followed by two digits, so it escapes nothing for any reader.
fn push_escaped(text: &mut String, plain: &str) {
    let last = plain.len().saturating_sub(1);
    for (index, byte) in plain.bytes().enumerate() {
        let is_edge = index == 0 || index == last;
        let is_plain =
            byte.is_ascii_alphanumeric() || b"-._~:/@*()!$&'?|".contains(&byte) || (byte == b' ' && !is_edge);
        if is_plain {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:02X}");
        }
    }
}

/// A value in DER, in hex. The length is written anew, in its only form.
fn push_der(text: &mut String, value: &Any<'_>) {
    let length = value.data.len();
    let mut head = vec![u8::try_from(value.tag().0 & 0x1f).unwrap_or(0x1f) | class_bits(value)];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => head.push(short),
        Ok(_) | Err(_) => {
            let bytes = length.to_be_bytes();
            let used: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            head.push(0x80 | u8::try_from(used.len()).unwrap_or(8));
            head.extend(used);
        }
    }
    push_hex(text, &head);
    push_hex(text, value.data);
}

fn class_bits(value: &Any<'_>) -> u8 {
    let header = &value.header;
    (u8::from(header.constructed()) << 5) | ((header.class() as u8) << 6)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
