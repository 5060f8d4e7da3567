//! What is remembered, and what never is.

use std::cell::Cell;

use http::HeaderValue;

use portcullis_model::PolicyId;
use serde_json::{Value, json};

use super::*;
use crate::compile::{AdmissionRuntime, compile};
use crate::plan::{AdmissionPlan, PolicySource, RegoModule};
use crate::policy::fault::PolicyFault;
use crate::policy::test_facts::{Facts, compiled, plan, policy, rego_plan, user};
use crate::policy::{Ask, PolicyInput};

fn recall(policy: &crate::policy::Policy, facts: &Facts) -> Recall {
    policy.ask(&facts.input(), Ask::Remembering).1
}

#[test]
fn the_same_facts_are_evaluated_once_and_other_facts_again() {
    let policy = policy("decision if input.principal.tenant == \"acme\"");
    let of = |tenant| Facts::by(user("alice", Some(tenant), &[], &[], None));

    let first = policy.ask(&of("acme").input(), Ask::Remembering);
    let second = policy.ask(&of("acme").input(), Ask::Remembering);
    let other = policy.ask(&of("globex").input(), Ask::Remembering);

    assert_eq!(
        (first.1, second.1, other.1),
        (
            Recall::Miss { evicted: 0 },
            Recall::Hit,
            Recall::Miss { evicted: 0 }
        )
    );
    assert!(first.0.unwrap().allow && second.0.unwrap().allow);
    assert_eq!(other.0.unwrap_err(), PolicyFault::Undefined);
}

#[test]
fn who_asks_does_not_matter_to_a_policy_that_does_not_ask_who() {
    let policy = policy("decision if input.principal.tenant == \"acme\"");
    let alice = Facts::by(user("alice", Some("acme"), &["a"], &[], None));
    let bob = Facts::by(user("bob", Some("acme"), &["b"], &[], Some("EU")));

    assert_eq!(recall(&policy, &alice), Recall::Miss { evicted: 0 });
    assert_eq!(recall(&policy, &bob), Recall::Hit);
}

#[test]
fn claims_are_keyed_by_the_part_that_is_read() {
    let policy = policy("decision if input.principal.claims.nested.list[1] == \"two\"");
    let mut facts = Facts::by(user("alice", None, &[], &[], None));
    assert_eq!(recall(&policy, &facts), Recall::Miss { evicted: 0 });

    let mut other_claims = facts.clone();
    let mut attributes = (*other_claims.principal.attributes).clone();
    attributes.claims["jti"] = "another token".into();
    attributes.claims["nested"]["list"][0] = 7.into();
    other_claims.principal.attributes = Arc::new(attributes.clone());
    assert_eq!(recall(&policy, &other_claims), Recall::Hit);

    attributes.claims["nested"]["list"][1] = "three".into();
    facts.principal.attributes = Arc::new(attributes);
    assert_eq!(recall(&policy, &facts), Recall::Miss { evicted: 0 });
    assert!(policy.ask(&facts.input(), Ask::Remembering).0.is_err());
}

#[test]
fn reasons_statuses_and_headers_are_remembered_with_the_decision() {
    let policy = policy(
        "decision := {\"allow\": false, \"status\": 451, \"reason\": input.route.name, \"headers\": {\"x-help\": [\"a\", \"b\"]}}",
    );
    let facts = Facts::new();

    let (first, second) = (
        policy.ask(&facts.input(), Ask::Remembering),
        policy.ask(&facts.input(), Ask::Remembering),
    );

    assert_eq!(second.1, Recall::Hit);
    assert_eq!(first.0, second.0);
    assert_eq!(*second.0.unwrap(), policy.decide(&facts.input()).unwrap());
}

#[test]
fn faults_and_undefined_decisions_are_never_remembered() {
    for (body, fault) in [
        (
            "decision if input.route.name == \"other\"",
            PolicyFault::Undefined,
        ),
        (
            "decision := 7 if input.route.name",
            PolicyFault::Shape("expected a boolean or an object, got a number".into()),
        ),
    ] {
        let policy = policy(body);
        for _ in 0..2 {
            let (decision, recall) = policy.ask(&Facts::new().input(), Ask::Remembering);

            assert_eq!(decision.unwrap_err(), fault);
            assert_eq!(recall, Recall::Miss { evicted: 0 });
        }
        assert_eq!(policy.remembered(), Some(0));
    }
    let failing = policy("decision if to_number(input.route.name) == 1");
    assert!(matches!(
        failing.ask(&Facts::new().input(), Ask::Remembering).0,
        Err(PolicyFault::Engine(_))
    ));
    assert_eq!(failing.remembered(), Some(0));
}

#[test]
fn a_timeout_is_not_remembered() {
    let mut plan = rego_plan(
        "package p\ndecision if count([1 | some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j == input.principal.expires_at]) == 0",
        "data.p.decision",
    );
    plan.budget = std::time::Duration::from_millis(1);
    let policy = compiled(&plan);

    assert_eq!(
        policy.ask(&Facts::new().input(), Ask::Remembering).0,
        Err(PolicyFault::Timeout)
    );
    assert_eq!(policy.remembered(), Some(0));
}

