//! Rules on single files: size, names, module docs, globals, clocks, sleeping tests, ignored tests, loose ends.

use super::parts::{Parts, test_files};
use super::{Finding, SourceFile};

/// Production lines that are reported.
const WARN_AT: usize = 400;
/// Production lines that are refused.
const REFUSE_AT: usize = 600;
/// Names of a room that is no room.
const NO_ROOMS: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "core", "base",
];
/// What makes a `static` changeable.
const CHANGEABLE: &[&str] = &[
    "Mutex<",
    "RwLock<",
    "Atomic",
    "ArcSwap",
    "RefCell<",
    "OnceCell<",
    "OnceLock<",
];

/// The attribute of a test that does not run; in pieces, so that no search for such tests ends here.
const IGNORED: &str = concat!("#[ign", "ore");

/// Checks every file by itself.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let test_files = test_files(files);
    for file in files {
        loose_ends(file, &mut findings);
        if file.path.ends_with(".rs") {
            names(file, &mut findings);
            let parts = Parts::of(file, &test_files);
            size(file, &parts, &mut findings);
            module_doc(file, &parts, &mut findings);
            globals(file, &parts, &mut findings);
            clocks(file, &parts, &mut findings);
            tests(file, &parts, &mut findings);
        } else if file.path.starts_with("gateway/") && file.path.ends_with("Cargo.toml") {
            shared_lints(file, &mut findings);
        }
    }
    findings
}

fn size(file: &SourceFile, parts: &Parts, findings: &mut Vec<Finding>) {
    let lines = parts.production;
    if lines > REFUSE_AT {
        findings.push(Finding::refused(
            &file.path,
            0,
            format!("{lines} production lines, at most {REFUSE_AT}: split it by subject"),
        ));
    } else if lines > WARN_AT {
        findings.push(Finding::warned(
            &file.path,
            0,
            format!("{lines} production lines: two subjects in one room?"),
        ));
    }
}

fn names(file: &SourceFile, findings: &mut Vec<Finding>) {
    for part in file.path.split('/') {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        if NO_ROOMS.contains(&name) {
            findings.push(Finding::refused(
                &file.path,
                0,
                format!("\"{name}\" is no room: name what it is for"),
            ));
        }
    }
}

fn module_doc(file: &SourceFile, parts: &Parts, findings: &mut Vec<Finding>) {
    let is_documented = file
        .text
        .lines()
        .find(|line| !line.starts_with("// SPDX"))
        .is_some_and(|line| line.starts_with("//!"));
    if !parts.is_for_tests && !is_documented {
        findings.push(Finding::refused(
            &file.path,
            1,
            "begins without a module doc (`//!`)",
        ));
    }
}

fn globals(file: &SourceFile, parts: &Parts, findings: &mut Vec<Finding>) {
    let mut is_in_thread_local = false;
    for (index, line) in file.text.lines().enumerate().take(parts.production) {
        let code = line.trim_start();
        if code.starts_with("thread_local!") {
            is_in_thread_local = true;
        } else if code.starts_with('}') {
            is_in_thread_local = false;
        }
        let declaration = [
            "static ",
            "pub static ",
            "pub(crate) static ",
            "pub(super) static ",
        ];
        let is_static = declaration.iter().any(|start| code.starts_with(start));
        if is_static && !is_in_thread_local && CHANGEABLE.iter().any(|kind| code.contains(kind)) {
            findings.push(Finding::refused(
                &file.path,
                index + 1,
                "a mutable global: let `App` own it and hand it on",
            ));
        }
    }
}

/// Rooms take the time as an argument; the doors and the app read it. A file with a reason says so in its doc.
fn clocks(file: &SourceFile, parts: &Parts, findings: &mut Vec<Finding>) {
    let may_read =
        !file.path.starts_with("gateway/crates/") || file.path.starts_with("gateway/crates/proxy/");
    let has_reason = file
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .any(|line| line.contains("clock"));
    if may_read || has_reason {
        return;
    }
    for (index, line) in file.text.lines().enumerate().take(parts.production) {
        let code = line.split("//").next().unwrap_or_default();
        if ["Instant::now", "SystemTime::now"]
            .iter()
            .any(|call| code.contains(call))
        {
            let text = "reads a clock: take the time as an argument, or say in the module's doc why it must";
            findings.push(Finding::refused(&file.path, index + 1, text));
        }
    }
}

fn tests(file: &SourceFile, parts: &Parts, findings: &mut Vec<Finding>) {
    let sleep = concat!("sle", "ep(");
    for (index, line) in file.text.lines().enumerate().skip(parts.production) {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if code.contains(sleep) {
            findings.push(Finding::refused(
                &file.path,
                index + 1,
                "a test that sleeps: wait on a condition with a deadline",
            ));
        }
        if let Some(rest) = code.strip_prefix(IGNORED) {
            let reason = rest.split('"').nth(1).unwrap_or_default();
            if !reason.contains('#') {
                let text =
                    "an ignored test states its reason and an issue, as in \"needs two machines (#12)\"";
                findings.push(Finding::refused(&file.path, index + 1, text));
            }
        }
    }
}

