//! The request's path as it is coded against the path as it is told: every stage has its section, every reason
//! its row with the same stage and status.

use super::{Finding, SourceFile, quoted, table_row};

/// Where stages and reasons are coded.
pub(crate) const REASONS: &str = "gateway/crates/model/src/reason.rs";
/// Where they are told.
pub(crate) const DOCUMENT: &str = "gateway/docs/life-of-a-request.md";

/// The statuses that `Reason` uses, by their constants' names.
const STATUSES: &[(&str, &str)] = &[
    ("BAD_REQUEST", "400"),
    ("UNAUTHORIZED", "401"),
    ("FORBIDDEN", "403"),
    ("NOT_FOUND", "404"),
    ("METHOD_NOT_ALLOWED", "405"),
    ("NOT_ACCEPTABLE", "406"),
    ("REQUEST_TIMEOUT", "408"),
    ("CONFLICT", "409"),
    ("GONE", "410"),
    ("LENGTH_REQUIRED", "411"),
    ("PAYLOAD_TOO_LARGE", "413"),
    ("URI_TOO_LONG", "414"),
    ("UNSUPPORTED_MEDIA_TYPE", "415"),
    ("EXPECTATION_FAILED", "417"),
    ("MISDIRECTED_REQUEST", "421"),
    ("UNPROCESSABLE_ENTITY", "422"),
    ("UPGRADE_REQUIRED", "426"),
    ("TOO_MANY_REQUESTS", "429"),
    ("REQUEST_HEADER_FIELDS_TOO_LARGE", "431"),
    ("INTERNAL_SERVER_ERROR", "500"),
    ("NOT_IMPLEMENTED", "501"),
    ("BAD_GATEWAY", "502"),
    ("SERVICE_UNAVAILABLE", "503"),
    ("GATEWAY_TIMEOUT", "504"),
    ("HTTP_VERSION_NOT_SUPPORTED", "505"),
];

/// A stage's or a reason's row in one of the two texts.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Row {
    line: usize,
    code: String,
    stage: String,
    status: String,
}

/// Compares the code with the document.
pub(crate) fn check(code: &str, document: &str) -> Vec<Finding> {
    let stages = coded_stages(code);
    let mut findings = Vec::new();
    let coded = coded_reasons(code, &stages, &mut findings);
    if stages.is_empty() || coded.is_empty() {
        findings.push(Finding::refused(
            REASONS,
            0,
            "holds no stages or no reasons that tidy can read",
        ));
    }
    for (line, _, stage) in &stages {
        let has_section = document
            .lines()
            .any(|line| line.starts_with("## ") && quoted(line).contains(&stage.as_str()));
        if !has_section {
            findings.push(Finding::refused(
                REASONS,
                *line,
                format!("stage `{stage}` has no section in {DOCUMENT}"),
            ));
        }
    }
    let told = told_reasons(document);
    for row in &coded {
        match told.iter().find(|other| other.code == row.code) {
            None => findings.push(Finding::refused(
                REASONS,
                row.line,
                format!(
                    "reason `{}` has no row `{}` | `{}` | {} in {DOCUMENT}",
                    row.code, row.code, row.stage, row.status
                ),
            )),
            Some(other) if other.stage != row.stage || other.status != row.status => {
                findings.push(Finding::refused(
                    DOCUMENT,
                    other.line,
                    format!("`{}` is decided by `{}` with {}", row.code, row.stage, row.status),
                ))
            }
            Some(_) => {}
        }
    }
    for other in told
        .iter()
        .filter(|other| !coded.iter().any(|row| row.code == other.code))
    {
        findings.push(Finding::refused(
            DOCUMENT,
            other.line,
            format!("there is no reason `{}`", other.code),
        ));
    }
    findings
}

/// A reason that nothing decides is a promise that nobody keeps.
pub(crate) fn undecided(code: &str, files: &[SourceFile]) -> Vec<Finding> {
    let is_read = |file: &&SourceFile| {
        file.path.starts_with("gateway/")
            && file.path.ends_with(".rs")
            && !file.path.contains("/xtask/")
            && file.path != REASONS
    };
    let texts: Vec<&str> = files
        .iter()
        .filter(is_read)
        .map(|file| file.text.as_str())
        .collect();
    lines_of(code, "reasons! {")
        .filter_map(|(line, text)| {
            let (name, _) = text.split_once(" = ").filter(|_| text.ends_with(';'))?;
            let is_decided = texts
                .iter()
                .any(|text| is_named(text, &format!("Reason::{name}")));
            (!is_decided).then(|| {
                Finding::refused(
                    REASONS,
                    line,
                    format!("nothing decides `{name}`: build it or remove it"),
                )
            })
        })
        .collect()
}

/// True when the name stands in the text as a whole word.
fn is_named(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let after = text.get(at + name.len()..).unwrap_or_default();
        !after.starts_with(|next: char| next.is_alphanumeric() || next == '_')
    })
}

/// Line, name and code of every stage: lines `Name = "code",` of the `stages!` call.
fn coded_stages(code: &str) -> Vec<(usize, String, String)> {
    lines_of(code, "stages! {")
        .filter_map(|(line, text)| {
            let (name, rest) = text.split_once(" = \"")?;
            let code = rest.strip_suffix("\",")?;
            Some((line, name.to_owned(), code.to_owned()))
        })
        .collect()
}

