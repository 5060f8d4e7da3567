//! What does not fit, told without telling what was sent: a pointer, a keyword, and the contract's own words.

use std::fmt::Write;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use portcullis_model::Violation;
use serde_json::Value;

use super::json::Step;

/// Violations told at once; more help nobody.
pub const MAX_VIOLATIONS: usize = 32;

pub(super) const BODY: &str = "body";

/// A pointer contains names that the client sent; a longer one is cut at a step, so that it still points at
/// something, only less deep.
const MAX_POINTER: usize = 256;

/// The contract's own words are cut here: an enumeration may have a thousand values.
const MAX_EXPECTED: usize = 256;

/// In a larger value only the first violation is looked for: the validator finds all of them at once, and a hostile
/// body would have a hundred thousand.
const MAX_VALUES_SEARCHED: usize = 2_000;

pub(super) fn violation(
    location: &'static str,
    pointer: Pointer,
    keyword: &str,
    expected: impl Into<String>,
) -> Violation {
    Violation {
        location,
        pointer: pointer.0,
        keyword: keyword.to_owned(),
        expected: cut(expected.into()),
    }
}

/// A JSON Pointer (RFC 6901) of bounded length.
#[derive(Clone, Debug, Default)]
pub(super) struct Pointer(String);

impl Pointer {
    /// Points at a parameter by its name.
    pub(super) fn of(name: &str) -> Self {
        let mut pointer = Self::default();
        pointer.push(name);
        pointer
    }

    pub(super) fn from_inside_out(trail: &[Step]) -> Self {
        let mut pointer = Self::default();
        for step in trail.iter().rev() {
            let fits = match step {
                Step::Name(name) => pointer.push(name),
                Step::Index(index) => pointer.push(&index.to_string()),
            };
            if !fits {
                break;
            }
        }
        pointer
    }

    /// Goes one step deeper; false, and nothing is added, when that would be too long.
    pub(super) fn push(&mut self, step: &str) -> bool {
        // Checked before a long name is copied; escaping only makes it longer.
        step.len() < MAX_POINTER && self.push_escaped(&escape(step))
    }

    fn push_escaped(&mut self, step: &str) -> bool {
        if self.0.len() + step.len() >= MAX_POINTER {
            return false;
        }
        self.0.push('/');
        self.0.push_str(step);
        true
    }
}

/// A name as a step of a JSON Pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Checks a value; `Err` has at least one violation.
pub(super) fn check(
    validator: &Validator,
    value: &Value,
    location: &'static str,
    base: &Pointer,
) -> Result<(), Vec<Violation>> {
    if validator.is_valid(value) {
        return Ok(());
    }
    let told = |error: &ValidationError<'_>| {
        let mut pointer = base.clone();
        // Taken as text: the library's own segments lose empty names and read "007" as a number.
        for step in error.instance_path().as_str().split('/').skip(1) {
            if !pointer.push_escaped(step) {
                break;
            }
        }
        violation(location, pointer, error.kind().keyword(), expected(error.kind()))
    };
    let violations: Vec<_> = if count(value, MAX_VALUES_SEARCHED) < MAX_VALUES_SEARCHED {
        validator
            .iter_errors(value)
            .take(MAX_VIOLATIONS)
            .map(|error| told(&error))
            .collect()
    } else {
        validator.validate(value).err().iter().map(told).collect()
    };
    if violations.is_empty() {
        // Not valid and no error cannot both be; if they ever are, refuse.
        return Err(vec![violation(
            location,
            base.clone(),
            "schema",
            "a value that fits the schema",
        )]);
    }
    Err(violations)
}

