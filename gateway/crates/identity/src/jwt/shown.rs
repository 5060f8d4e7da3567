//! How what a token says, and what would pass, is put into words for its operator.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::claims::{self, find};
use super::key_set::KeySet;
use crate::plan::{Algorithm, ClaimPaths, IssuerKind, RequiredClaim, TokenTypes, Wanted};

/// Longest text of a single value: nobody reads on.
const MAX_SHOWN: usize = 200;
/// Most names of a list.
const MAX_NAMES: usize = 12;

/// What the attribute claims must be.
pub(super) const WANTED_ATTRIBUTES: &str = "where they are there, tenant and region are texts, roles a text or a list of texts, scopes words or a list of texts";

/// What the claims must be that the deny list names tokens by.
pub(super) const WANTED_NAMES: &str =
    "where they are there, jti and sid are texts, or whole numbers of at most 64 bits";

/// Claims with their names.
pub(super) fn named(claims: &Map<String, Value>, names: &[&str]) -> String {
    let shown = names
        .iter()
        .map(|name| format!("{name} {}", value(claims.get(*name))));
    shown.collect::<Vec<_>>().join(", ")
}

/// A claim's value, shortened, with nothing in it that moves a terminal.
pub(super) fn value(value: Option<&Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(value) => shortened(&value.to_string()),
    }
}

/// A text of the header.
pub(super) fn text(text: Option<&str>) -> String {
    match text {
        None => "absent".to_owned(),
        Some(text) => shortened(&format!("\"{text}\"")),
    }
}

/// A NumericDate with its distance from now.
pub(super) fn moment(claim: Option<&Value>, now: SystemTime) -> String {
    let shown = value(claim);
    let mut alone = Map::new();
    if let Some(claim) = claim {
        alone.insert("at".to_owned(), claim.clone());
    }
    match claims::moment(&alone, "at") {
        Ok(Some(at)) => match at.duration_since(now) {
            Ok(ahead) => format!("{shown} ({} ahead)", span(whole(ahead))),
            Err(ago) => format!("{shown} ({} ago)", span(whole(ago.duration()))),
        },
        Ok(None) | Err(_) => shown,
    }
}

/// A length of time in its largest whole unit.
pub(super) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 if !length.is_zero() => format!("{}ms", length.as_millis()),
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// Names, the first of them.
pub(super) fn list(names: &[Arc<str>]) -> String {
    join(names.iter().map(AsRef::as_ref))
}

/// A path as the configuration writes it: a step with a dot in quotation marks.
pub(super) fn path(path: &[Arc<str>]) -> String {
    let steps = path.iter().map(|step| {
        if step.contains('.') && path.len() > 1 {
            format!("\"{step}\"")
        } else {
            step.to_string()
        }
    });
    steps.collect::<Vec<_>>().join(".")
}

/// The types an issuer's tokens may be of.
pub(super) fn wanted_types(types: &TokenTypes) -> String {
    let absent = types.absent.then_some("none");
    let named = types.named.iter().map(AsRef::as_ref);
    format!("typ is one of {}", join(absent.into_iter().chain(named)))
}

/// The algorithms an issuer's tokens may be signed with.
pub(super) fn wanted_algorithms(algorithms: &[Algorithm]) -> String {
    format!(
        "alg is one of {}",
        join(algorithms.iter().map(|algorithm| algorithm.as_str()))
    )
}

/// The ids of the keys for an algorithm.
pub(super) fn key_ids(set: &KeySet, algorithm: Algorithm) -> String {
    let ids: Vec<_> = set.fitting(None, algorithm).map(|key| text(key.id())).collect();
    join(ids.iter().map(String::as_str))
}

/// How a token must name its issuer.
pub(super) fn wanted_issuer(kind: &IssuerKind) -> String {
    match kind {
        IssuerKind::Url(issuer) => format!("iss is {:?} to the letter", issuer.as_ref()),
        IssuerKind::Spiffe(_) => wanted_subject(kind),
    }
}

/// What `sub` must be.
pub(super) fn wanted_subject(kind: &IssuerKind) -> String {
    match kind {
        IssuerKind::Url(_) => "sub is a text, neither empty nor over 1024 bytes".to_owned(),
        IssuerKind::Spiffe(domain) => format!("sub is the SPIFFE ID of a workload of {domain}"),
    }
}

/// What a required claim must be.
pub(super) fn wanted_claim(required: &RequiredClaim) -> String {
    let name = path(&required.path);
    match &required.wanted {
        Wanted::Present => format!("{name} is there"),
        Wanted::OneOf(values) => {
            let values: Vec<_> = values.iter().map(ToString::to_string).collect();
            format!(
                "{name} is or holds one of {}",
                join(values.iter().map(String::as_str))
            )
        }
    }
}

/// What stands where tenant, roles, region and scopes are read from.
pub(super) fn attributes(claims: &Map<String, Value>, paths: &ClaimPaths) -> String {
    let named = [
        ("tenant", &paths.tenant),
        ("roles", &paths.roles),
        ("region", &paths.region),
        ("scopes", &paths.scopes),
    ];
    let mut found: Vec<_> = named
        .into_iter()
        .filter_map(|(name, path)| Some((name, path.as_ref()?)))
        .map(|(name, path)| format!("{name} {}", value(find(claims, path))))
        .collect();
    if paths.scopes.is_none() {
        let scopes = claims.get("scope").or_else(|| claims.get("scp"));
        found.push(format!("scopes {}", value(scopes)));
    }
    found.join(", ")
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    let mut text = names
        .iter()
        .take(MAX_NAMES)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMES));
    }
    text
}

fn shortened(text: &str) -> String {
    // JSON leaves characters as they are that move a terminal or turn the direction of writing.
    let escape = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    let text: String = text.chars().map(escape).collect();
    match text.char_indices().nth(MAX_SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// Without the part of a second, which says nothing here.
const fn whole(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_move_no_terminal() {
        assert_eq!(value(None), "absent");
        assert_eq!(value(Some(&serde_json::json!(["a", 1]))), r#"["a",1]"#);
        assert_eq!(
            value(Some(&"x".repeat(999).into())).chars().count(),
            MAX_SHOWN + 1
        );
        let shown = value(Some(&"\u{1b}[2J\u{9b}2J\u{85}\u{202e}".into()));
        assert!(shown.is_ascii(), "{shown}");
        assert!(text(Some("\u{1b}[2J\u{9b}")).is_ascii());
    }

    #[test]
    fn a_path_is_shown_as_it_is_written() {
        assert_eq!(
            path(&["realm_access".into(), "roles".into()]),
            "realm_access.roles"
        );
        assert_eq!(
            path(&["https://example.com/roles".into()]),
            "https://example.com/roles"
        );
        assert_eq!(path(&["a".into(), "b.c".into()]), r#"a."b.c""#);
    }

    #[test]
    fn a_length_of_time_has_its_largest_whole_unit() {
        let lengths = [0, 30, 90, 120, 3600, 86_400].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(lengths, ["0s", "30s", "90s", "2m", "1h", "24h"]);
        assert_eq!(span(Duration::from_millis(500)), "500ms");
    }
}
