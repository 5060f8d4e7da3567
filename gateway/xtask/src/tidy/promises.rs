//! Documents that promise something name the tests that show it, and the tests exist.

use std::collections::HashSet;

use super::{Finding, SourceFile, quoted, table_row};

/// Documents of promises, and how many rows each has at least: a table that is gone is a finding too.
const DOCUMENTS: &[(&str, usize)] = &[("SECURITY.md", 10), ("gateway/docs/deadlines.md", 10)];
/// The title of the column with the tests' names.
const COLUMN: &str = "shown by";

/// Checks every document of promises against the tests of the tree.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let tests: HashSet<&str> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .flat_map(|file| tests_of(&file.text))
        .collect();
    let mut findings = Vec::new();
    for (path, least) in DOCUMENTS {
        let text = files
            .iter()
            .find(|file| file.path == *path)
            .map_or("", |file| &file.text);
        let rows = promises(path, text, &tests, &mut findings);
        if rows < *least {
            let told = format!("{rows} promises in tables with a column \"{COLUMN}\", at least {least}");
            findings.push(Finding::refused(path, 0, told));
        }
    }
    findings
}

/// Reports what is not shown; gives how many promises there are.
fn promises(path: &str, text: &str, tests: &HashSet<&str>, findings: &mut Vec<Finding>) -> usize {
    let mut column = None;
    let mut rows = 0;
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = table_row(line) else {
            column = None;
            continue;
        };
        let Some(at) = column else {
            // Of a table without the column no row is a promise.
            column = Some(cells.iter().position(|cell| *cell == COLUMN));
            continue;
        };
        let Some(cell) = at.and_then(|at| cells.get(at)) else {
            continue;
        };
        if cell.contains('-') && cell.chars().all(|letter| "-:".contains(letter)) {
            continue;
        }
        rows += 1;
        let named = quoted(cell);
        if named.is_empty() {
            findings.push(Finding::refused(path, index + 1, "a promise that no test shows"));
        }
        for name in named.iter().filter(|name| !tests.contains(**name)) {
            findings.push(Finding::refused(
                path,
                index + 1,
                format!("there is no test \"{name}\""),
            ));
        }
    }
    rows
}

/// The names of a source's tests.
fn tests_of(text: &str) -> Vec<&str> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in text.lines() {
        let code = line.trim_start();
        if code.starts_with("#[test]") || code.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((before, rest)) = code.split_once("fn ") {
            if is_test && ["", "async ", "pub ", "pub async "].contains(&before) {
                names.extend(rest.split('(').next());
            }
            is_test = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "#[test]\nfn plain() {}\n\n/// With words.\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn over_sockets() {}\n\nfn no_test() {}\n";

    fn found(document: &str) -> Vec<String> {
        let tests = tests_of(SOURCE).into_iter().collect();
        let mut findings = Vec::new();
        promises("a.md", document, &tests, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_tests_of_a_source_are_found_and_nothing_else() {
        assert_eq!(tests_of(SOURCE), ["plain", "over_sockets"]);
    }

    #[test]
    fn a_promise_with_its_tests_is_in_order() {
        let document = "| promise | shown by |\n|---|---|\n| `x` is kept | `plain`, `over_sockets` |\n";
        assert_eq!(found(document), Vec::<String>::new());
    }

    #[test]
    fn a_promise_without_a_test_or_with_one_that_is_gone_is_refused() {
        let document = "| shown by | promise |\n|---|---|\n| | x |\n| `no_test` | y |\n\n| other | table |\n|---|---|\n| `gone` | z |\n";
        assert_eq!(
            found(document),
            [
                "a.md:3: a promise that no test shows",
                "a.md:4: there is no test \"no_test\""
            ]
        );
    }

    #[test]
    fn a_document_without_its_table_is_refused() {
        let files = [SourceFile {
            path: "SECURITY.md".to_owned(),
            text: "# Security\n".to_owned(),
        }];
        assert_eq!(check(&files).len(), DOCUMENTS.len());
    }
}
