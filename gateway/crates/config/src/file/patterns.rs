//! What a route matches on: hosts, paths and values, refused unless they are canonical, because the router only
//! ever sees canonical requests and a pattern that is not could never match.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use portcullis_model::path;
use portcullis_model::{Origin, Problems};
use portcullis_routing::plan::{HostPattern, PathPattern, SegmentPattern, ValuePattern};
use regex::RegexBuilder;
use serde_json::{Value, json};

use super::section::{Definitions, Flaw, Read, Scalar, section};
use super::tree::{Node, NodeKind};

/// A compiled expression may take this much; one that takes more is refused here rather than slow everywhere.
const MAX_REGEX_SIZE: usize = 256 * 1024;

section! {
    /// A regular expression.
    struct RegexKeys {
        /// The expression; it is anchored: the whole text must match.
        required regex: Expression,
    }
}

/// A regular expression that compiles.
#[derive(Debug)]
pub(crate) struct Expression(String);

impl Scalar for Expression {
    const EXPECTED: &'static str = "a regular expression";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        match RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(MAX_REGEX_SIZE)
            .build()
        {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(regex::Error::CompiledTooBig(_)) => Err(Flaw::new(
                "too-large",
                "the regular expression is too large once compiled",
            )),
            Err(error) => {
                let text = error.to_string();
                let last = text
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned();
                Err(Flaw::new(
                    "bad-value",
                    format!("not a regular expression: {last}"),
                ))
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "format": "regex" })
    }
}

/// `/a`, `/a/**`, `/a/*/b`, `/a/{id}` or `{ regex: … }`.
#[derive(Debug)]
pub(crate) struct PathText(pub(crate) PathPattern);

impl Read for PathText {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if let NodeKind::Mapping(_) = &node.kind {
            let keys = RegexKeys::read(node, origin, problems)?;
            return Some(Self(PathPattern::Regex(keys.regex.get()?.0.clone())));
        }
        let text = String::read(node, origin, problems)?;
        match parse_path(&text) {
            Ok(pattern) => Some(Self(pattern)),
            Err(flaw) => {
                problems.push(flaw.at(origin));
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "type": "string", "pattern": "^/" }, RegexKeys::schema(definitions)] })
    }
}

fn bad_path(text: &str, why: &str) -> Flaw {
    Flaw::new("bad-path", format!("the path pattern {text:?} {why}"))
}

fn parse_path(text: &str) -> Result<PathPattern, Flaw> {
    if !text.starts_with('/') {
        return Err(bad_path(text, "does not start with `/`").with_hint(format!("did you mean \"/{text}\"?")));
    }
    let (literal, prefix) = match text.strip_suffix("/**") {
        Some("") => ("/", true),
        Some(literal) if literal.ends_with('/') => {
            return Err(bad_path(text, "has an empty segment").with_hint("write one `/` between segments"));
        }
        Some(literal) => (literal, true),
        None => (text, false),
    };
    let mut names = BTreeSet::new();
    let all: Vec<&str> = path::segments(literal).collect();
    let mut segments = Vec::with_capacity(all.len());
    for (index, segment) in all.iter().enumerate() {
        let is_last = index + 1 == all.len();
        if segment.is_empty() && (prefix || !is_last) {
            return Err(bad_path(text, "has an empty segment").with_hint("write one `/` between segments"));
        }
        segments.push(parse_segment(text, segment, &mut names)?);
    }
    Ok(PathPattern::Segments { segments, prefix })
}

/// A path without wildcards, as it is.
pub(crate) fn canonical_path(text: &str) -> Result<String, Flaw> {
    let PathPattern::Segments { segments, prefix } = parse_path(text)? else {
        return Err(bad_path(text, "is not a path"));
    };
    if prefix
        || segments
            .iter()
            .any(|segment| matches!(segment, SegmentPattern::Any(_)))
    {
        return Err(bad_path(text, "has a wildcard where a plain path is wanted"));
    }
    Ok(text.to_owned())
}

