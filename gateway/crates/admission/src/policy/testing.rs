//! Runs the tests of policy authors (`*_test.rego`) with the engine that decides about live requests.
//!
//! As with `opa test`: every rule whose name starts with `test_` is a test; it passes when it is true. A rule that
//! makes a set or an object (`test_x[case]`) passes when it has at least one element and every value is true.
//! `todo_test_x` is skipped. A test sees the modules, the data and whatever it sets itself with `with`.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{Origin, Problems};
use regorus::Value;
use serde::Serialize;

use super::budget::Budget;
use super::rego;
use crate::plan::RegoModule;

/// A test may ask many decisions; one that takes longer than this hangs.
const TEST_BUDGET: Duration = Duration::from_secs(1);

/// What all tests together found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TestReport {
    /// The tests in the order of their files and lines.
    pub tests: Vec<TestResult>,
}

/// What one test found.
#[derive(Clone, Debug, Serialize)]
pub struct TestResult {
    /// Its file, as named by the operator.
    pub file: Arc<str>,
    /// Its line, one-based.
    pub line: u32,
    /// Its full path, as in `data.portcullis.rbac_test.test_editor_may_write`.
    pub name: String,
    /// What it found.
    pub verdict: TestVerdict,
    /// How long it took.
    pub micros: u64,
    /// What it printed.
    pub prints: Vec<String>,
}

/// Whether a test passed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TestVerdict {
    /// It is true.
    Pass,
    /// It is undefined, false or empty.
    Fail,
    /// It could not be evaluated.
    Error(String),
    /// Its name says that it is not to be run yet.
    Skipped,
}

impl TestReport {
    /// How many tests ended in this way.
    #[must_use]
    pub fn count(&self, verdict: impl Fn(&TestVerdict) -> bool) -> usize {
        self.tests.iter().filter(|test| verdict(&test.verdict)).count()
    }

    /// True when at least one test passed and none failed or could not be evaluated.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.count(|verdict| *verdict == TestVerdict::Pass) > 0
            && self.count(|verdict| matches!(verdict, TestVerdict::Fail | TestVerdict::Error(_))) == 0
    }
}

/// One line per test that did not pass, then the counts.
impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for test in self.tests.iter().filter(|test| test.verdict != TestVerdict::Pass) {
            writeln!(f, "{test}")?;
        }
        let total = self.tests.len();
        let passed = self.count(|verdict| *verdict == TestVerdict::Pass);
        writeln!(f, "PASS: {passed}/{total}")?;
        for (label, count) in [
            ("FAIL", self.count(|verdict| *verdict == TestVerdict::Fail)),
            (
                "ERROR",
                self.count(|verdict| matches!(verdict, TestVerdict::Error(_))),
            ),
            ("SKIPPED", self.count(|verdict| *verdict == TestVerdict::Skipped)),
        ] {
            if count > 0 {
                writeln!(f, "{label}: {count}/{total}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            name,
            micros,
            ..
        } = self;
        let label = match &self.verdict {
            TestVerdict::Pass => "PASS",
            TestVerdict::Fail => "FAIL",
            TestVerdict::Error(_) => "ERROR",
            TestVerdict::Skipped => "SKIPPED",
        };
        write!(f, "{file}:{line}: {name}: {label} ({micros} us)")?;
        if let TestVerdict::Error(error) = &self.verdict {
            write!(f, ": {error}")?;
        }
        for print in &self.prints {
            write!(f, "\n  {print}")?;
        }
        Ok(())
    }
}

/// Runs every test in these modules; `policy` is where problems are reported that have no place in a file.
///
/// # Errors
/// Returns the problems that would also keep the modules from being a policy.
pub fn run_tests(
    policy: &Origin,
    modules: &[RegoModule],
    data: &serde_json::Value,
) -> Result<TestReport, Problems> {
    let prepared = rego::prepare_tests(policy, modules, data, TEST_BUDGET)?;
    let mut report = TestReport::default();
    for module in &prepared.modules {
        let mut seen = BTreeSet::new();
        for rule in &module.rules {
            let own_name = rule.path.get(module.package.len()).map_or("", String::as_str);
            let is_todo = own_name.starts_with("todo_");
            if !is_todo && !own_name.starts_with("test_") {
                continue;
            }
            let is_first = seen.insert(&rule.path);
            if !is_first && rule.is_partial {
                continue;
            }
            let name = rule.path.join(".");
            let stopwatch = Budget::start(TEST_BUDGET);
            let (verdict, prints) = if is_todo {
                (TestVerdict::Skipped, Vec::new())
            } else if is_first {
                run_test(prepared.engine.clone(), &name)
            } else {
                (
                    TestVerdict::Error("another test in this file has the same name".into()),
                    Vec::new(),
                )
            };
            report.tests.push(TestResult {
                file: module.file.as_str().into(),
                line: rule.place.line,
                name,
                verdict,
                micros: stopwatch.micros(),
                prints,
            });
        }
    }
    Ok(report)
}

fn run_test(mut engine: regorus::Engine, name: &str) -> (TestVerdict, Vec<String>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let value = engine.eval_rule(name.to_owned());
        (value, engine.take_prints().unwrap_or_default())
    }));
    match outcome {
        Ok((Ok(value), prints)) => (
            if is_passed(&value) {
                TestVerdict::Pass
            } else {
                TestVerdict::Fail
            },
            prints,
        ),
        Ok((Err(error), prints)) => (TestVerdict::Error(rego::one_line(&error.to_string())), prints),
        Err(_) => (TestVerdict::Error("the engine panicked".into()), Vec::new()),
    }
}

fn is_passed(value: &Value) -> bool {
    match value {
        Value::Bool(is_true) => *is_true,
        Value::Object(cases) => !cases.is_empty() && cases.values().all(|case| *case == Value::Bool(true)),
        Value::Set(cases) => cases.iter().next().is_some(),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Undefined => false,
    }
}

#[cfg(test)]
#[path = "testing_tests.rs"]
mod tests;