/// Every reason: lines `Name = Stage, STATUS, "code", "title";` of the `reasons!` call.
fn coded_reasons(code: &str, stages: &[(usize, String, String)], findings: &mut Vec<Finding>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (line, text) in lines_of(code, "reasons! {") {
        let Some((_, rest)) = text.split_once(" = ").filter(|_| text.ends_with(';')) else {
            continue;
        };
        let mut parts = rest.splitn(4, ", ");
        let (Some(stage), Some(status), Some(code)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let code = code.trim_matches('"').to_owned();
        let stage = stages
            .iter()
            .find(|(_, name, _)| name == stage)
            .map(|(_, _, code)| code.clone());
        let status = STATUSES
            .iter()
            .find(|(name, _)| *name == status)
            .map(|(_, number)| (*number).to_owned());
        match (stage, status) {
            (Some(stage), Some(status)) => rows.push(Row {
                line,
                code,
                stage,
                status,
            }),
            (None, _) => findings.push(Finding::refused(
                REASONS,
                line,
                format!("`{code}` names no stage"),
            )),
            (_, None) => findings.push(Finding::refused(
                REASONS,
                line,
                format!("tidy does not know the status of `{code}`"),
            )),
        }
    }
    rows
}

fn lines_of<'a>(code: &'a str, start: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .skip_while(move |(_, line)| *line != start)
        .skip(1)
        .take_while(|(_, line)| *line != "}")
        .map(|(line, text)| (line, text.trim()))
}

/// Rows `| `code` | `stage` | status | … |` of the document's table below "Reasons".
fn told_reasons(document: &str) -> Vec<Row> {
    document
        .lines()
        .enumerate()
        .skip_while(|(_, line)| !line.starts_with("## Reasons"))
        .filter_map(|(index, line)| {
            let cells = table_row(line)?;
            let [code, stage, status, ..] = cells.as_slice() else {
                return None;
            };
            let code = quoted(code).first().copied()?.to_owned();
            let stage = quoted(stage).first().copied().unwrap_or_default().to_owned();
            Some(Row {
                line: index + 1,
                code,
                stage,
                status: (*status).to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "\
stages! {
    /// The bytes.
    Frame = \"frame\",
    /// Who.
    Authenticate = \"authenticate\",
}

reasons! {
    FrameMalformed = Frame, BAD_REQUEST, \"frame-malformed\", \"The bytes, all of them, are not a request\";

    CredentialsMissing = Authenticate, UNAUTHORIZED, \"credentials-missing\", \"Credentials are required\";
}
";

    const DOCUMENT_TEXT: &str = "\
# The path
## `frame`: bytes
## 5. `authenticate`: who
## Reasons
| code | stage | status | what to do |
|---|---|---|---|
| `frame-malformed` | `frame` | 400 | Look at the client. |
| `credentials-missing` | `authenticate` | 401 | Send a token. |
";

    #[test]
    fn text_and_code_that_agree_are_in_order() {
        assert_eq!(check(CODE, DOCUMENT_TEXT), []);
    }

    #[test]
    fn a_stage_without_a_section_is_refused() {
        let findings = check(CODE, &DOCUMENT_TEXT.replace("## `frame`", "## bytes"));

        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 3);
    }

    #[test]
    fn a_reason_without_a_row_is_refused() {
        let findings = check(
            CODE,
            &DOCUMENT_TEXT.replace(
                "| `credentials-missing` | `authenticate` | 401 | Send a token. |\n",
                "",
            ),
        );

        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].file.as_str(), findings[0].line), (REASONS, 11));
    }

    #[test]
    fn a_wrong_status_and_a_wrong_stage_are_refused() {
        for (right, wrong) in [("| 401 |", "| 403 |"), ("| `authenticate` |", "| `frame` |")] {
            let findings = check(CODE, &DOCUMENT_TEXT.replace(right, wrong));

            assert_eq!(findings.len(), 1, "{wrong}");
            assert_eq!(
                findings[0].to_string(),
                format!("{DOCUMENT}:8: `credentials-missing` is decided by `authenticate` with 401")
            );
        }
    }

    #[test]
    fn a_row_without_a_reason_is_refused() {
        let findings = check(
            CODE,
            &format!("{DOCUMENT_TEXT}| `gone` | `frame` | 400 | Nothing. |\n"),
        );

        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 9);
    }

    #[test]
    fn a_reason_that_nothing_decides_is_refused() {
        let file = |text: &str| SourceFile {
            path: "gateway/crates/a/src/a.rs".to_owned(),
            text: text.to_owned(),
        };
        let whole = file("Reason::FrameMalformed; Reason::CredentialsMissing");
        let part = file("Reason::FrameMalformedness; Reason::CredentialsMissing");

        assert_eq!(undecided(CODE, &[whole]), []);
        assert_eq!(
            undecided(CODE, &[part])
                .iter()
                .map(|finding| finding.line)
                .collect::<Vec<_>>(),
            [9]
        );
    }

    #[test]
    fn a_source_that_cannot_be_read_is_refused() {
        assert_eq!(check("", "").len(), 1);
    }
}