fn loose_ends(file: &SourceFile, findings: &mut Vec<Finding>) {
    if file.path.ends_with(".md") {
        return;
    }
    let marker = concat!("TO", "DO");
    for (index, line) in file.text.lines().enumerate() {
        for (at, _) in line.match_indices(marker) {
            let before = line.get(..at).and_then(|before| before.chars().next_back());
            let after = line.get(at + marker.len()..).unwrap_or_default();
            let is_word =
                !before.is_some_and(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
            let has_issue = after
                .strip_prefix("(#")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if is_word && !has_issue {
                let text = format!("a loose end without an issue: write {marker}(#12) or do it");
                findings.push(Finding::refused(&file.path, index + 1, text));
            }
        }
    }
}

fn shared_lints(file: &SourceFile, findings: &mut Vec<Finding>) {
    let is_own_workspace = file.text.lines().any(|line| line.trim() == "[workspace]");
    let mut lines = file
        .text
        .lines()
        .skip_while(|line| line.trim() != "[lints]")
        .skip(1);
    if !is_own_workspace && lines.next().map(str::trim) != Some("workspace = true") {
        findings.push(Finding::refused(
            &file.path,
            0,
            "does not take the shared lints: [lints] workspace = true",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&[file]).iter().map(ToString::to_string).collect()
    }

    fn lines(count: usize) -> String {
        format!("//! Doc.\n{}", "fn a() {}\n".repeat(count - 1))
    }

    #[test]
    fn size_counts_production_lines_only() {
        let with_tests = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            lines(300),
            "// a\n".repeat(500)
        );

        assert!(found("a.rs", &with_tests).is_empty());
        assert!(found("a.rs", &lines(400)).is_empty());
        assert!(found("a.rs", &lines(401))[0].contains("warning"));
        assert_eq!(
            found("a.rs", &lines(601)),
            ["a.rs: 601 production lines, at most 600: split it by subject"]
        );
        assert!(found("tests/e2e/a.rs", &lines(900)).is_empty());
    }

    #[test]
    fn a_room_that_is_no_room_is_refused() {
        assert_eq!(found("gateway/crates/common/src/lib.rs", "//! Doc.").len(), 1);
        assert_eq!(found("gateway/src/util.rs", "//! Doc.").len(), 1);
        assert!(found("gateway/src/utility_bill.rs", "//! Doc.").is_empty());
    }

    #[test]
    fn a_module_begins_with_its_doc() {
        assert!(found("a.rs", "// SPDX-License-Identifier: Apache-2.0\n//! Doc.").is_empty());
        assert_eq!(
            found("a.rs", "use std::fmt;"),
            ["a.rs:1: begins without a module doc (`//!`)"]
        );
        assert!(found("tests/e2e/a.rs", "use std::fmt;").is_empty());
    }

    #[test]
    fn a_mutable_global_is_refused_and_a_constant_table_is_not() {
        assert_eq!(
            found("a.rs", "//! Doc.\nstatic SEEN: Mutex<u8> = Mutex::new(0);").len(),
            1
        );
        assert!(found("a.rs", "//! Doc.\nstatic NAMES: &[&str] = &[];").is_empty());
        assert!(
            found(
                "a.rs",
                "//! Doc.\nthread_local! {\n    static A: RefCell<u8> = RefCell::new(0);\n}"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_room_takes_the_time_as_an_argument() {
        let code = "//! Doc.\nfn a() { Instant::now(); }";

        assert_eq!(found("gateway/crates/routing/src/a.rs", code).len(), 1);
        assert!(found("gateway/crates/proxy/src/a.rs", code).is_empty());
        assert!(
            found(
                "gateway/crates/routing/src/a.rs",
                &code.replace("Doc.", "Reads a clock because.")
            )
            .is_empty()
        );
    }

    #[test]
    fn sleeping_is_refused_in_tests_alone() {
        let call = concat!("    sle", "ep(SECOND);\n");

        assert_eq!(found("tests/e2e/a.rs", call).len(), 1);
        assert_eq!(
            found("a.rs", &format!("//! Doc.\n#[cfg(test)]\nmod tests {{\n{call}}}")).len(),
            1
        );
        assert!(found("a.rs", &format!("//! Doc.\nfn wait() {{\n{call}}}")).is_empty());
    }

    #[test]
    fn an_ignored_test_needs_a_reason_and_an_issue() {
        let test = |rest: &str| found("tests/e2e/a.rs", &format!("{IGNORED}{rest}"));

        assert_eq!(test("]").len(), 1);
        assert_eq!(test(" = \"slow\"]").len(), 1);
        assert!(test(" = \"needs two machines (#12)\"]").is_empty());
    }

    #[test]
    fn a_loose_end_needs_an_issue() {
        let marker = concat!("TO", "DO");

        assert_eq!(found("a.rs", &format!("//! Doc.\n// {marker}: later")).len(), 1);
        assert!(found("a.rs", &format!("//! Doc.\n// {marker}(#12): later")).is_empty());
        assert!(found("a.rs", &format!("//! Doc.\n// {marker}LIST")).is_empty());
    }

    #[test]
    fn a_package_takes_the_shared_lints() {
        assert_eq!(
            found("gateway/crates/a/Cargo.toml", "[package]\nname = \"a\"\n").len(),
            1
        );
        assert!(
            found(
                "gateway/crates/a/Cargo.toml",
                "[package]\n[lints]\nworkspace = true\n"
            )
            .is_empty()
        );
        assert!(found("gateway/fuzz/Cargo.toml", "[workspace]\n").is_empty());
    }
}
