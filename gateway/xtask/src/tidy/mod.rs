//! The rules of the house that no compiler knows, all reported at once with file and line.
//!
//! What the rules say is read from where people read it: floors and wrappers from ARCHITECTURE.md, bans and
//! licences from deny.toml, stages and reasons from the model's source. A rule that cannot find its text is
//! itself a finding, so that text and truth cannot part unseen.

mod dependencies;
mod edges;
mod house;
mod licence;
mod links;
mod metrics;
mod parts;
mod paths;
mod promises;
mod sources;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Weight {
    /// The run fails.
    Refused,
    /// Only reported.
    Warned,
}

/// One rule broken in one place.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Finding {
    /// From the workspace's folder.
    pub file: String,
    /// Counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// Its weight.
    pub weight: Weight,
    /// What is wrong and what to do.
    pub text: String,
}

impl Finding {
    /// A finding that fails the run.
    pub(crate) fn refused(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            weight: Weight::Refused,
            text: text.into(),
        }
    }

    /// A finding that is only reported.
    pub(crate) fn warned(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            weight: Weight::Warned,
            ..Self::refused(file, line, text)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        match self.weight {
            Weight::Refused => write!(f, ": {}", self.text),
            Weight::Warned => write!(f, ": warning: {}", self.text),
        }
    }
}

/// A text file of the work tree.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// From the workspace's folder, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Checks everything and says what was found.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut findings = check(root);
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    let refused = findings
        .iter()
        .filter(|finding| finding.weight == Weight::Refused)
        .count();
    if refused > 0 {
        eprintln!("tidy: {refused} refused, {} warned", findings.len() - refused);
        return ExitCode::FAILURE;
    }
    println!("tidy: in order ({} warned)", findings.len());
    ExitCode::SUCCESS
}

fn check(root: &Path) -> Vec<Finding> {
    let files = read_tree(root);
    let mut findings = Vec::new();
    let architecture = text_of(&files, house::FILE);
    let deny = text_of(&files, dependencies::FILE);
    let house = house::parse(architecture, &mut findings);
    findings.extend(edges::check(root, &house));
    findings.extend(dependencies::check(root, deny, &house));
    findings.extend(sources::check(&files));
    findings.extend(paths::check(
        text_of(&files, paths::REASONS),
        text_of(&files, paths::DOCUMENT),
    ));
    findings.extend(paths::undecided(text_of(&files, paths::REASONS), &files));
    findings.extend(metrics::check(&files));
    findings.extend(promises::check(&files));
    findings.extend(links::check(&files, &|path| root.join(path).exists()));
    findings
}

fn text_of<'a>(files: &'a [SourceFile], path: &str) -> &'a str {
    files
        .iter()
        .find(|file| file.path == path)
        .map_or("", |file| &file.text)
}

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "corpus", "artifacts"];
/// What the rules read.
const READ: &[&str] = &["rs", "md", "toml", "rego", "yaml", "yml"];

fn read_tree(root: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if !SKIPPED.iter().any(|skipped| name == *skipped) {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|extension| READ.iter().any(|read| extension == *read))
                && let (Ok(inside), Ok(text)) = (path.strip_prefix(root), fs::read_to_string(&path))
            {
                let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
                files.push(SourceFile {
                    path: parts.join("/"),
                    text,
                });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The cells of a Markdown table's row; `None` for anything else.
fn table_row(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// The words between single backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_file_line_and_text() {
        assert_eq!(
            Finding::refused("a.rs", 3, "too long").to_string(),
            "a.rs:3: too long"
        );
        assert_eq!(
            Finding::warned("a.rs", 0, "long").to_string(),
            "a.rs: warning: long"
        );
    }

    #[test]
    fn a_table_row_gives_its_cells() {
        assert_eq!(table_row("| a | `b`, `c` |").unwrap(), ["a", "`b`, `c`"]);
        assert_eq!(table_row("no table"), None);
        assert_eq!(quoted("`b`, `c` and d"), ["b", "c"]);
    }
}