#[test]
fn asking_afresh_neither_uses_nor_fills_the_memory() {
    let policy = policy("decision if input.route.name == \"appointments\"");
    let facts = Facts::new();

    assert_eq!(policy.ask(&facts.input(), Ask::Afresh).1, Recall::Fresh);
    assert_eq!(policy.remembered(), Some(0));

    assert_eq!(recall(&policy, &facts), Recall::Miss { evicted: 0 });
    assert_eq!(policy.ask(&facts.input(), Ask::Afresh).1, Recall::Fresh);
    assert_eq!(policy.remembered(), Some(1));
}

#[test]
fn a_policy_that_cannot_be_remembered_is_evaluated_every_time() {
    let policy = policy("decision if input.request.id == \"req-1\"");

    assert_eq!(recall(&policy, &Facts::new()), Recall::Never);
    assert_eq!(recall(&policy, &Facts::new()), Recall::Never);
    assert_eq!(policy.remembered(), None);
}

#[test]
fn facts_that_are_too_large_for_a_key_are_evaluated_every_time() {
    let policy = policy("decision if count(input.request.headers[\"x-tenant\"]) == 1");
    let facts = Facts::new().header("x-tenant", "a".repeat(5_000).as_bytes());

    for _ in 0..2 {
        assert_eq!(recall(&policy, &facts), Recall::Miss { evicted: 0 });
        assert!(policy.ask(&facts.input(), Ask::Remembering).0.unwrap().allow);
    }
    assert_eq!(policy.remembered(), Some(0));
}

/// Asks a small memory for `count` paths, and gives how many decisions were evicted.
fn fill(memory: &Memory, count: usize, decision: &Decision) -> u64 {
    let mut facts = Facts::new();
    let mut evicted = 0;
    for number in 0..count {
        facts.path = format!("/{number}");
        let input: PolicyInput<'_> = facts.input();
        let document = Document::new(&input, &[], false);
        match memory.recall(&document, || Ok::<_, PolicyFault>(decision.clone())) {
            (Ok(_), Recall::Miss { evicted: gone }) => evicted += gone,
            (outcome, recall) => panic!("{outcome:?} {recall:?}"),
        }
    }
    evicted
}

fn by_path(entries: usize, bytes: u64) -> Memory {
    Memory::bounded(ReadSet::new([FactPath::of(&["request", "path"])]), entries, bytes)
}

#[test]
fn the_number_of_entries_is_bounded_and_evictions_are_counted() {
    let memory = by_path(64, 64 * MIN_ENTRY);

    let evicted = fill(&memory, 1_000, &Decision::default());

    assert!(memory.len() <= 64, "{}", memory.len());
    assert!(memory.len() >= 32, "{}", memory.len());
    assert_eq!(evicted, 1_000 - memory.len() as u64);
}

#[test]
fn the_bytes_are_bounded_whatever_the_decisions_carry() {
    let memory = by_path(1_024, 1_024 * MIN_ENTRY);
    let large = Decision {
        headers: vec![(
            "x-large".parse().unwrap(),
            HeaderValue::from_str(&"x".repeat(8_000)).unwrap(),
        )],
        ..Decision::default()
    };

    fill(&memory, 1_000, &large);

    assert!(memory.len() <= 64, "{}", memory.len());
}

#[test]
fn a_hit_evaluates_nothing() {
    let memory = by_path(64, 64 * MIN_ENTRY);
    let facts = Facts::new();
    let input = facts.input();
    let document = Document::new(&input, &[], false);
    let calls = Cell::new(0);
    let evaluate = || {
        calls.set(calls.get() + 1);
        Ok::<_, PolicyFault>(Decision::default())
    };

    let _ = memory.recall(&document, evaluate);
    let _ = memory.recall(&document, evaluate);

    assert_eq!(calls.get(), 1);
}

#[test]
fn a_policy_of_other_text_or_data_remembers_nothing_of_the_one_before() {
    let with = |text: &str, data: Value| AdmissionPlan {
        policies: vec![plan(
            PolicySource::Rego {
                modules: vec![RegoModule {
                    file: "p.rego".into(),
                    text: text.into(),
                }],
                data: Arc::new(data),
            },
            "data.p.decision",
        )],
        ..AdmissionPlan::default()
    };
    let recall = |runtime: &AdmissionRuntime| {
        let policy = runtime.policy(&PolicyId::from("p")).unwrap();
        let (decision, recall) = policy.ask(&Facts::new().input(), Ask::Remembering);
        (decision.unwrap().allow, recall)
    };
    let miss = Recall::Miss { evicted: 0 };
    let text = "package p\ndecision := data.open[input.route.name]";

    let (first, _) = compile(&with(text, json!({"open": {"appointments": true}})), None).unwrap();
    assert_eq!(recall(&first), (true, miss));
    let (same, _) = compile(&with(text, json!({"open": {"appointments": true}})), Some(&first)).unwrap();
    assert_eq!(recall(&same), (true, Recall::Hit));
    let (other_data, _) =
        compile(&with(text, json!({"open": {"appointments": false}})), Some(&same)).unwrap();
    assert_eq!(recall(&other_data), (false, miss));
    let other = "package p\ndecision := input.route.name != \"appointments\"";
    let (other_text, _) = compile(&with(other, json!({})), Some(&other_data)).unwrap();
    assert_eq!(recall(&other_text), (false, miss));

    assert_eq!(
        recall(&first),
        (true, Recall::Hit),
        "a request that began with it keeps it"
    );
    assert_eq!(
        other_text.remembered().map(|(_, entries)| entries).sum::<usize>(),
        1
    );
}
