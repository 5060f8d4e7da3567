//! Strict JSON: one value, no duplicate names, bounded depth and count.
//!
//! Two parsers may disagree about a duplicate name, and then policy and endpoint see different requests. Depth and
//! count are bounded while parsing, so that a small body cannot become a large tree or a deep recursion.

use std::fmt;

use portcullis_model::{Reason, Rejection};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::violation::{BODY, Pointer, violation};

/// Arrays and objects within one another; far below what the stack of a worker bears.
pub const MAX_DEPTH: usize = 64;

/// Values of one body, each of which costs some 70 bytes of memory while it is checked.
pub const MAX_VALUES: usize = 100_000;

/// Parses one strict JSON value.
///
/// # Errors
/// Refuses what is not one well-formed value in UTF-8, duplicate names, and what is too deep or has too many values.
pub fn parse_strict(body: &[u8]) -> Result<Value, Rejection> {
    let mut progress = Progress::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = Strict {
        depth: 0,
        progress: &mut progress,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let Some(fault) = progress.fault else {
            // The parser's own words may quote the body; line and column do not.
            let place = format!("line {} column {}", error.line(), error.column());
            return Rejection::new(Reason::BodyMalformed).with_private(place);
        };
        let pointer = Pointer::from_inside_out(&progress.trail);
        match fault {
            Fault::Duplicate => Rejection::new(Reason::BodyDuplicateKey).with_violations(vec![violation(
                BODY,
                pointer,
                "uniqueNames",
                "every name at most once",
            )]),
            Fault::Depth => Rejection::new(Reason::BodyTooDeep).with_violations(vec![violation(
                BODY,
                pointer,
                "maxDepth",
                format!("at most {MAX_DEPTH} levels"),
            )]),
            Fault::Count => Rejection::new(Reason::BodyTooLarge).with_violations(vec![violation(
                BODY,
                Pointer::default(),
                "maxValues",
                format!("at most {MAX_VALUES} values"),
            )]),
        }
    })
}

/// A step of the way to where parsing stopped.
#[derive(Debug)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Duplicate,
    Depth,
    Count,
}

#[derive(Debug, Default)]
struct Progress {
    values: usize,
    fault: Option<Fault>,
    /// From the innermost step outwards; only written while an error travels up.
    trail: Vec<Step>,
}

struct Strict<'p> {
    depth: usize,
    progress: &'p mut Progress,
}

impl Strict<'_> {
    fn refuse<T, E: Error>(self, fault: Fault) -> Result<T, E> {
        self.progress.fault = Some(fault);
        Err(E::custom("refused"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.progress.values += 1;
        if self.progress.values > MAX_VALUES {
            return self.refuse(Fault::Count);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        if self.depth == MAX_DEPTH {
            return self.refuse(Fault::Depth);
        }
        let mut array = Vec::new();
        loop {
            match items.next_element_seed(Strict {
                depth: self.depth + 1,
                progress: &mut *self.progress,
            }) {
                Ok(Some(item)) => array.push(item),
                Ok(None) => return Ok(Value::Array(array)),
                Err(error) => {
                    self.progress.trail.push(Step::Index(array.len()));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        if self.depth == MAX_DEPTH {
            return self.refuse(Fault::Depth);
        }
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.progress.trail.push(Step::Name(name));
                return self.refuse(Fault::Duplicate);
            }
            match members.next_value_seed(Strict {
                depth: self.depth + 1,
                progress: &mut *self.progress,
            }) {
                Ok(member) => {
                    object.insert(name, member);
                }
                Err(error) => {
                    self.progress.trail.push(Step::Name(name));
                    return Err(error);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: &[u8]) -> (Reason, Option<String>) {
        let rejection = parse_strict(body).unwrap_err();
        let pointer = rejection
            .detail
            .and_then(|detail| detail.violations.into_iter().next())
            .map(|one| one.pointer);
        (rejection.reason, pointer)
    }

    #[test]
    fn every_kind_of_value_is_read_as_it_stands() {
        let body = br#"{"a": [1, -2, 1.5, 18446744073709551615, true, null, "\u00e9\n"], "b": {}}"#;

        assert_eq!(
            parse_strict(body).unwrap(),
            json!({"a": [1, -2, 1.5, 18_446_744_073_709_551_615_u64, true, null, "\u{e9}\n"], "b": {}})
        );
    }

    #[test]
    fn a_duplicate_name_is_refused_with_its_pointer_and_the_same_name_elsewhere_is_not() {
        assert!(parse_strict(br#"{"a": {"a": 1}, "b": {"a": 2}}"#).is_ok());
        assert_eq!(
            refused(br#"{"x": [{"a/b": 1, "c": 2, "a/b": 3}]}"#),
            (Reason::BodyDuplicateKey, Some("/x/0/a~1b".to_owned()))
        );
        assert_eq!(refused(br#"{"a": 1, "\u0061": 2}"#).0, Reason::BodyDuplicateKey);
    }

    #[test]
    fn the_deepest_allowed_body_is_read_and_one_level_more_is_refused() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));

        assert!(parse_strict(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(refused(&nested(MAX_DEPTH + 1)).0, Reason::BodyTooDeep);
        assert!(parse_strict(objects(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(refused(objects(MAX_DEPTH + 1).as_bytes()).0, Reason::BodyTooDeep);
    }

    #[test]
    fn a_hundred_thousand_open_brackets_are_refused_without_recursion() {
        assert_eq!(refused(&vec![b'['; 100_000]).0, Reason::BodyTooDeep);
    }

    #[test]
    fn too_many_values_are_refused() {
        let array = |count: usize| format!("[{}0]", "0,".repeat(count - 2));

        assert!(parse_strict(array(MAX_VALUES).as_bytes()).is_ok());
        assert_eq!(refused(array(MAX_VALUES + 1).as_bytes()).0, Reason::BodyTooLarge);
    }

    #[test]
    fn what_is_not_one_value_in_utf8_is_malformed() {
        let bad: [&[u8]; 16] = [
            b"",
            b" ",
            b"{",
            b"{}{}",
            b"{} x",
            b"{'a': 1}",
            b"[1,]",
            b"{\"a\":1,}",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            br#""\ud800""#,
            b"01",
            b"NaN",
            b"1e999",
            b"\"a\nb\"",
            b"// x\n1",
        ];
        for body in bad {
            assert_eq!(refused(body), (Reason::BodyMalformed, None), "{body:?}");
        }
        assert!(parse_strict(b" 1\n").is_ok());
    }

    #[test]
    fn nothing_of_the_body_is_quoted() {
        let rejection = parse_strict(br#"{"secret": tru}"#).unwrap_err();

        assert_eq!(
            rejection.detail.unwrap().private.as_deref(),
            Some("line 1 column 15")
        );
    }
}
