use serde_json::Value;

use super::*;

/// Where we differ from OPA 1.19.1 on purpose: accidents of its glob library that no author can mean.
///
/// One character wanted and none there: OPA takes `?` and `[!abc]` for matched by the empty text. Three stars: OPA
/// forgets that two of them cross delimiters.
fn is_accident(pattern: &str, text: &str) -> bool {
    (matches!(pattern, "?" | "[!abc]") && text.is_empty()) || pattern == "***"
}

fn matches(pattern: &str, delimiters: &[char], text: &str) -> bool {
    Glob::compile(pattern, delimiters).unwrap().matches(text)
}

/// What OPA 1.19.1 (Go) itself said about 46 patterns with 5 kinds of delimiters over 56 texts.
#[test]
fn patterns_mean_what_they_mean_in_opa() {
    let table: Value = serde_json::from_str(include_str!("glob_table.json")).unwrap();
    let texts: Vec<&str> = table["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    let mut wrong = Vec::new();
    for row in table["rows"].as_array().unwrap() {
        let pattern = row["pattern"].as_str().unwrap();
        let delimiters: Vec<char> = match &row["delimiters"] {
            Value::Array(list) if list.is_empty() => vec!['.'],
            Value::Array(list) => list
                .iter()
                .map(|text| text.as_str().unwrap().chars().next().unwrap())
                .collect(),
            _ => Vec::new(),
        };
        let expected = row["matches"].as_array();
        let ours = Glob::compile(pattern, &delimiters).ok();
        for text in &texts {
            let expected = expected.map(|matches| matches.iter().any(|found| found == text));
            let ours = ours.as_ref().map(|glob| glob.matches(text));
            if expected != ours && !is_accident(pattern, text) {
                wrong.push(format!(
                    "{pattern:?} {delimiters:?} {text:?}: OPA {expected:?}, ours {ours:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn one_star_stops_at_a_delimiter_and_two_do_not() {
    assert!(matches("/api/*", &['/'], "/api/v1"));
    assert!(!matches("/api/*", &['/'], "/api/v1/x"));
    assert!(matches("/api/**", &['/'], "/api/v1/x"));
    assert!(matches("/api**", &['/'], "/api/v1/x"));
    assert!(matches("/api/*", &[], "/api/v1/x"));
}

#[test]
fn no_pattern_makes_matching_slow() {
    let pattern = "*a".repeat(500);
    let text = "a".repeat(4_000);
    let started = std::time::Instant::now();

    assert!(!matches(&pattern, &['/'], &format!("{text}b")));

    assert!(
        started.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn malformed_and_oversized_patterns_are_refused() {
    assert_eq!(Glob::compile("[a", &[]).err(), Some(GlobFault::Class));
    assert_eq!(Glob::compile("[]a]", &[]).err(), Some(GlobFault::Class));
    assert_eq!(Glob::compile("[z-a]", &[]).err(), Some(GlobFault::Class));
    assert_eq!(
        Glob::compile(&"a".repeat(1_025), &[]).err(),
        Some(GlobFault::TooLong)
    );
    assert_eq!(
        Glob::compile(&format!("{}{}", "{".repeat(9), "}".repeat(9)), &[]).err(),
        Some(GlobFault::TooDeep)
    );
    assert!(Glob::compile(&format!("{}{}", "{".repeat(8), "}".repeat(8)), &[]).is_ok());
    assert!(Glob::compile(&"a".repeat(1_024), &[]).is_ok());
}

#[test]
fn the_cache_is_bounded_and_keeps_delimiters_apart() {
    let mut cache = GlobCache::default();
    let pattern: Arc<str> = "a*b".into();

    assert!(cache.compiled(&pattern, &[]).unwrap().matches("a/b"));
    assert!(!cache.compiled(&pattern, &['/']).unwrap().matches("a/b"));
    for n in 0..3_000 {
        cache.compiled(&format!("{n}*").into(), &[]).unwrap();
    }

    let kept: usize = cache.by_delimiters.iter().map(|(_, globs)| globs.len()).sum();
    assert!(kept <= MAX_CACHED, "{kept}");
}
