//! What does not fit, told without telling what was sent: a pointer, a keyword, and the contract's own words.

use std::fmt::Write;

use jsonschema::error::{TypeKind, ValidationErrorKind};
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

    /// A pointer one step deeper, or this one when that would be too long.
    pub(super) fn below(&self, step: &str) -> Self {
        let mut below = self.clone();
        below.push(step);
        below
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

/// What the contract asks for: built from the schema alone, never from the instance.
pub(super) fn expected(kind: &ValidationErrorKind) -> String {
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
    use super::*;

    #[test]
    fn a_long_pointer_is_cut_at_a_step_and_names_are_escaped() {
        let mut pointer = Pointer::of("a/~b");

        assert!(pointer.push("") && pointer.push("007"));
        assert!(!pointer.push(&"x".repeat(1_000)));
        assert_eq!(pointer.0, "/a~1~0b//007");
    }

    #[test]
    fn the_contract_s_own_words_are_cut_between_characters() {
        let told = violation(BODY, Pointer::default(), "enum", "\u{e9}".repeat(1_000));

        assert!(told.expected.len() <= MAX_EXPECTED + 4 && told.expected.ends_with(" ..."));
    }
}
