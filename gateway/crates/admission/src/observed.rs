//! A verdict that was reached but not obeyed.

use portcullis_model::{Origin, Reason};
use serde::Serialize;

/// A guard in observe mode that would have refused the request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Observed {
    /// The guard's kind and name, as in `policy:next`, `contract:orders` or `limit:per_tenant`.
    pub guard: String,
    /// Where the guard is referred to.
    pub origin: Origin,
    /// Why it would have refused.
    pub reason: Reason,
    /// What it would have said; for the record and `explain`, never for the client.
    pub text: Option<String>,
}