fn parse_segment(text: &str, segment: &str, names: &mut BTreeSet<String>) -> Result<SegmentPattern, Flaw> {
    if segment == "*" {
        return Ok(SegmentPattern::Any(None));
    }
    if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let is_name = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !is_name {
            return Err(
                bad_path(text, "has a parameter without a proper name").with_hint("write one like `{id}`")
            );
        }
        if !names.insert(name.to_owned()) {
            return Err(bad_path(text, &format!("has the parameter {name:?} twice")));
        }
        return Ok(SegmentPattern::Any(Some(Arc::from(name))));
    }
    if segment == "**" {
        return Err(bad_path(text, "has `**` in the middle")
            .with_hint("`**` stands at the end only; use `*` for one segment, or `{ regex: … }`"));
    }
    if segment.contains(['*', '{', '}']) {
        return Err(
            bad_path(text, &format!("mixes a wildcard with text in {segment:?}"))
                .with_hint("a wildcard is a whole segment; use `{ regex: … }` for parts of one"),
        );
    }
    if matches!(segment, "." | "..") {
        return Err(
            bad_path(text, "has a `.` or `..` segment").with_hint("such a request is refused before routing")
        );
    }
    if let Some(found) = ['?', '#', ';', '\\'].into_iter().find(|c| segment.contains(*c)) {
        let hint = match found {
            '?' => "match the query with `query:`",
            _ => "such a request is refused before routing",
        };
        return Err(bad_path(text, &format!("contains `{found}`")).with_hint(hint));
    }
    let canonical = canonical_segment(segment)
        .ok_or_else(|| bad_path(text, &format!("has bad percent-encoding in {segment:?}")))?;
    if canonical.contains("%2F") || canonical.contains("%5C") || canonical.contains("%3B") {
        return Err(bad_path(text, "contains an encoded `/`, `\\` or `;`")
            .with_hint("such a request is refused before routing"));
    }
    if canonical != segment {
        return Err(bad_path(text, "is not canonical, so no request could match it")
            .with_hint(format!("write {canonical:?} instead of {segment:?}")));
    }
    Ok(SegmentPattern::Literal(canonical))
}

/// The segment with exactly the bytes encoded that must be (see [`portcullis_model::path`]).
fn canonical_segment(segment: &str) -> Option<String> {
    let mut canonical = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            path::hex(bytes.next()?)? * 16 + path::hex(bytes.next()?)?
        } else {
            byte
        };
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte) {
            canonical.push(char::from(byte));
        } else {
            write!(canonical, "%{byte:02X}").ok()?;
        }
    }
    std::str::from_utf8(path::decode(&canonical).as_bytes()).ok()?;
    Some(canonical)
}

/// A host, or `*.` before one.
#[derive(Debug)]
pub(crate) struct HostText(pub(crate) HostPattern);

impl Scalar for HostText {
    const EXPECTED: &'static str = "a host like \"api.example.com\" or \"*.example.com\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        if text == "*" {
            return Err(
                Flaw::new("bad-value", "`*` is not a host").with_hint("leave `host` out to match every host")
            );
        }
        match text.strip_prefix("*.") {
            Some(rest) => canonical_host(rest).map(|host| Self(HostPattern::Wildcard(host))),
            None => canonical_host(text).map(|host| Self(HostPattern::Exact(host))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// A host in its canonical form: lower case, punycode, no port, no trailing dot.
pub(crate) fn canonical_host(text: &str) -> Result<String, Flaw> {
    let bad = |why: &str| Flaw::new("bad-value", format!("{text:?} is not a host: {why}"));
    if text.contains('*') {
        return Err(
            bad("`*` stands for the leftmost labels only").with_hint("write one like \"*.example.com\"")
        );
    }
    if text.contains("://") || text.contains('/') {
        return Err(bad("it is a URL").with_hint("write the host alone"));
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    if !bare.starts_with('[') && bare.contains(':') {
        return Err(bad("it has a port").with_hint("hosts match on every port; write the host alone"));
    }
    match url::Host::parse(bare) {
        Ok(host) => Ok(host.to_string()),
        Err(error) => Err(bad(&error.to_string())),
    }
}

/// A value that must be there: a text, `*` for any, or `{ regex: … }`.
#[derive(Debug)]
pub(crate) struct ValueText(pub(crate) ValuePattern);

impl Read for ValueText {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if let NodeKind::Mapping(_) = &node.kind {
            let keys = RegexKeys::read(node, origin, problems)?;
            return Some(Self(ValuePattern::Regex(keys.regex.get()?.0.clone())));
        }
        let text = String::read(node, origin, problems)?;
        Some(Self(if text == "*" {
            ValuePattern::Present
        } else {
            ValuePattern::Exact(text)
        }))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, RegexKeys::schema(definitions)] })
    }
}

/// A dotted path of keys into the claims; a key with a dot in it stands in quotation marks.
#[derive(Clone, Debug)]
pub(crate) struct ClaimText(pub(crate) Vec<Arc<str>>);

