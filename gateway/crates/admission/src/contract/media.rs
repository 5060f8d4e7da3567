//! Media types, as far as a contract needs them.

use std::fmt;

/// A parsed `Content-Type`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MediaType {
    /// `type/subtype`, in lower case.
    pub(super) essence: String,
    /// The `charset` parameter, in lower case.
    pub(super) charset: Option<String>,
}

impl MediaType {
    /// Parses a field value; `None` when it is not one media type with well-formed parameters.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (essence, mut rest) = text
            .split_once(';')
            .map_or((text, ""), |(essence, rest)| (essence, rest));
        let essence = essence.trim_matches([' ', '\t']);
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut charset = None;
        while !rest.trim_matches([' ', '\t']).is_empty() {
            let (name, value, after) = parameter(rest)?;
            if name.eq_ignore_ascii_case("charset") && charset.replace(value.to_ascii_lowercase()).is_some() {
                return None;
            }
            rest = after;
        }
        Some(Self {
            essence: essence.to_ascii_lowercase(),
            charset,
        })
    }

    /// JSON is UTF-8 (RFC 8259 section 8.1); a parameter may say so and nothing else.
    pub(super) fn is_utf8(&self) -> bool {
        self.charset
            .as_deref()
            .is_none_or(|charset| matches!(charset, "utf-8" | "utf8"))
    }
}

/// True for `application/json` and every `+json` type, in lower case.
pub(super) fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence.ends_with("+json")
}

/// The media types that an entry of `content` names: one, all of a type, or all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MediaRange {
    kind: Option<String>,
    subtype: Option<String>,
}

impl MediaRange {
    /// Parses a key of `content`; its parameters do not narrow it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.trim().split(';').next()?.trim_end() == "*/*" {
            return Some(Self {
                kind: None,
                subtype: None,
            });
        }
        let media = MediaType::parse(text)?;
        let (kind, subtype) = media.essence.split_once('/')?;
        let subtype = (subtype != "*").then(|| subtype.to_owned());
        (kind != "*").then(|| Self {
            kind: Some(kind.to_owned()),
            subtype,
        })
    }

    /// The one media type that it names.
    pub(super) fn essence(&self) -> Option<String> {
        Some(format!("{}/{}", self.kind.as_ref()?, self.subtype.as_ref()?))
    }

    pub(super) fn includes(&self, media: &MediaType) -> bool {
        let (kind, subtype) = media.essence.split_once('/').unwrap_or_default();
        self.kind.as_deref().is_none_or(|own| own == kind)
            && self.subtype.as_deref().is_none_or(|own| own == subtype)
    }

    /// Two for one media type, one for all of a type, none for all: the most specific entry decides.
    pub(super) fn precision(&self) -> usize {
        usize::from(self.kind.is_some()) + usize::from(self.subtype.is_some())
    }
}

/// As a document writes it.
impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        write!(f, "{}/{}", part(&self.kind), part(&self.subtype))
    }
}

/// Reads `name=value` or `name="value"`; gives what follows the next semicolon.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ';']);
    if text.is_empty() {
        return Some(("", String::new(), ""));
    }
    let (name, value) = text.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, rest) = value.split_once(';').unwrap_or((value, ""));
        let value = value.trim_end_matches([' ', '\t']);
        return is_token(value).then(|| (name, value.to_owned(), rest));
    };
    let mut unquoted = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => unquoted.push(characters.next()?.1),
            '"' => {
                let rest = quoted.get(at + 1..)?.trim_start_matches([' ', '\t']);
                let rest = if rest.is_empty() {
                    rest
                } else {
                    rest.strip_prefix(';')?
                };
                return Some((name, unquoted, rest));
            }
            _ => unquoted.push(character),
        }
    }
    None
}

/// A token (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_do_not_change_what_a_media_type_is() {
        let media = MediaType::parse("Application/JSON ; charset=\"UTF-8\"; x=y").unwrap();

        assert_eq!(media.essence, "application/json");
        assert!(is_json(&media.essence) && media.is_utf8());
        assert!(is_json("application/merge-patch+json"));
        assert!(
            !MediaType::parse("application/json; charset=utf-16")
                .unwrap()
                .is_utf8()
        );
        assert!(!is_json("application/jsonx"));
    }

    #[test]
    fn what_is_not_one_media_type_is_refused() {
        for text in [
            "",
            "json",
            "/json",
            "application/",
            "application/json, text/plain",
            "application/json;charset",
            "application/json;charset=\"utf-8",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; a=\"b\"c",
            "app lication/json",
        ] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
        assert!(MediaType::parse("text/plain;").is_some());
    }

    #[test]
    fn ranges_include_what_they_name_and_the_precise_one_is_told_apart() {
        let json = MediaType::parse("application/json").unwrap();
        let range = |text| MediaRange::parse(text).unwrap();

        assert!(range("*/*").includes(&json) && range("application/*").includes(&json));
        assert!(range("application/json; charset=utf-8").includes(&json));
        assert!(!range("text/*").includes(&json) && !range("application/xml").includes(&json));
        assert!(range("*/*").precision() < range("application/*").precision());
        assert!(range("application/*").precision() < range("application/json").precision());
        assert_eq!(MediaRange::parse("*/json"), None);
    }
}
