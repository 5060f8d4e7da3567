//! What Rego text and Wasm modules have in common.

use serde_json::Value;

use super::fault::PolicyFault;
use super::input::Document;

/// A compiled policy program. Evaluators are pooled inside, so that any thread may ask at any time.
pub(super) trait PolicyEngine: Send + Sync {
    /// Evaluates the decision for one input and gives it as it came, [`PolicyFault::Undefined`] when there is none.
    fn evaluate(&self, input: &Document<'_>) -> Result<Value, PolicyFault>;
}