impl Scalar for ClaimText {
    const EXPECTED: &'static str = "a claim like \"tenant_id\" or \"realm_access.roles\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        // A claim named by a URL, as in "https://example.com/tenant", is one key and not a path.
        if text.contains("://") && !text.contains('"') {
            return Ok(Self(vec![Arc::from(text)]));
        }
        claim_keys(text).map(Self).ok_or_else(|| {
            Flaw::new("bad-value", format!("{text:?} is not the path of a claim")).with_hint(format!(
                "expected {}; a key with a dot in it stands in quotation marks, as in {}",
                Self::EXPECTED,
                r#"'resource_access."my.client".roles'"#
            ))
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// The keys of a dotted path; `None` for an empty key, and for quotation marks that are not around a whole one.
fn claim_keys(text: &str) -> Option<Vec<Arc<str>>> {
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        let (key, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at_checked(rest.find(['.', '"']).unwrap_or(rest.len()))?,
        };
        if key.is_empty() {
            return None;
        }
        keys.push(Arc::from(key));
        if after.is_empty() {
            return Some(keys);
        }
        rest = after.strip_prefix('.')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_segments() {
        let any = |name: &str| SegmentPattern::Any(Some(name.into()));
        let literal = |text: &str| SegmentPattern::Literal(text.into());

        let pattern = parse_path("/a/{id}/b/**").unwrap();

        let segments = vec![literal("a"), any("id"), literal("b")];
        assert_eq!(
            pattern,
            PathPattern::Segments {
                segments,
                prefix: true
            }
        );
        assert_eq!(
            parse_path("/").unwrap(),
            PathPattern::Segments {
                segments: vec![],
                prefix: false
            }
        );
        assert_eq!(
            parse_path("/**").unwrap(),
            PathPattern::Segments {
                segments: vec![],
                prefix: true
            }
        );
        let slash = PathPattern::Segments {
            segments: vec![literal("a"), literal("")],
            prefix: false,
        };
        assert_eq!(parse_path("/a/").unwrap(), slash);
    }

    #[test]
    fn what_is_not_canonical_is_refused_with_what_is() {
        for (text, hint) in [
            ("/caf%c3%a9", "caf%C3%A9"),
            ("/a b", "a%20b"),
            ("/%61", "\"a\""),
            ("/é", "%C3%A9"),
        ] {
            let flaw = parse_path(text).unwrap_err();
            assert!(flaw.hint.as_ref().unwrap().contains(hint), "{text}: {flaw:?}");
        }
        assert!(parse_path("/caf%C3%A9").is_ok());
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for text in [
            "a", "", "/a//b", "/a/../b", "/a/./b", "/a%2Fb", "/a%5cb", "/a;b", "/a?b", "/a#b", "/%zz", "/%",
        ] {
            assert!(parse_path(text).is_err(), "{text:?} was accepted");
        }
        for text in ["/a*", "/**/b", "/{}", "/{a b}", "/{id}/{id}", "/x{id}", "//**"] {
            assert!(parse_path(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn hosts_become_canonical_and_ports_are_refused() {
        assert_eq!(canonical_host("API.Example.com.").unwrap(), "api.example.com");
        assert_eq!(
            canonical_host("münchen.example").unwrap(),
            "xn--mnchen-3ya.example"
        );
        assert!(canonical_host("api.example.com:443").is_err());
        assert!(canonical_host("https://api.example.com").is_err());
        assert!(canonical_host("a.*.example").is_err());
    }

    #[test]
    fn a_key_with_a_dot_stands_in_quotation_marks() {
        let keys = |text: &str| {
            let path = ClaimText::parse(text, true).unwrap().0;
            path.iter().map(ToString::to_string).collect::<Vec<_>>()
        };

        assert_eq!(
            keys(r#"resource_access."my.client".roles"#),
            ["resource_access", "my.client", "roles"]
        );
        assert_eq!(keys(r#""example.com/roles""#), ["example.com/roles"]);
        assert_eq!(keys(r#"a."https://x.example/y""#), ["a", "https://x.example/y"]);
        assert_eq!(
            keys("resource_access.web-app.roles"),
            ["resource_access", "web-app", "roles"]
        );
    }

    #[test]
    fn a_claim_named_by_a_url_is_one_key() {
        assert_eq!(
            ClaimText::parse("https://example.com/tenant", true)
                .unwrap()
                .0
                .len(),
            1
        );
        assert_eq!(ClaimText::parse("realm_access.roles", true).unwrap().0.len(), 2);
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a.\"b",
            "a.\"b\"c",
            "a\"b\".c",
            "\"\"",
            "\"a\".\"\"",
        ] {
            assert!(ClaimText::parse(text, true).is_err(), "{text}");
        }
    }
}
