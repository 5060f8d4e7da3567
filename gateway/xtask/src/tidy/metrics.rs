//! Metrics as they are named in the rooms against metrics as operators read of them.

use std::collections::BTreeMap;

use super::{Finding, SourceFile, quoted};

/// Where operators read of metrics.
const DOCUMENT: &str = "gateway/docs/operations.md";
/// What every name begins with: ours, and those that Prometheus gives to a process.
const PREFIXES: [&str; 2] = ["portcullis_", "process_"];

/// Compares both ways: no metric untold, none told that is not there.
pub(crate) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let coded: BTreeMap<&str, (&str, usize)> = files
        .iter()
        .filter(|file| names_metrics(file))
        .flat_map(coded)
        .collect();
    let told: BTreeMap<&str, usize> = files
        .iter()
        .filter(|file| file.path == DOCUMENT)
        .flat_map(|file| told(&file.text))
        .collect();
    let untold = coded
        .iter()
        .filter(|(name, _)| !told.contains_key(*name))
        .map(|(name, (file, line))| {
            Finding::refused(file, *line, format!("metric `{name}` is not in {DOCUMENT}"))
        });
    let gone = told
        .iter()
        .filter(|(name, _)| !coded.contains_key(*name))
        .map(|(name, line)| Finding::refused(DOCUMENT, *line, format!("there is no metric `{name}`")));
    untold.chain(gone).collect()
}

/// Each room has one file for its names; others that register metrics import prometheus.
fn names_metrics(file: &SourceFile) -> bool {
    let is_ours =
        file.path.starts_with("gateway/") && file.path.ends_with(".rs") && !file.path.contains("/xtask/");
    is_ours && (file.path.ends_with("/names.rs") || file.text.contains("use prometheus::"))
}

fn coded(file: &SourceFile) -> Vec<(&str, (&str, usize))> {
    let production = file.text.lines().take_while(|line| *line != "#[cfg(test)]");
    production
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(index, line)| {
            let literals = line.split('"').skip(1).step_by(2);
            literals
                .filter(|name| is_name(name))
                .map(move |name| (name, (file.path.as_str(), index + 1)))
        })
        .collect()
}

fn told(text: &str) -> Vec<(&str, usize)> {
    text.lines()
        .enumerate()
        .flat_map(|(index, line)| {
            quoted(line)
                .into_iter()
                .filter(|name| is_name(name))
                .map(move |name| (name, index + 1))
        })
        .collect()
}

fn is_name(word: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix));
    rest.is_some_and(|rest| {
        rest.chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str, document: &str) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&[
            file(
                "gateway/crates/a/src/metrics.rs",
                &format!("use prometheus::Opts; {code}"),
            ),
            file(DOCUMENT, document),
        ])
        .iter()
        .map(ToString::to_string)
        .collect()
    }

    #[test]
    fn a_metric_in_both_is_in_order() {
        assert!(
            found(
                "const A: &str = \"portcullis_a_total\";",
                "| `portcullis_a_total` | what |"
            )
            .is_empty()
        );
    }

    #[test]
    fn an_untold_metric_is_refused() {
        assert_eq!(
            found("const A: &str = \"portcullis_a_total\";", ""),
            [
                "gateway/crates/a/src/metrics.rs:1: metric `portcullis_a_total` is not in gateway/docs/operations.md"
            ]
        );
    }

    #[test]
    fn a_told_metric_that_is_gone_is_refused() {
        assert_eq!(
            found("", "`portcullis_b` `process_b`"),
            [
                "gateway/docs/operations.md:1: there is no metric `portcullis_b`",
                "gateway/docs/operations.md:1: there is no metric `process_b`",
            ]
        );
    }

    #[test]
    fn names_in_tests_and_of_other_things_do_not_count() {
        assert!(
            found(
                "\n#[cfg(test)]\nconst A: &str = \"portcullis_a\";",
                "`portcullis run`"
            )
            .is_empty()
        );
    }
}
