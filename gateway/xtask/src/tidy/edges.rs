//! What the manifests say against what the house allows, from `cargo metadata`.

use std::path::Path;

use serde_json::Value;

use super::Finding;
use super::house::{self, House, room_of};
use crate::tasks;

/// Packages on no floor.
const OUTSIDE: &[&str] = &["portcullis-xtask", "portcullis-bench-load"];

/// One dependency of one package of ours.
#[derive(Debug, Eq, PartialEq)]
struct Edge {
    /// The manifest, from the workspace's folder.
    manifest: String,
    /// The package that depends.
    from: String,
    /// The package it depends on.
    on: String,
    /// True for `[dev-dependencies]`.
    is_for_tests: bool,
}

/// Compares the workspace's manifests with the house.
pub(crate) fn check(root: &Path, house: &House) -> Vec<Finding> {
    match metadata(root, &["--no-deps"]) {
        Ok(metadata) => {
            let edges = edges(&metadata, root);
            let mut findings: Vec<_> = edges.iter().filter_map(|edge| judge(edge, house)).collect();
            findings.extend(unknown_packages(&metadata, root, house));
            findings.extend(empty_wrappers(&edges, house));
            findings
        }
        Err(error) => vec![Finding::refused("Cargo.toml", 0, error)],
    }
}

/// What cargo says about the workspace, without asking the network.
pub(crate) fn metadata(root: &Path, args: &[&str]) -> Result<Value, String> {
    let output = tasks::cargo(root)
        .args(["metadata", "--offline", "--format-version", "1"])
        .args(args)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "cargo metadata failed; run `cargo fetch` first: {}",
            reason.trim()
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata is not JSON: {error}"))
}

/// The objects of a list in a JSON object; none when there is no such list.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// A string in a JSON object; empty when there is none.
pub(crate) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn manifest_of(package: &Value, root: &Path) -> String {
    let path = Path::new(word(package, "manifest_path"));
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn edges(metadata: &Value, root: &Path) -> Vec<Edge> {
    list(metadata, "packages")
        .flat_map(|package| {
            list(package, "dependencies").map(move |dependency| Edge {
                manifest: manifest_of(package, root),
                from: word(package, "name").to_owned(),
                on: word(dependency, "name").to_owned(),
                is_for_tests: word(dependency, "kind") == "dev",
            })
        })
        .collect()
}

fn judge(edge: &Edge, house: &House) -> Option<Finding> {
    let from = room_of(&edge.from)?;
    let text = match room_of(&edge.on) {
        Some(on) => {
            let allowed = house.imports.get(from)?;
            let is_itself = on == from;
            if is_itself || allowed.contains(on) {
                return None;
            }
            format!("`{from}` may not import `{on}` ({} \"Floors\")", house::FILE)
        }
        None => {
            let rooms = house.wrappers.get(&edge.on)?;
            // Tests may speak to the gateway with anything.
            if edge.is_for_tests || rooms.contains(from) {
                return None;
            }
            let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
            format!(
                "only {} may name `{}` ({} \"Sole wrappers\")",
                rooms.join(", "),
                edge.on,
                house::FILE
            )
        }
    };
    Some(Finding::refused(&edge.manifest, 0, text))
}

fn unknown_packages(metadata: &Value, root: &Path, house: &House) -> Vec<Finding> {
    list(metadata, "packages")
        .filter_map(|package| {
            let name = word(package, "name");
            // The tasks and the load bench stand outside of the house: nothing imports them and they import no room.
            let is_known = OUTSIDE.contains(&name)
                || room_of(name)
                    .filter(|_| !OUTSIDE.contains(&name))
                    .is_some_and(|room| house.imports.contains_key(room));
            (!is_known).then(|| {
                Finding::refused(
                    &manifest_of(package, root),
                    0,
                    format!("`{name}` stands on no floor of {}", house::FILE),
                )
            })
        })
        .collect()
}

/// A room that no longer names a crate is no longer its wrapper.
fn empty_wrappers(edges: &[Edge], house: &House) -> Vec<Finding> {
    let is_named = |name: &str, room: &str| {
        edges
            .iter()
            .any(|edge| edge.on == name && !edge.is_for_tests && room_of(&edge.from) == Some(room))
    };
    house
        .wrappers
        .iter()
        .flat_map(|(name, rooms)| rooms.iter().map(move |room| (name, room)))
        .filter(|(name, room)| !is_named(name, room))
        .map(|(name, room)| {
            Finding::refused(
                house::FILE,
                0,
                format!("`{room}` does not name `{name}` any more: correct \"Sole wrappers\""),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings_of(metadata: &Value) -> Vec<String> {
        let house = house::parse(house::SAMPLE, &mut Vec::new());
        let root = Path::new("/house");
        let judged = edges(metadata, root)
            .iter()
            .filter_map(|edge| judge(edge, &house))
            .collect::<Vec<_>>();
        judged
            .into_iter()
            .chain(unknown_packages(metadata, root, &house))
            .map(|finding| finding.to_string())
            .collect()
    }

    fn package(name: &str, dependencies: &[(&str, &str)]) -> Value {
        let dependencies: Vec<_> = dependencies
            .iter()
            .map(|(name, kind)| json!({"name": name, "kind": kind}))
            .collect();
        json!({"packages": [{"name": name, "manifest_path": format!("/house/{name}/Cargo.toml"), "dependencies": dependencies}]})
    }

    #[test]
    fn an_import_downwards_is_allowed() {
        let metadata = package("portcullis-proxy", &[("portcullis-model", ""), ("serde", "")]);

        assert!(findings_of(&metadata).is_empty());
    }

    #[test]
    fn an_import_sideways_or_upwards_is_refused_even_for_tests() {
        let metadata = package(
            "portcullis-proxy",
            &[("portcullis-config", "dev"), ("portcullis", "")],
        );

        assert_eq!(
            findings_of(&metadata),
            [
                "portcullis-proxy/Cargo.toml: `proxy` may not import `config` (ARCHITECTURE.md \"Floors\")",
                "portcullis-proxy/Cargo.toml: `proxy` may not import `app` (ARCHITECTURE.md \"Floors\")",
            ]
        );
    }

    #[test]
    fn a_wrapped_crate_is_refused_outside_its_room_and_allowed_in_tests() {
        assert_eq!(
            findings_of(&package("portcullis-proxy", &[("clap", "")])).len(),
            1
        );
        assert!(findings_of(&package("portcullis-proxy", &[("clap", "dev")])).is_empty());
        assert!(findings_of(&package("portcullis", &[("clap", "")])).is_empty());
    }

    #[test]
    fn a_wrapper_that_wraps_nothing_is_refused() {
        let house = house::parse(house::SAMPLE, &mut Vec::new());
        let edge = |on: &str, is_for_tests| Edge {
            manifest: String::new(),
            from: "portcullis".to_owned(),
            on: on.to_owned(),
            is_for_tests,
        };

        assert_eq!(
            empty_wrappers(&[edge("clap", false), edge("clap_complete", false)], &house),
            []
        );
        assert_eq!(
            empty_wrappers(&[edge("clap", false), edge("clap_complete", true)], &house).len(),
            1
        );
    }

    #[test]
    fn a_package_without_a_floor_is_refused() {
        assert_eq!(
            findings_of(&package("portcullis-attic", &[])),
            ["portcullis-attic/Cargo.toml: `portcullis-attic` stands on no floor of ARCHITECTURE.md"]
        );
        assert!(findings_of(&package("portcullis-xtask", &[])).is_empty());
    }
}
