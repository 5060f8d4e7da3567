//! deny.toml against ARCHITECTURE.md, and the dependency graph against deny.toml's licences and sources, so that
//! these hold on a machine without cargo-deny too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::edges::{list, metadata, word};
use super::house::{self, House, room_of};
use super::{Finding, licence};

/// Where bans, licences and sources are written.
pub(crate) const FILE: &str = "deny.toml";
/// Bounds the graph to what is built here, so that nothing has to be fetched for other systems.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The part of deny.toml that is read here.
#[derive(Debug, Default)]
struct Rules {
    /// Per banned crate its wrappers and the line.
    bans: BTreeMap<String, (BTreeSet<String>, usize)>,
    /// Allowed licences.
    licences: Vec<String>,
    /// Allowed registries.
    registries: Vec<String>,
}

/// Checks the file and the graph.
pub(crate) fn check(root: &Path, text: &str, house: &House) -> Vec<Finding> {
    let rules = parse(text);
    let mut findings = compare(&rules, house);
    match metadata(root, &["--filter-platform", PLATFORM]) {
        Ok(graph) => findings.extend(judge(&graph, &rules)),
        Err(error) => findings.push(Finding::refused("Cargo.lock", 0, error)),
    }
    findings
}

/// Reads the lists line by line: one entry per line, as the file's head asks.
fn parse(text: &str) -> Rules {
    let mut rules = Rules::default();
    let mut section = "";
    let mut list = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
            .filter(|_| list.is_empty())
        {
            section = name;
            continue;
        }
        if let Some((key, value)) = line.split_once('=').filter(|_| list.is_empty()) {
            list = key.trim();
            add(&mut rules, section, list, value, index + 1);
            if !value.trim().starts_with('[') || value.contains(']') {
                list = "";
            }
            continue;
        }
        if line == "]" {
            list = "";
        } else {
            add(&mut rules, section, list, line, index + 1);
        }
    }
    rules
}

fn add(rules: &mut Rules, section: &str, list: &str, line: &str, number: usize) {
    let mut words = line.split('"').skip(1).step_by(2).map(str::to_owned);
    match (section, list) {
        ("bans", "deny") => {
            if let Some(name) = words.next() {
                rules.bans.insert(name, (words.collect(), number));
            }
        }
        ("licenses", "allow") => rules.licences.extend(words),
        ("sources", "allow-registry") => rules.registries.extend(words),
        _ => {}
    }
}

/// Every wrapped crate stands in both files with the same rooms.
fn compare(rules: &Rules, house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, (wrappers, line)) in &rules.bans {
        let ours: BTreeSet<String> = wrappers
            .iter()
            .filter_map(|package| room_of(package))
            .map(str::to_owned)
            .collect();
        match house.wrappers.get(name) {
            Some(rooms) if *rooms == ours => {}
            Some(rooms) => findings.push(Finding::refused(
                FILE,
                *line,
                format!(
                    "`{name}` is wrapped by {ours:?} here and by {rooms:?} in {}",
                    house::FILE
                ),
            )),
            None if ours.is_empty() => {}
            None => findings.push(Finding::refused(
                FILE,
                *line,
                format!("`{name}` has no row in {}", house::FILE),
            )),
        }
    }
    for name in house
        .wrappers
        .keys()
        .filter(|name| !rules.bans.contains_key(*name))
    {
        findings.push(Finding::refused(
            house::FILE,
            0,
            format!("the sole wrapper of `{name}` is not in {FILE}"),
        ));
    }
    if rules.licences.is_empty() || rules.registries.is_empty() {
        findings.push(Finding::refused(
            FILE,
            0,
            "names no allowed licence or no allowed registry",
        ));
    }
    findings
}

/// Bans without a wrapper, licences and sources of everything in the graph.
fn judge(graph: &Value, rules: &Rules) -> Vec<Finding> {
    list(graph, "packages")
        .filter_map(|package| {
            let name = format!("{} {}", word(package, "name"), word(package, "version"));
            let source = word(package, "source");
            let is_foreign = !source.is_empty()
                && !rules
                    .registries
                    .iter()
                    .any(|registry| source == format!("registry+{registry}"));
            let is_banned = rules
                .bans
                .get(word(package, "name"))
                .is_some_and(|(wrappers, _)| wrappers.is_empty());
            let text = if is_foreign {
                format!("{name} comes from {source}, which {FILE} does not allow")
            } else if is_banned {
                format!("{name} is banned by {FILE}")
            } else if !licence::is_met(word(package, "license"), &rules.licences) {
                format!(
                    "{name} has the licence \"{}\", which {FILE} does not allow",
                    word(package, "license")
                )
            } else {
                return None;
            };
            Some(Finding::refused("Cargo.lock", 0, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SAMPLE: &str = "\
[bans]
wildcards = \"deny\"
deny = [
    # arguments
    { crate = \"clap\", wrappers = [\"portcullis\", \"criterion\"] },
    { crate = \"clap_complete\", wrappers = [\"portcullis\"] },
    { crate = \"openssl\" },
]

[licenses]
allow = [
    \"MIT\",
]

[sources]
allow-registry = [\"https://example.org/index\"]
";

    fn house() -> House {
        house::parse(house::SAMPLE, &mut Vec::new())
    }

    fn package(name: &str, licence: &str, source: &str) -> Value {
        json!({"packages": [{"name": name, "version": "1.0.0", "license": licence, "source": source}]})
    }

    #[test]
    fn the_same_wrappers_in_both_files_are_in_order() {
        assert_eq!(compare(&parse(SAMPLE), &house()), []);
    }

    #[test]
    fn a_wrapper_that_only_one_file_has_is_refused() {
        let other = SAMPLE.replace("[\"portcullis\"] }", "[\"portcullis-proxy\"] }");
        let missing = SAMPLE.replace(
            "    { crate = \"clap_complete\", wrappers = [\"portcullis\"] },\n",
            "",
        );

        assert_eq!(
            compare(&parse(&other), &house())
                .iter()
                .map(|finding| finding.line)
                .collect::<Vec<_>>(),
            [6]
        );
        assert_eq!(compare(&parse(&missing), &house()).len(), 1);
    }

    #[test]
    fn an_allowed_package_is_in_order() {
        assert_eq!(
            judge(
                &package("serde", "MIT", "registry+https://example.org/index"),
                &parse(SAMPLE)
            ),
            []
        );
    }

    #[test]
    fn another_licence_source_or_a_banned_crate_is_refused() {
        let rules = parse(SAMPLE);

        assert_eq!(
            judge(
                &package("serde", "GPL-3.0", "registry+https://example.org/index"),
                &rules
            )
            .len(),
            1
        );
        assert_eq!(
            judge(&package("serde", "MIT", "git+https://example.org/serde"), &rules).len(),
            1
        );
        assert_eq!(
            judge(
                &package("openssl", "MIT", "registry+https://example.org/index"),
                &rules
            )
            .len(),
            1
        );
    }
}
