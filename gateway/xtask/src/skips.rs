//! Which tests did not run, told once all others have: a line in the midst of a thousand is seen by nobody.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the file to which a test that skips adds a line: how many, which, and why, with tabs in between.
const VARIABLE: &str = "PORTCULLIS_SKIPPED";

/// Where the tests of one run say that they skip.
pub(crate) struct Skips {
    file: PathBuf,
}

impl Skips {
    /// For tests that the command runs.
    pub(crate) fn of(command: &mut Command, root: &Path) -> io::Result<Self> {
        let folder = root.join("target");
        fs::create_dir_all(&folder)?;
        // Two runs at a time count apart.
        let file = folder.join(format!("skipped-{}.txt", std::process::id()));
        fs::write(&file, "")?;
        command.env(VARIABLE, &file);
        Ok(Self { file })
    }

    /// What the tests said.
    pub(crate) fn told(self) -> io::Result<String> {
        let said = fs::read_to_string(&self.file)?;
        fs::remove_file(&self.file)?;
        Ok(summary(&said))
    }
}

/// Counts what is said for one reason together; a line that says no number counts as one.
fn summary(said: &str) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        let (count, reason) = line.split_once('\t').unwrap_or(("", line));
        *reasons.entry(reason).or_default() += count.parse().unwrap_or(1);
    }
    let all: usize = reasons.values().sum();
    if all == 0 {
        return "no test was skipped for want of a tool".to_owned();
    }
    let mut text = format!("{all} SKIPPED, in whole or in part:");
    for (reason, count) in reasons {
        let _ = write!(text, "\n  {count:>4}  {}", reason.replace('\t', ": "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_counted_by_reason() {
        let said = "2\tconformance\tno h2spec\n1\ta real SPIRE\tno agent\n1\ta real SPIRE\tno agent\n";

        assert_eq!(
            summary(said),
            "4 SKIPPED, in whole or in part:\n     2  a real SPIRE: no agent\n     2  conformance: no h2spec"
        );
        assert_eq!(summary(""), "no test was skipped for want of a tool");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_no_test_that_ran() {
        assert_eq!(
            summary("something else\n\n"),
            "1 SKIPPED, in whole or in part:\n     1  something else"
        );
    }

    #[test]
    fn the_tests_are_told_where_and_what_they_say_is_read_once() {
        let root = std::env::temp_dir().join(format!("portcullis-skips-{}", std::process::id()));
        let mut command = Command::new("true");

        let skips = Skips::of(&mut command, &root).unwrap();
        let file = command.get_envs().next().and_then(|(name, value)| {
            assert_eq!(name, VARIABLE);
            value.map(PathBuf::from)
        });
        let file = file.unwrap();
        fs::write(&file, "1\ta\tb\n").unwrap();

        assert!(skips.told().unwrap().ends_with("1  a: b"));
        assert!(!file.exists());
        fs::remove_dir_all(root).unwrap();
    }
}
