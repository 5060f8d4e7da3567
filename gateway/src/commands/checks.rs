//! The checks of a credential as people and programs see them: one form for `token`, `cert` and `explain`.

use portcullis_identity::{CertificateCheck, CheckOutcome, TokenCheck};
use serde::Serialize;

/// One check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    check: &'static str,
    #[serde(serialize_with = "word")]
    outcome: CheckOutcome,
    found: String,
    would_pass: String,
    advice: Option<&'static str>,
}

fn word<S: serde::Serializer>(outcome: &CheckOutcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}

impl From<&TokenCheck> for Check {
    fn from(check: &TokenCheck) -> Self {
        Self {
            check: check.name.as_str(),
            outcome: check.outcome,
            found: check.found.clone(),
            would_pass: check.expected.clone(),
            advice: check.advice,
        }
    }
}

impl From<&CertificateCheck> for Check {
    fn from(check: &CertificateCheck) -> Self {
        Self {
            check: check.name.as_str(),
            outcome: check.outcome,
            found: check.found.clone(),
            would_pass: check.expected.clone(),
            advice: check.advice,
        }
    }
}

impl Check {
    /// True for what decides.
    pub(super) fn has_failed(&self) -> bool {
        self.outcome == CheckOutcome::Failed
    }
}

/// A line for each check, with what would pass below one that failed.
pub(super) fn text(checks: &[Check], indent: usize) -> String {
    let width = checks.iter().map(|check| check.check.len()).max().unwrap_or(0);
    let words = checks.iter().map(|check| check.outcome.as_str().len());
    let word = words.max().unwrap_or(0).max(7);
    let mut text = String::new();
    for check in checks {
        let head = format!(
            "{:indent$}{:<word$}  {:<width$}  ",
            "",
            check.outcome.as_str(),
            check.check
        );
        let below = " ".repeat(head.len());
        text.push_str(format!("{head}{}", printable(&check.found)).trim_end());
        text.push('\n');
        if check.has_failed() || check.outcome == CheckOutcome::NotKnown {
            text.push_str(&format!("{below}would pass: {}\n", printable(&check.would_pass)));
            text.extend(check.advice.map(|advice| format!("{below}{advice}\n")));
        }
    }
    text
}

/// A text that was made by whoever made the credential, so that it moves no cursor and paints nothing.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: CheckOutcome, found: &str) -> Check {
        Check {
            check: "audience",
            outcome,
            found: found.to_owned(),
            would_pass: "one of [api]".to_owned(),
            advice: Some("ask the issuer for a token of this API"),
        }
    }

    #[test]
    fn what_would_pass_stands_below_a_failure_and_nowhere_else() {
        let checks = [
            check(CheckOutcome::Passed, "api"),
            check(CheckOutcome::Failed, "web"),
            check(CheckOutcome::Skipped, ""),
        ];

        assert_eq!(
            text(&checks, 2),
            "  passed   audience  api\n  failed   audience  web\n                     would pass: one of [api]\n\
             \x20                    ask the issuer for a token of this API\n  skipped  audience\n"
        );
    }

    #[test]
    fn a_credential_cannot_paint_the_operators_screen() {
        let shown = text(&[check(CheckOutcome::Passed, "a\u{1b}[2Jb\r\nc\u{9b}")], 0);

        assert_eq!(shown.matches('\n').count(), 1);
        assert!(!shown.contains(['\u{1b}', '\r', '\u{9b}']), "{shown:?}");
    }
}
