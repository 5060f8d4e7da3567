//! Relative links of the documents lead somewhere.

use super::{Finding, SourceFile};

/// Checks every Markdown file; `exists` is asked with a path from the workspace's folder.
pub(crate) fn check(files: &[SourceFile], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let mut is_code = false;
        for (index, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            if is_code {
                continue;
            }
            for target in targets(line) {
                match resolve(&file.path, target) {
                    Some(path) if exists(&path) => {}
                    Some(_) => findings.push(Finding::refused(
                        &file.path,
                        index + 1,
                        format!("\"{target}\" leads nowhere"),
                    )),
                    None => findings.push(Finding::refused(
                        &file.path,
                        index + 1,
                        format!("\"{target}\" leads outside"),
                    )),
                }
            }
        }
    }
    findings
}

/// The relative targets of a line's links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?;
        let path = target.split('#').next()?;
        let is_relative = !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:");
        is_relative.then_some(path)
    })
}

/// The target from the workspace's folder; `None` when it leaves it.
fn resolve(file: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let file = SourceFile {
            path: "gateway/docs/a.md".to_owned(),
            text: text.to_owned(),
        };
        check(&[file], &|path| {
            ["README.md", "gateway/docs/b.md"].contains(&path)
        })
        .iter()
        .map(ToString::to_string)
        .collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_in_order() {
        assert!(
            found("[b](b.md#part), [up](../../README.md), [net](https://example.org/x), [here](#part)")
                .is_empty()
        );
    }

    #[test]
    fn links_that_lead_nowhere_or_outside_are_refused() {
        assert_eq!(
            found("\n[c](c.md)"),
            ["gateway/docs/a.md:2: \"c.md\" leads nowhere"]
        );
        assert_eq!(
            found("[x](../../../x.md)"),
            ["gateway/docs/a.md:1: \"../../../x.md\" leads outside"]
        );
    }

    #[test]
    fn code_is_not_read() {
        assert!(found("```sh\necho [c](c.md)\n```").is_empty());
    }
}
