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

    /// Every policy, in the order of their names.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.parts.policies.values().map(|part| &part.compiled)
    }

    /// How many decisions each policy remembers, of those that remember any.
    pub fn remembered(&self) -> impl Iterator<Item = (&PolicyId, usize)> {
        self.policies()
            .filter_map(|policy| policy.remembered().map(|entries| (policy.id(), entries)))
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use portcullis_model::{Mode, Origin};
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::{KeyPart, UnknownOperations};

    fn contract(name: &str, document: Value) -> ContractPlan {
        ContractPlan {
            id: ContractId::from(name),
            origin: Origin::of(format!("contracts.{name}")),
            file: "api.yaml".into(),
            document: Arc::new(document),
            guard: Guard::ENFORCE,
            unknown_operations: UnknownOperations::Deny,
        }
    }

    fn limit(name: &str, burst: u32) -> LimitPlan {
        LimitPlan {
            id: LimitId::from(name),
            origin: Origin::of(format!("rate_limits.{name}")),
            key: vec![KeyPart::ClientAddress],
            count: NonZeroU32::MIN,
            per: Duration::from_secs(1),
            burst: NonZeroU32::new(burst).unwrap(),
            guard: Guard::ENFORCE,
        }
    }

    fn plan() -> AdmissionPlan {
        let document = json!({"openapi": "3.1.0", "info": {}, "paths": {"/a": {"get": {}}}});
        AdmissionPlan {
            contracts: vec![contract("c", document)],
            limits: vec![limit("l", 1)],
            policies: Vec::new(),
        }
    }

    #[test]
    fn everything_is_found_by_its_name_and_nothing_else_is() {
        let (runtime, warnings) = compile(&plan(), None).unwrap();

        assert!(warnings.is_empty());
        assert!(runtime.contract(&ContractId::from("c")).is_some());
        assert!(runtime.limit(&LimitId::from("l")).is_some());
        assert!(runtime.contract(&ContractId::from("l")).is_none());
        assert!(runtime.policy(&PolicyId::from("p")).is_none());
        assert_eq!(runtime.limits().count(), 1);
    }

    #[test]
    fn equal_parts_are_taken_over_and_changed_ones_compiled() {
        let (before, _) = compile(&plan(), None).unwrap();
        let mut changed = plan();
        changed.limits = vec![limit("l", 2)];

        let (after, _) = compile(&changed, Some(&before)).unwrap();

        let contract = |runtime: &AdmissionRuntime| runtime.contract(&ContractId::from("c")).unwrap();
        let limit = |runtime: &AdmissionRuntime| runtime.limit(&LimitId::from("l")).unwrap();
        assert!(Arc::ptr_eq(&contract(&before), &contract(&after)));
        assert!(!Arc::ptr_eq(&limit(&before), &limit(&after)));
    }

    #[test]
    fn a_change_of_mode_alone_takes_effect() {
        let (before, _) = compile(&plan(), None).unwrap();
        let mut observed = plan();
        observed.contracts.iter_mut().for_each(|one| {
            one.guard = Guard {
                mode: Mode::Observe,
                share: 1,
            }
        });

        let (after, _) = compile(&observed, Some(&before)).unwrap();

        assert_eq!(
            after.contract_guard(&ContractId::from("c")).unwrap().mode,
            Mode::Observe
        );
        assert_eq!(
            after.contract(&ContractId::from("c")).unwrap().guard().mode,
            Mode::Observe
        );
    }

    #[test]
    fn problems_of_all_parts_are_told_at_once() {
        let mut bad = plan();
        bad.contracts.push(contract("d", json!({})));
        bad.limits.push(LimitPlan {
            key: Vec::new(),
            ..limit("m", 1)
        });

        let problems = compile(&bad, None).unwrap_err();

        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["contract-version", "limit-key"]);
    }
}
