//! The words that the two OpenAPI dialects use in schemas, and what becomes of each.

use super::document::Dialect;

/// What becomes of a schema keyword.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keyword {
    /// A value that the validator reads as it stands.
    Assertion,
    /// A schema about the same value.
    InPlace,
    /// A list of schemas about the same value.
    InPlaceList,
    /// A map of schemas about the same value.
    InPlaceMap,
    /// A schema about a part of the value.
    Child,
    /// A list of schemas about parts of the value.
    ChildList,
    /// A map of schemas about parts of the value.
    ChildMap,
    /// A map whose names are patterns.
    PatternMap,
    /// `pattern`.
    Pattern,
    /// `format`.
    Format,
    /// `$ref`.
    Reference,
    /// `discriminator`.
    Discriminator,
    /// `exclusiveMinimum` or `exclusiveMaximum` as a boolean (3.0).
    ExclusiveFlag,
    /// `nullable` (3.0).
    Nullable,
    /// Says nothing about which values fit.
    Annotation,
    /// An annotation that reads like an assertion.
    Misleading,
    /// A place where schemas wait to be referred to.
    Container,
    /// Known, and not enforced here.
    Unsupported,
    /// Not a word of the dialect.
    Unknown,
}

impl Keyword {
    /// What a dialect makes of a word.
    pub(super) fn of(dialect: Dialect, word: &str) -> Self {
        match dialect {
            Dialect::OpenApi30 => Self::of_30(word),
            Dialect::OpenApi31 => Self::of_31(word),
        }
    }

    /// OpenAPI 3.0.4, Schema Object: a fixed list of words, some with meanings of their own.
    fn of_30(word: &str) -> Self {
        match word {
            "exclusiveMinimum" | "exclusiveMaximum" => Self::ExclusiveFlag,
            "nullable" => Self::Nullable,
            "multipleOf"
            | "maximum"
            | "minimum"
            | "maxLength"
            | "minLength"
            | "pattern"
            | "maxItems"
            | "minItems"
            | "uniqueItems"
            | "maxProperties"
            | "minProperties"
            | "required"
            | "enum"
            | "type"
            | "allOf"
            | "oneOf"
            | "anyOf"
            | "not"
            | "items"
            | "properties"
            | "additionalProperties"
            | "format"
            | "$ref"
            | "title"
            | "description"
            | "default"
            | "discriminator"
            | "readOnly"
            | "writeOnly"
            | "xml"
            | "externalDocs"
            | "example"
            | "deprecated" => Self::of_31(word),
            _ if word.starts_with("x-") => Self::Annotation,
            _ => Self::Unknown,
        }
    }

    /// OpenAPI 3.1, Schema Object: JSON Schema 2020-12 and a few words more.
    fn of_31(word: &str) -> Self {
        match word {
            "type" | "enum" | "const" | "multipleOf" | "maximum" | "exclusiveMaximum" | "minimum"
            | "exclusiveMinimum" | "maxLength" | "minLength" | "maxItems" | "minItems" | "uniqueItems"
            | "maxContains" | "minContains" | "maxProperties" | "minProperties" | "required"
            | "dependentRequired" => Self::Assertion,
            "not" | "if" | "then" | "else" => Self::InPlace,
            "allOf" | "anyOf" | "oneOf" => Self::InPlaceList,
            "dependentSchemas" => Self::InPlaceMap,
            "items"
            | "contains"
            | "additionalProperties"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties" => Self::Child,
            "prefixItems" => Self::ChildList,
            "properties" => Self::ChildMap,
            "patternProperties" => Self::PatternMap,
            "pattern" => Self::Pattern,
            "format" => Self::Format,
            "$ref" => Self::Reference,
            "discriminator" => Self::Discriminator,
            "title" | "description" | "default" | "examples" | "example" | "deprecated" | "readOnly"
            | "writeOnly" | "$comment" | "externalDocs" | "xml" => Self::Annotation,
            "contentMediaType" | "contentEncoding" | "contentSchema" => Self::Misleading,
            "$defs" | "definitions" => Self::Container,
            "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$schema" | "$vocabulary" => {
                Self::Unsupported
            }
            _ if word.starts_with("x-") => Self::Annotation,
            _ => Self::Unknown,
        }
    }
}

/// What becomes of a `format`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Format {
    /// The validator checks it.
    Checked,
    /// Bounds of a number.
    Bounds(Bound, Bound),
    /// Every value of the type fits, or it is a hint for user interfaces.
    Annotation,
    /// Says something about bytes that JSON does not carry.
    Misleading,
    /// Nobody checks it.
    Unknown,
}

/// A bound as exact as the format says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    Integer(i64),
    Float(f64),
}

impl Format {
    /// What a format of this name asks for; `is_built_in` says what the validator knows.
    pub(super) fn of(name: &str, is_built_in: impl Fn(&str) -> bool) -> Self {
        match name {
            "int32" => Self::Bounds(
                Bound::Integer(i64::from(i32::MIN)),
                Bound::Integer(i64::from(i32::MAX)),
            ),
            "int64" => Self::Bounds(Bound::Integer(i64::MIN), Bound::Integer(i64::MAX)),
            "float" => Self::Bounds(
                Bound::Float(f64::from(f32::MIN)),
                Bound::Float(f64::from(f32::MAX)),
            ),
            "double" | "password" => Self::Annotation,
            "binary" => Self::Misleading,
            _ if is_built_in(name) => Self::Checked,
            _ => Self::Unknown,
        }
    }
}
