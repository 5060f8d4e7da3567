//! The alert rules that users copy are YAML, and every metric that they name is one that the gateway has.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser};
use regex::Regex;

fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")).unwrap()
}

/// Every scalar of a document in its order: keys and values alike.
fn scalars(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.unwrap_or_else(|error| panic!("not YAML: {error}"));
        if let Event::Scalar(value, ..) = event {
            found.push(value.to_string());
        }
    }
    found
}

/// What follows a key, each time.
fn values<'a>(scalars: &'a [String], key: &str) -> Vec<&'a str> {
    let pairs = scalars.windows(2).filter(|pair| pair[0] == key);
    pairs.map(|pair| pair[1].as_str()).collect()
}

/// The names of metrics in a text of rules or of Rust.
fn names(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(portcullis|process)_[a-z0-9_]+").unwrap();
    name.find_iter(text)
        .map(|found| found.as_str().to_owned())
        .collect()
}

/// Every metric that production code names.
fn known() -> BTreeSet<String> {
    fn walk(folder: &Path, literals: &Regex, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_ours = !path.ends_with("target") && !path.ends_with("tests") && !path.ends_with("docs");
            if path.is_dir() && is_ours {
                walk(&path, literals, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.extend(literals.captures_iter(&text).map(|literal| literal[1].to_owned()));
            }
        }
    }
    let literals = Regex::new(r#""(portcullis_[a-z0-9_]+)""#).unwrap();
    let mut found = BTreeSet::new();
    walk(&repository().join("gateway/crates"), &literals, &mut found);
    walk(&repository().join("gateway/src"), &literals, &mut found);
    found
}

#[test]
fn every_rule_is_whole_and_names_metrics_that_exist() {
    let known = known();
    assert!(known.contains("portcullis_requests_total"), "{known:?}");
    let rules = repository().join("deploy/prometheus");
    let mut files = 0;
    for entry in fs::read_dir(&rules).unwrap() {
        let path = entry.unwrap().path();
        let scalars = scalars(&fs::read_to_string(&path).unwrap());
        let (alerts, expressions) = (values(&scalars, "alert"), values(&scalars, "expr"));
        assert!(
            !alerts.is_empty() && alerts.len() == expressions.len(),
            "{path:?}: {alerts:?}"
        );
        assert_eq!(values(&scalars, "severity").len(), alerts.len(), "{path:?}");
        assert_eq!(values(&scalars, "summary").len(), alerts.len(), "{path:?}");
        assert_eq!(
            alerts.iter().collect::<BTreeSet<_>>().len(),
            alerts.len(),
            "{path:?}"
        );
        for (alert, expression) in alerts.iter().zip(expressions) {
            let named = names(expression);
            assert!(!named.is_empty(), "{alert}: {expression}");
            assert!(named.is_subset(&known), "{alert} names {named:?}");
        }
        files += 1;
    }
    assert!(files >= 1);
}

#[test]
fn a_metric_that_is_not_there_is_noticed() {
    let named = names("rate(portcullis_requests_totals[5m]) / portcullis_requests_total");

    assert_eq!(named.len(), 2);
    assert!(!named.is_subset(&known()));
    assert_eq!(
        values(&scalars("groups: [{ alert: a, expr: b }]"), "alert"),
        ["a"]
    );
}
