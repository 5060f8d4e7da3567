//! Why a policy gave no usable decision.

use portcullis_model::Reason;

/// Why a policy gave no usable decision; every one of them denies.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyFault {
    /// The decision is undefined for this input: no rule applied and there is no default.
    #[error("the decision is undefined")]
    Undefined,
    /// The decision is neither a boolean nor a decision object.
    #[error("the decision has the wrong shape: {0}")]
    Shape(String),
    /// The engine reported an error: a built-in refused its arguments, rules conflict, memory ran out.
    #[error("the policy failed: {0}")]
    Engine(String),
    /// The evaluation was stopped at its time budget.
    #[error("the policy took longer than its budget")]
    Timeout,
    /// The engine panicked; the evaluator was thrown away.
    #[error("the policy engine panicked")]
    Panic,
    /// Every evaluator is in use.
    #[error("all {0} evaluators are in use")]
    Exhausted(usize),
}

impl PolicyFault {
    /// The reason a request is refused with.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Undefined => Reason::PolicyUndefined,
            Self::Timeout => Reason::PolicyTimeout,
            Self::Shape(_) | Self::Engine(_) | Self::Panic | Self::Exhausted(_) => Reason::PolicyFault,
        }
    }
}
