//! What an attempt showed, and whether there may be another one.

mod budget;
mod next;
mod outcome;

pub use budget::{Budget, RetryBudgets};
pub use next::{Attempt, AttemptRequest, Next, Reach, next_attempt};
pub use outcome::{Failure, Outcome, TransportKind};
