//! A client certificate as endpoints are told of it: one element of `x-forwarded-client-cert`.
//!
//! The grammar is Envoy's: `key=value` pairs with semicolons between them, a value in double quotes where it may
//! hold `,`, `;` or `=`. The subject is whatever a certificate authority was made to sign, so it is written with
//! nothing in it that any reader could take for an end: no quote, no backslash before a quote, no separator.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::der_parser::oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::peer::PeerIdentity;

/// Everything of the element that is the same for every request of a connection: `Hash`, `Subject`, and `URI` when
/// the certificate names a workload.
pub(super) fn element(peer: &PeerIdentity) -> String {
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
