//! One canonical query, or a refusal.
//!
//! Only `&` separates pairs. A raw `;` is a separator to some endpoints and a letter to others, so it leaves as
//! `%3B`; hexadecimal digits leave in upper case. Everything else stays as the client wrote it.

use portcullis_model::path::hex;
use portcullis_model::{Query, Reason};

use super::path::push_encoded;

/// More pairs than any form needs; each one costs an allocation in every guard.
const MAX_PAIRS: usize = 1_024;

/// The canonical form of a raw query (without the `?`).
///
/// # Errors
/// Returns a reason for bytes that no query may hold, broken encodings, pairs that are not UTF-8, or too many pairs.
pub fn canonical_query(raw: &[u8]) -> Result<Query, Reason> {
    if raw.is_empty() {
        return Ok(Query::default());
    }
    let mut query = Query {
        text: String::with_capacity(raw.len()),
        pairs: Vec::new(),
    };
    for (index, pair) in raw.split(|byte| *byte == b'&').enumerate() {
        if index > 0 {
            query.text.push('&');
        }
        if pair.is_empty() {
            continue;
        }
        if query.pairs.len() == MAX_PAIRS {
            return Err(Reason::QueryEncoding);
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = component(halves.next().unwrap_or_default(), &mut query.text)?;
        let value = match halves.next() {
            Some(value) => {
                query.text.push('=');
                component(value, &mut query.text)?
            }
            None => String::new(),
        };
        query.pairs.push((name, value));
    }
    Ok(query)
}

/// Decodes a name or value and appends its canonical text.
fn component(raw: &[u8], text: &mut String) -> Result<String, Reason> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = bytes.next().and_then(hex).zip(bytes.next().and_then(hex));
                let (high, low) = digits.ok_or(Reason::QueryEncoding)?;
                let value = high * 16 + low;
                decoded.push(value);
                push_encoded(text, value);
            }
            b'+' => {
                decoded.push(b' ');
                text.push('+');
            }
            b';' => {
                decoded.push(b';');
                push_encoded(text, b';');
            }
            b'#' => return Err(Reason::PathFragment),
            0x21..=0x7e => {
                decoded.push(byte);
                text.push(char::from(byte));
            }
            _ => return Err(Reason::QueryEncoding),
        }
    }
    String::from_utf8(decoded).map_err(|_| Reason::QueryEncoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_every_repeated_one_is_kept() {
        let query = canonical_query(b"a=1&b=x+y&a=%32&c").unwrap();

        assert_eq!(query.text, "a=1&b=x+y&a=%32&c");
        assert_eq!(query.values("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.values("b").collect::<Vec<_>>(), ["x y"]);
        assert_eq!(query.values("c").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn a_semicolon_is_a_letter_for_everybody() {
        let query = canonical_query(b"a=1;b=2").unwrap();

        assert_eq!(query.text, "a=1%3Bb=2");
        assert_eq!(query.pairs, [("a".to_owned(), "1;b=2".to_owned())]);
    }

    #[test]
    fn broken_queries_are_refused() {
        assert_eq!(canonical_query(b"a=%2").unwrap_err(), Reason::QueryEncoding);
        assert_eq!(canonical_query(b"a=%ff").unwrap_err(), Reason::QueryEncoding);
        assert_eq!(canonical_query(b"a=\x01").unwrap_err(), Reason::QueryEncoding);
        assert_eq!(canonical_query(b"a=1#x").unwrap_err(), Reason::PathFragment);
        assert!(canonical_query("a=1&".repeat(2_000).as_bytes()).is_err());
    }
}
