//! Who listens while a token is judged: traffic, which stops at the first refusal, or an examination, which writes
//! every check down and goes on.

use super::examination::{CheckName, CheckOutcome, TokenCheck};
use super::token::TokenRefusal;

/// Hears the answer of every check.
pub(crate) trait Watch {
    /// One check was asked. Gives its answer back; `None` for a refusal after which the listener wants to go on.
    ///
    /// `expected` says what would pass, `found` what stood there; both are asked only when somebody will read them.
    fn saw<T>(
        &mut self,
        name: CheckName,
        answer: Result<T, TokenRefusal>,
        expected: impl FnOnce() -> String,
        found: impl FnOnce() -> String,
    ) -> Result<Option<T>, TokenRefusal>;

    /// One check could not be asked, because an earlier one failed.
    fn skipped(&mut self, name: CheckName);

    /// The verdict over all checks, of which `proven` is the sum.
    fn conclude<T>(&mut self, proven: Option<T>) -> Result<T, TokenRefusal>;
}

/// Traffic: the first refusal ends it, and says what would have passed.
pub(crate) struct Traffic;

impl Watch for Traffic {
    fn saw<T>(
        &mut self,
        _: CheckName,
        answer: Result<T, TokenRefusal>,
        expected: impl FnOnce() -> String,
        _: impl FnOnce() -> String,
    ) -> Result<Option<T>, TokenRefusal> {
        answer
            .map(Some)
            .map_err(|refusal| refusal.with_expected(&expected()))
    }

    fn skipped(&mut self, _: CheckName) {}

    fn conclude<T>(&mut self, proven: Option<T>) -> Result<T, TokenRefusal> {
        proven.ok_or_else(TokenRefusal::unproven)
    }
}

/// What to do when the keys are elsewhere.
const KEYS_ELSEWHERE: &str = "ask where they are: `cert list --admin URL` shows whether a running gateway has them, and it judges the live request";

/// An examination: every check is written down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Examiner {
    pub(crate) checks: Vec<TokenCheck>,
    /// What traffic would have been told.
    first: Option<TokenRefusal>,
    /// Nobody brought the keys or asked for them here: their absence is no verdict.
    pub(crate) keys_are_elsewhere: bool,
    /// What traffic would be told as long as they are missing.
    unknown: Option<TokenRefusal>,
}

impl Watch for Examiner {
    fn saw<T>(
        &mut self,
        name: CheckName,
        answer: Result<T, TokenRefusal>,
        expected: impl FnOnce() -> String,
        found: impl FnOnce() -> String,
    ) -> Result<Option<T>, TokenRefusal> {
        let mut check = TokenCheck {
            name,
            outcome: CheckOutcome::Passed,
            expected: expected(),
            found: found(),
            advice: None,
        };
        let answer = match answer {
            Ok(value) => Some(value),
            Err(refusal) => {
                let is_unknown = self.keys_are_elsewhere && name == CheckName::Keys;
                (check.outcome, check.advice) = match is_unknown {
                    true => (CheckOutcome::NotKnown, Some(KEYS_ELSEWHERE)),
                    false => (CheckOutcome::Failed, Some(name.advice())),
                };
                check.found = match check.found.as_str() {
                    "" => refusal.check.to_string(),
                    found => format!("{found}: {}", refusal.check),
                };
                let kept = if is_unknown {
                    &mut self.unknown
                } else {
                    &mut self.first
                };
                kept.get_or_insert_with(|| refusal.with_expected(&check.expected));
                None
            }
        };
        self.checks.push(check);
        Ok(answer)
    }

    fn skipped(&mut self, name: CheckName) {
        self.checks.push(TokenCheck {
            name,
            outcome: CheckOutcome::Skipped,
            expected: String::new(),
            found: String::new(),
            advice: None,
        });
    }

    fn conclude<T>(&mut self, proven: Option<T>) -> Result<T, TokenRefusal> {
        // What failed refuses the token whatever the keys are.
        match (self.first.as_ref().or(self.unknown.as_ref()), proven) {
            (None, Some(proven)) => Ok(proven),
            (Some(first), _) => Err(first.clone()),
            (None, None) => Err(TokenRefusal::unproven()),
        }
    }
}