/// The values of a tree, counted no further than `most`.
fn count(value: &Value, most: usize) -> usize {
    let mut open = vec![value];
    let mut seen = 0;
    while let Some(value) = open.pop() {
        seen += 1;
        if seen + open.len() >= most {
            return most;
        }
        match value {
            Value::Array(items) => open.extend(items.iter().take(most)),
            Value::Object(members) => open.extend(members.values().take(most)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    seen
}

/// What the contract asks for: built from the schema alone, never from the instance.
fn expected(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AdditionalItems { limit } => format!("no items after the first {limit}"),
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => {
            "no additional properties".to_owned()
        }
        Kind::UnevaluatedItems { .. } => "no additional items".to_owned(),
        Kind::AnyOf { .. } => "a value that fits at least one of the alternatives".to_owned(),
        Kind::OneOfMultipleValid { .. } => "a value that fits only one of the alternatives".to_owned(),
        Kind::OneOfNotValid { .. } => "a value that fits one of the alternatives".to_owned(),
        Kind::Constant { expected_value } => expected_value.to_string(),
        Kind::Enum { options } => one_of(options),
        Kind::Contains => "the items that the array must contain".to_owned(),
        Kind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::MaxItems { limit } => format!("at most {limit} items"),
        Kind::MinItems { limit } => format!("at least {limit} items"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxProperties { limit } => format!("at most {limit} properties"),
        Kind::MinProperties { limit } => format!("at least {limit} properties"),
        Kind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        Kind::FalseSchema => "no value here".to_owned(),
        Kind::Format { format } => format!("format {format}"),
        Kind::Not { .. } => "a value that does not fit the excluded schema".to_owned(),
        Kind::Pattern { pattern } => format!("pattern {pattern}"),
        Kind::PropertyNames { .. } => "allowed property names".to_owned(),
        Kind::Required { property } => format!("property {property}"),
        Kind::Type { kind } => type_name(kind),
        Kind::UniqueItems => "items that all differ".to_owned(),
        Kind::BacktrackLimitExceeded { .. }
        | Kind::RegexEngineFailure { .. }
        | Kind::ContentEncoding { .. }
        | Kind::ContentMediaType { .. }
        | Kind::Custom { .. }
        | Kind::FromUtf8 { .. }
        | Kind::Referencing(_) => "a value that fits the schema".to_owned(),
    }
}

fn type_name(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => format!("type {one}"),
        TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|one| one.to_string()).collect();
            format!("type {}", names.join(" or "))
        }
    }
}

fn one_of(options: &Value) -> String {
    let mut text = String::from("one of ");
    for (index, option) in options.as_array().into_iter().flatten().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{option}");
        if text.len() > MAX_EXPECTED {
            break;
        }
    }
    text
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_EXPECTED {
        let end = (0..=MAX_EXPECTED)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: &Value, value: &Value) -> Vec<(String, String, String)> {
        let validator = jsonschema::options().build(schema).unwrap();
        check(&validator, value, BODY, &Pointer::default())
            .unwrap_err()
            .into_iter()
            .map(|one| (one.pointer, one.keyword, one.expected))
            .collect()
    }

    #[test]
    fn the_contract_speaks_and_the_submitted_value_does_not() {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "additionalProperties": false,
            "properties": {
                "name": {"type": "string", "maxLength": 3},
                "kind": {"enum": ["a", "b"]},
                "at": {"pattern": "^x$"},
            },
        });
        let sent = json!({"name": "hunter2", "kind": "hunter2", "at": "hunter2", "hunter3": "hunter2"});

        let told = told(&schema, &sent);

        let row = |pointer: &str, keyword: &str, expected: &str| {
            (pointer.to_owned(), keyword.to_owned(), expected.to_owned())
        };
        assert!(
            told.contains(&row("/name", "maxLength", "at most 3 characters")),
            "{told:?}"
        );
        assert!(told.contains(&row("/kind", "enum", "one of \"a\", \"b\"")));
        assert!(told.contains(&row("/at", "pattern", "pattern ^x$")));
        assert!(told.contains(&row("", "additionalProperties", "no additional properties")));
        assert!(!format!("{told:?}").contains("hunter"));
    }

    #[test]
    fn types_are_named() {
        assert_eq!(told(&json!({"type": "string"}), &json!(1))[0].2, "type string");
        assert_eq!(
            told(&json!({"type": ["string", "null"]}), &json!(1))[0].2,
            "type null or string"
        );
    }

    #[test]
    fn at_most_32_violations_are_told_and_one_of_a_very_large_value() {
        let schema = json!({"items": {"type": "string"}});

        assert_eq!(told(&schema, &json!(vec![1; 1_000])).len(), MAX_VIOLATIONS);
        assert_eq!(told(&schema, &json!(vec![1; 50_000])).len(), 1);
    }

    #[test]
    fn a_long_pointer_is_cut_at_a_step_and_names_are_escaped() {
        let schema = json!({"additionalProperties": {"additionalProperties": {"type": "string"}}});
        let long = "x".repeat(1_000);

        assert_eq!(told(&schema, &json!({"a/~b": {"c": 1}}))[0].0, "/a~1~0b/c");
        assert_eq!(told(&schema, &json!({"a": {long: 1}}))[0].0, "/a");
        assert_eq!(told(&schema, &json!({"": {"007": 1}}))[0].0, "//007");
    }

    #[test]
    fn a_long_enumeration_is_cut() {
        let options: Vec<_> = (0..1_000).map(|number| format!("option{number}")).collect();

        assert!(told(&json!({"enum": options}), &json!(1))[0].2.len() <= MAX_EXPECTED + 4);
    }
}
