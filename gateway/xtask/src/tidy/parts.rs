//! Which lines of a file are production code and which are tests.

use std::collections::BTreeSet;

use super::SourceFile;

/// Folders that hold nothing but tests, benches or fuzz targets.
const FOLDERS: &[&str] = &["tests/", "benches/", "gateway/fuzz/"];

/// Where a file's production code ends and its tests begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Parts {
    /// Lines of production code; none in a file of tests.
    pub production: usize,
    /// True for a file that is only compiled for tests.
    pub is_for_tests: bool,
}

impl Parts {
    /// Splits a file; `test_files` are the modules declared for tests alone.
    pub(crate) fn of(file: &SourceFile, test_files: &BTreeSet<String>) -> Self {
        let is_in_folder = FOLDERS
            .iter()
            .any(|folder| file.path.starts_with(folder) || file.path.contains(&format!("/{folder}")));
        // The load bench is a program that waits for others, not a test.
        let is_program = file.path.starts_with("benches/load/");
        let is_for_tests = is_in_folder && !is_program || test_files.contains(&file.path);
        let lines: Vec<&str> = file.text.lines().collect();
        let tail = lines.windows(2).position(|pair| {
            matches!(pair, ["#[cfg(test)]", module] if module.contains("mod ") && module.ends_with('{'))
        });
        let production = if is_for_tests {
            0
        } else {
            tail.unwrap_or(lines.len())
        };
        Self {
            production,
            is_for_tests,
        }
    }
}

/// Files behind `#[cfg(test)] mod name;`, with or without a `#[path]`.
pub(crate) fn test_files(files: &[SourceFile]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut lines = file.text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line != "#[cfg(test)]" {
                continue;
            }
            let Some(mut next) = lines.next() else { break };
            let named = next
                .strip_prefix("#[path = \"")
                .and_then(|rest| rest.strip_suffix("\"]"));
            if named.is_some() {
                next = lines.next().unwrap_or_default();
            }
            let Some(module) = next
                .rsplit_once("mod ")
                .and_then(|(_, name)| name.strip_suffix(';'))
            else {
                continue;
            };
            if let Some(named) = named {
                found.insert(format!("{folder}/{named}"));
                continue;
            }
            let own = match file.path.rsplit('/').next() {
                Some("lib.rs" | "main.rs" | "mod.rs") | None => folder.to_owned(),
                Some(_) => file.path.trim_end_matches(".rs").to_owned(),
            };
            found.insert(format!("{own}/{module}.rs"));
            found.insert(format!("{own}/{module}/mod.rs"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_module_of_tests_at_the_end_is_no_production_code() {
        let parts = Parts::of(
            &file("a.rs", "//! Doc.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n"),
            &BTreeSet::new(),
        );

        assert_eq!(
            parts,
            Parts {
                production: 3,
                is_for_tests: false
            }
        );
    }

    #[test]
    fn a_declared_module_of_tests_ends_nothing() {
        let parts = Parts::of(
            &file("lib.rs", "//! Doc.\n#[cfg(test)]\nmod fixture;\npub mod a;\n"),
            &BTreeSet::new(),
        );

        assert_eq!(parts.production, 4);
    }

    #[test]
    fn declared_modules_of_tests_are_found_wherever_they_are() {
        let found = test_files(&[
            file("a/src/lib.rs", "#[cfg(test)]\nmod fixture;\nmod b;"),
            file("a/src/b.rs", "#[cfg(test)]\nmod tests;"),
            file("a/src/c.rs", "#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod tests;"),
        ]);

        for path in ["a/src/fixture.rs", "a/src/b/tests.rs", "a/src/c_tests.rs"] {
            assert!(found.contains(path), "{path}");
        }
        assert!(!found.contains("a/src/b.rs"));
    }

    #[test]
    fn files_of_tests_have_no_production_code() {
        for path in ["tests/e2e/main.rs", "gateway/crates/a/tests/b.rs", "benches/a.rs"] {
            assert!(
                Parts::of(&file(path, "fn a() {}"), &BTreeSet::new()).is_for_tests,
                "{path}"
            );
        }
    }
}
