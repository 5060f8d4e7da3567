//! Text becomes the JSON value that a schema means: `12` for an integer, `true` for a boolean.
//!
//! Only one spelling of each value is read: what two parsers could read differently stays text and then does not
//! fit the schema's type.

use serde_json::{Number, Value};

/// Which kinds of value a schema leaves room for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const STRING: Self = Self(1);
    pub(super) const INTEGER: Self = Self(2);
    /// Every integer is a number.
    pub(super) const NUMBER: Self = Self(2 | 4);
    pub(super) const BOOLEAN: Self = Self(8);
    pub(super) const NULL: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ANY: Self = Self(127);

    /// The kind that a schema's `type` names.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "string" => Self::STRING,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::NONE,
        }
    }

    /// The kind of a value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.is_f64() => Self::NUMBER,
            Value::Number(_) => Self::INTEGER,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Text of a parameter, in the order in which it is tried. The first is what a violation is told about.
    pub(super) fn read_all(self, text: &str) -> Vec<Value> {
        let typed = self.read_typed(text);
        match typed {
            Some(value) if self.has(Self::STRING) => vec![value, Value::String(text.to_owned())],
            Some(value) => vec![value],
            None => vec![Value::String(text.to_owned())],
        }
    }

    /// The one value that text stands for inside an array or an object.
    pub(super) fn read(self, text: &str) -> Value {
        self.read_typed(text)
            .unwrap_or_else(|| Value::String(text.to_owned()))
    }

    fn read_typed(self, text: &str) -> Option<Value> {
        let integer = || self.has(Self::INTEGER).then(|| integer(text)).flatten();
        let number = || self.has(Self::NUMBER).then(|| number(text)).flatten();
        let boolean = || match text {
            "true" if self.has(Self::BOOLEAN) => Some(Value::Bool(true)),
            "false" if self.has(Self::BOOLEAN) => Some(Value::Bool(false)),
            _ => None,
        };
        integer().or_else(number).or_else(boolean)
    }
}

/// JSON's own grammar of integers, within 64 bits.
fn integer(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !is_plain_integer(digits) || text == "-0" {
        return None;
    }
    text.parse::<i64>()
        .map(Value::from)
        .or_else(|_| text.parse::<u64>().map(Value::from))
        .ok()
}

/// JSON's own grammar of numbers, finite.
fn number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = is_plain_integer(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    if !is_number {
        return None;
    }
    text.parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
        .and_then(Number::from_f64)
        .map(Value::Number)
}

/// Digits without a leading zero.
fn is_plain_integer(digits: &str) -> bool {
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_plain_spelling_of_an_integer_is_read() {
        for text in ["0", "7", "-12", "9223372036854775807", "18446744073709551615"] {
            assert!(Kinds::INTEGER.read(text).is_number(), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "1.0",
            "1e3",
            " 1",
            "1 ",
            "0x1",
            "1_0",
            "١",
            "18446744073709551616",
        ] {
            assert_eq!(Kinds::INTEGER.read(text), json!(text));
        }
    }

    #[test]
    fn only_json_numbers_are_read_as_numbers() {
        assert_eq!(Kinds::NUMBER.read("1.5"), json!(1.5));
        assert_eq!(Kinds::NUMBER.read("-1e3"), json!(-1000.0));
        assert_eq!(Kinds::NUMBER.read("3"), json!(3));
        for text in [
            "", ".5", "1.", "1e", "NaN", "inf", "1e999", "0x1p3", "00.1", "1,5", "--1",
        ] {
            assert_eq!(Kinds::NUMBER.read(text), json!(text));
        }
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        assert_eq!(Kinds::BOOLEAN.read("true"), json!(true));
        for text in ["True", "1", "yes", "on", ""] {
            assert_eq!(Kinds::BOOLEAN.read(text), json!(text));
        }
    }

    #[test]
    fn text_stays_text_unless_the_schema_leaves_room_for_more() {
        assert_eq!(Kinds::STRING.read_all("12"), [json!("12")]);
        assert_eq!(
            Kinds::INTEGER.or(Kinds::STRING).read_all("12"),
            [json!(12), json!("12")]
        );
        assert_eq!(Kinds::INTEGER.read_all("x"), [json!("x")]);
    }

    proptest! {
        /// What is read as an integer prints as the very text that was read.
        #[test]
        fn an_integer_is_read_only_from_its_own_spelling(text in "-?[0-9]{0,21}|\\PC{0,8}") {
            if let Value::Number(number) = Kinds::INTEGER.read(&text) {
                prop_assert_eq!(number.to_string(), text);
            }
        }

        /// Every 64-bit integer survives being written and read.
        #[test]
        fn every_integer_is_read_back(number: i64) {
            prop_assert_eq!(Kinds::INTEGER.read(&number.to_string()), json!(number));
        }

        /// What is read as a number is what a JSON parser reads from the same text.
        #[test]
        fn a_number_is_what_json_reads(text in "-?[0-9]{1,5}(\\.[0-9]{0,5})?([eE][+-]?[0-9]{0,3})?|\\PC{0,8}") {
            if let Value::Number(number) = Kinds::NUMBER.read(&text) {
                let parsed: f64 = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(number.as_f64(), Some(parsed));
            }
        }
    }
}
