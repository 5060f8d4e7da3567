//! The plan becomes the runtime: everything is compiled aside, equal parts are taken over, all problems are reported.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{ContractId, Guard, LimitId, PolicyId, Problems};

use crate::contract::Contract;
use crate::limit::Limit;
use crate::plan::{AdmissionPlan, ContractPlan, LimitPlan, PolicyPlan};
use crate::policy::Policy;

/// The compiled contracts, limits and policies; immutable, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AdmissionRuntime {
    parts: Arc<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    contracts: BTreeMap<ContractId, Part<ContractPlan, Contract>>,
    limits: BTreeMap<LimitId, Part<LimitPlan, Limit>>,
    policies: BTreeMap<PolicyId, Part<PolicyPlan, Policy>>,
}

/// What was compiled, with the plan it was compiled from.
#[derive(Debug)]
struct Part<P, T> {
    plan: P,
    compiled: Arc<T>,
}

impl AdmissionRuntime {
    /// A contract by its name.
    #[must_use]
    pub fn contract(&self, id: &ContractId) -> Option<Arc<Contract>> {
        self.parts
            .contracts
            .get(id)
            .map(|part| Arc::clone(&part.compiled))
    }

    /// A contract's own guard, which a reference may narrow.
    #[must_use]
    pub fn contract_guard(&self, id: &ContractId) -> Option<Guard> {
        self.parts.contracts.get(id).map(|part| part.plan.guard)
    }

    /// A rate limit by its name.
    #[must_use]
    pub fn limit(&self, id: &LimitId) -> Option<Arc<Limit>> {
        self.parts.limits.get(id).map(|part| Arc::clone(&part.compiled))
    }

    /// A policy by its name.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<Arc<Policy>> {
        self.parts.policies.get(id).map(|part| Arc::clone(&part.compiled))
    }

    /// Every rate limit: what [`LimitTable::sweep`](crate::limit::LimitTable::sweep) keeps.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.parts.limits.values().map(|part| &part.compiled)
    }
}

/// Compiles a plan; parts whose plan did not change are those of `previous`.
///
/// # Errors
/// Returns every problem found when one of them is an error; otherwise the warnings come with the runtime.
pub fn compile(
    plan: &AdmissionPlan,
    previous: Option<&AdmissionRuntime>,
) -> Result<(AdmissionRuntime, Problems), Problems> {
    let mut problems = Problems::new();
    let before = previous.map(|runtime| runtime.parts.as_ref());
    let parts = Parts {
        contracts: compile_parts(
            &plan.contracts,
            |plan| &plan.id,
            before.map(|parts| &parts.contracts),
            Contract::compile_reusing,
            &mut problems,
        ),
        limits: compile_parts(
            &plan.limits,
            |plan| &plan.id,
            before.map(|parts| &parts.limits),
            |plan, _| Limit::compile(plan),
            &mut problems,
        ),
        policies: compile_parts(
            &plan.policies,
            |plan| &plan.id,
            before.map(|parts| &parts.policies),
            |plan, _| Policy::compile(plan),
            &mut problems,
        ),
    };
    problems.into_result(AdmissionRuntime {
        parts: Arc::new(parts),
    })
}

/// Compiles each plan of one kind. A plan equal to the previous one is not even looked at again: its warnings were
/// reported when it was compiled.
fn compile_parts<P, T, Id>(
    plans: &[P],
    id: impl Fn(&P) -> &Id,
    previous: Option<&BTreeMap<Id, Part<P, T>>>,
    compile: impl Fn(&P, Option<&T>) -> Result<(T, Problems), Problems>,
    problems: &mut Problems,
) -> BTreeMap<Id, Part<P, T>>
where
    P: Clone + PartialEq,
    Id: Clone + Ord,
{
    let mut parts = BTreeMap::new();
    for plan in plans {
        let known = previous.and_then(|parts| parts.get(id(plan)));
        let compiled = match known {
            Some(part) if part.plan == *plan => Some(Arc::clone(&part.compiled)),
            Some(_) | None => problems
                .collect(compile(plan, known.map(|part| part.compiled.as_ref())))
                .map(|(part, warnings)| {
                    problems.extend(warnings);
                    Arc::new(part)
                }),
        };
        if let Some(compiled) = compiled {
            parts.insert(
                id(plan).clone(),
                Part {
                    plan: plan.clone(),
                    compiled,
                },
            );
        }
    }
    parts
}
