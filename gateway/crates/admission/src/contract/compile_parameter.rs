//! A Parameter Object becomes a [`Parameter`]: style and shape decide how its text is read.

use http::HeaderName;

use super::compile::Compiler;
use super::document::Place;
use super::parameter::{Parameter, Reading, Source};
use super::shape::{Flat, Shape};

/// A problem was found, and told.
pub(super) struct Refused;

/// How a parameter's style writes lists and objects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    Simple,
    Form,
    DeepObject,
}

impl<'d> Compiler<'d> {
    /// Compiles a parameter; `None` for those that OpenAPI says to ignore.
    pub(super) fn parameter(&mut self, place: &Place<'d>) -> Result<Option<Parameter>, Refused> {
        self.document.refuse_unknown_fields(
            place,
            &[
                "name",
                "in",
                "description",
                "required",
                "deprecated",
                "allowEmptyValue",
                "style",
                "explode",
                "allowReserved",
                "schema",
                "example",
                "examples",
                "content",
            ],
        );
        let name = place.text("name").unwrap_or_default().to_owned();
        let Some(source) = self.source(place, &name)? else {
            return Ok(None);
        };
        let is_required = place.is_set("required");
        if source == Source::Path && !is_required {
            self.refuse(place, "a path parameter must be required")?;
        }
        for word in ["content", "allowReserved"] {
            if let Some(field) = place
                .get(word)
                .filter(|field| *field.value != serde_json::Value::Bool(false))
            {
                self.refuse(&field, &format!("\"{word}\" is not supported yet"))?;
            }
        }
        let Some(written) = place.get("schema") else {
            return self.refuse(place, "a parameter needs a schema").map(|()| None);
        };
        let style = self.style(place, &source)?;
        let does_explode = place
            .get("explode")
            .map_or(style == Style::Form, |explode| explode.value == true);
        let shape = Shape::of(&mut self.document, &written).ok_or(Refused)?;
        let reading = match reading(&source, style, does_explode, shape) {
            Ok(reading) => reading,
            Err(message) => return self.refuse(place, message).map(|()| None),
        };
        let schema = self
            .schemas
            .compile(&mut self.document, &written)
            .ok_or(Refused)?;
        let allows_empty = source == Source::Query && place.is_set("allowEmptyValue");
        Ok(Some(Parameter {
            name,
            source,
            is_required,
            allows_empty,
            reading,
            schema,
        }))
    }

    fn refuse(&mut self, place: &Place<'_>, message: &str) -> Result<(), Refused> {
        self.document.error("contract-parameter", place, message);
        Err(Refused)
    }

    fn source(&mut self, place: &Place<'d>, name: &str) -> Result<Option<Source>, Refused> {
        if name.is_empty() {
            self.refuse(place, "a parameter needs a name")?;
        }
        match place.text("in").unwrap_or_default() {
            "path" => Ok(Some(Source::Path)),
            "query" => Ok(Some(Source::Query)),
            "cookie" => Ok(Some(Source::Cookie)),
            "header" => match HeaderName::try_from(name) {
                Err(_) => self
                    .refuse(place, "not the name of a header field")
                    .map(|()| None),
                Ok(header) if matches!(header.as_str(), "accept" | "content-type" | "authorization") => {
                    let message = format!("OpenAPI ignores a header parameter \"{name}\"");
                    self.document.warn("contract-parameter", place, message);
                    Ok(None)
                }
                Ok(header) => Ok(Some(Source::Header(header))),
            },
            _ => self
                .refuse(place, "a parameter is in path, query, header or cookie")
                .map(|()| None),
        }
    }

    fn style(&mut self, place: &Place<'d>, source: &Source) -> Result<Style, Refused> {
        let default = match source {
            Source::Path | Source::Header(_) => "simple",
            Source::Query | Source::Cookie => "form",
        };
        let style = place.text("style").unwrap_or(default);
        match (source, style) {
            (Source::Path | Source::Header(_), "simple") => Ok(Style::Simple),
            (Source::Query | Source::Cookie, "form") => Ok(Style::Form),
            (Source::Query, "deepObject") => Ok(Style::DeepObject),
            _ => {
                let location = source.location();
                self.refuse(
                    place,
                    &format!("style \"{style}\" in {location} is not supported yet"),
                )?;
                Err(Refused)
            }
        }
    }
}

fn reading(source: &Source, style: Style, does_explode: bool, shape: Shape) -> Result<Reading, &'static str> {
    let fields = match shape {
        Shape::Flat(Flat::One(kinds)) if style != Style::DeepObject => return Ok(Reading::One(kinds)),
        Shape::Flat(Flat::List(kinds)) if style != Style::DeepObject => {
            return match (style, does_explode, source) {
                (Style::Form, true, Source::Query) => Ok(Reading::Repeated(kinds)),
                (Style::Form, true, _) => Err("a list in a cookie needs `explode: false`"),
                (Style::Simple | Style::Form | Style::DeepObject, _, _) => Ok(Reading::Commas(kinds)),
            };
        }
        Shape::Flat(_) => return Err("style \"deepObject\" is for objects"),
        Shape::Object(fields) => fields,
    };
    if fields.has_lists() {
        return Err("a list within an object cannot be read from a parameter");
    }
    match (style, does_explode, source) {
        (Style::DeepObject, _, _) => Ok(Reading::Deep(fields)),
        (Style::Simple, true, _) => Ok(Reading::EqualsPairs(fields)),
        (Style::Simple, false, _) | (Style::Form, false, _) => Ok(Reading::CommaPairs(fields)),
        (Style::Form, true, Source::Query) if fields.is_bounded => {
            Err("what this schema says about further members cannot be told from other query parameters")
        }
        (Style::Form, true, Source::Query) => Ok(Reading::Spread(fields)),
        (Style::Form, true, _) => Err("an object in a cookie needs `explode: false`"),
    }
}
