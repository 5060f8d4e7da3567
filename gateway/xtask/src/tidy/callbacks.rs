//! The door's callbacks stay short: translate, call one function, translate back.

use super::Finding;

/// Where the callbacks are.
pub(crate) const FILE: &str = "gateway/crates/proxy/src/edge.rs";
/// Lines between a callback's braces.
const MOST: usize = 15;
const START: &str = " ProxyHttp for ";

/// Checks every function of the `ProxyHttp` implementation; the file is rustfmt's, so indentation tells.
pub(crate) fn check(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_inside = false;
    let mut is_found = false;
    let mut function: Option<(usize, &str)> = None;
    let mut body = 0;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("impl") && line.contains(START) {
            is_inside = true;
            is_found = true;
        } else if line == "}" {
            is_inside = false;
        }
        if !is_inside {
            continue;
        }
        if let Some(name) = name_of(line) {
            function = Some((index + 1, name));
        }
        if function.is_some() && line.ends_with('{') && indent(line) == 4 {
            body = index + 1;
        } else if line == "    }"
            && let Some((start, name)) = function.take()
            && index - body > MOST
        {
            let lines = index - body;
            findings.push(Finding::refused(
                FILE,
                start,
                format!("callback `{name}` has {lines} lines, at most {MOST}"),
            ));
        }
    }
    if !is_found {
        findings.push(Finding::refused(
            FILE,
            0,
            "holds no implementation of the proxy's callbacks that tidy can read",
        ));
    }
    findings
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn name_of(line: &str) -> Option<&str> {
    let code = line.strip_prefix("    ")?;
    let code = code.strip_prefix("async ").unwrap_or(code).strip_prefix("fn ")?;
    code.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(lines: usize) -> String {
        format!(
            "impl ProxyHttp for EdgeProxy {{\n    type CTX = Journey;\n\n    async fn request_filter(\n        &self,\n    ) -> bool {{\n{}    }}\n\n    fn new_ctx(&self) -> Journey {{\n        Journey\n    }}\n}}\n\nfn long() {{\n{}}}\n",
            "        step();\n".repeat(lines),
            "    step();\n".repeat(50)
        )
    }

    #[test]
    fn fifteen_lines_are_allowed() {
        assert_eq!(check(&edge(15)), []);
    }

    #[test]
    fn sixteen_lines_are_refused_with_the_callbacks_name() {
        assert_eq!(
            check(&edge(16))
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [format!(
                "{FILE}:4: callback `request_filter` has 16 lines, at most 15"
            )]
        );
    }

    #[test]
    fn a_file_without_callbacks_is_refused() {
        assert_eq!(check("").len(), 1);
    }
}
