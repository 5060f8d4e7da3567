//! What is wrong with a plan. `config` resolves names with better hints; this holds for every plan, however made.

use portcullis_model::Problems;

use crate::plan::RoutingPlan;

/// Every problem of the plan.
pub(super) fn problems_of(_plan: &RoutingPlan) -> Problems {
    Problems::new()
}
