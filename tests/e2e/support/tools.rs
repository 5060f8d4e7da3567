//! Real servers and conformance clients that a machine may have.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A program: on the path, where the environment says, or beside the checkout.
pub fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .collect();
    folders.extend(std::env::var_os("PORTCULLIS_TEST_TOOLS").map(PathBuf::from));
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tools/linux-amd64"));
    let mut paths = folders.into_iter().map(|folder| folder.join(program));
    paths
        .find(|path| path.is_file())
        .map(|path| fs::canonicalize(path).unwrap())
}

/// Says that so many tests do not run, in whole or in part: on standard error, and where `cargo xtask test` counts.
///
/// Not by a macro that prints: of a test that passes, what those print is shown to nobody.
pub fn skip(tests: usize, which: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {tests} of {which}: {why}");
    if let Some(file) = std::env::var_os("PORTCULLIS_SKIPPED") {
        note(Path::new(&file), tests, which, why);
    }
}

/// One write, so that lines of tests that run side by side do not mix.
fn note(file: &Path, tests: usize, which: &str, why: &str) {
    let line = format!("{tests}\t{which}\t{why}\n");
    let mut file = fs::File::options().create(true).append(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

#[test]
fn tests_that_are_skipped_are_noted_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skipped");

    note(&file, 2, "HTTP/2 conformance", "no h2spec");
    note(&file, 1, "a real SPIRE", "no spire-agent");

    let said = fs::read_to_string(&file).unwrap();
    assert_eq!(
        said,
        "2\tHTTP/2 conformance\tno h2spec\n1\ta real SPIRE\tno spire-agent\n"
    );
}
