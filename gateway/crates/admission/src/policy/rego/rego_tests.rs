use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::plan::PolicySource;
use crate::policy::test_facts::{
    Facts, compiled, example_data, example_modules, plan, policy, refused, rego_plan, user,
};
use crate::policy::{Decision, Policy};

fn decide(body: &str) -> Result<Decision, PolicyFault> {
    policy(body).decide(&Facts::new().input())
}

fn engine_fault(body: &str) -> String {
    match decide(body) {
        Err(PolicyFault::Engine(message)) => message,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_true_decision_allows_and_a_false_one_denies() {
    assert!(
        decide("decision := input.request.method == \"GET\"")
            .unwrap()
            .allow
    );
    assert!(
        !decide("decision := input.request.method == \"PUT\"")
            .unwrap()
            .allow
    );
}

#[test]
fn a_decision_object_carries_reason_status_and_fields() {
    let decision = decide(
        "decision := {\"allow\": false, \"reason\": \"no\", \"status\": 404, \"headers\": {\"x-a\": \"b\"}}",
    )
    .unwrap();

    assert_eq!((decision.allow, decision.reason.as_deref()), (false, Some("no")));
    assert_eq!(decision.status.unwrap().as_u16(), 404);
    assert_eq!(decision.headers.len(), 1);
}

#[test]
fn a_document_of_partial_rules_is_a_decision_too() {
    let policy = compiled(&rego_plan(
        "package p\nresult[\"allowed\"] := true if input.request.method == \"GET\"\nresult[\"reason\"] := \"ok\"\n",
        "data.p.result",
    ));

    assert!(policy.decide(&Facts::new().input()).unwrap().allow);
}

#[test]
fn no_decision_is_undefined_and_not_an_allowance() {
    assert_eq!(
        decide("decision if input.request.method == \"PUT\""),
        Err(PolicyFault::Undefined)
    );
    assert_eq!(
        decide("decision := true if input.nothing.at.all"),
        Err(PolicyFault::Undefined)
    );
}

#[test]
fn a_decision_of_the_wrong_shape_is_a_fault() {
    for body in [
        "decision := 1",
        "decision := \"true\"",
        "decision := [true]",
        "decision contains true",
        "decision := {}",
        "decision := null",
    ] {
        assert!(matches!(decide(body), Err(PolicyFault::Shape(_))), "{body}");
    }
}

#[test]
fn a_built_in_error_is_a_fault_even_behind_not() {
    for body in [
        "decision if not bad\nbad if to_number(input.request.path) > 1",
        "decision if not bad\nbad if 1 / (count(input.route.residency) - 1) == 1",
        "decision if not glob.match(\"[\", [], input.request.path)",
        "decision if not regex.match(\"(\", input.request.path)",
    ] {
        engine_fault(body);
    }
}

#[test]
fn rules_that_contradict_each_other_are_a_fault() {
    let message = engine_fault(
        "tier := 1 if input.request.method == \"GET\"\ntier := 2 if input.request.path\ndecision if not tier == 2",
    );

    assert!(message.starts_with("policies/p.rego:"), "{message}");
}

/// What the bytecode machine of the same crate gets wrong: `default` functions (policy.md 4.2).
#[test]
fn default_functions_count() {
    let body = "default risk(_) := 100\nrisk(u) := 1 if u == \"good\"\ndefault decision := true\n\
                decision := false if risk(input.principal.id) > 50";

    assert!(!decide(body).unwrap().allow);
}

#[test]
fn panics_and_hangs_of_the_engine_end_as_faults_or_are_refused() {
    for (body, path) in [
        ("decision if strings.count(input.request.path, \"\") == 0", "/x"),
        ("decision if object.subset(input.route.residency, [])", "/x"),
        (
            "decision if time.parse_ns(input.request.segments[0], \"x\") == 1",
            "/%C3%A4%C3%A4",
        ),
        (
            "decision if count(numbers.range(1, to_number(input.request.segments[0]))) == 0",
            "/30000000",
        ),
        (
            "decision if count(numbers.range_step(0, to_number(input.request.segments[0]), 1)) == 0",
            "/9223372036854775807",
        ),
        (
            "decision if count(net.cidr_expand(concat(\"/\", [\"10.0.0.0\", input.request.segments[0]]))) == 0",
            "/9",
        ),
        (
            "decision if sprintf(concat(\"\", [\"%\", input.request.segments[0], \"d\"]), [1]) == \"\"",
            "/1000000000",
        ),
        (
            "decision if bits.lsh(1, to_number(input.request.segments[0])) == 0",
            "/40000000",
        ),
    ] {
        let policy = policy(body);
        let mut facts = Facts::new();
        facts.path = path.into();
        let started = Instant::now();

        let outcome = policy.decide(&facts.input());

        assert!(
            !outcome
                .as_ref()
                .is_ok_and(|decision| decision.allow && !body.contains("subset")),
            "{body}: {outcome:?}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{body}: {:?}",
            started.elapsed()
        );
    }
    assert!(
        refused("decision if regex.template_match(\"a{.}\", input.request.path, \"{\", \"}\")").has_errors()
    );
    assert!(refused("f(x) := f(x)\ndecision if f(1)").has_errors());
}

#[test]
fn literals_nested_too_deeply_never_reach_the_parser() {
    let started = Instant::now();
    let problems = refused(&format!("decision := {}{}", "[".repeat(30), "]".repeat(30)));

    assert!(
        problems.to_string().starts_with("policies/p.rego:2:21 "),
        "{problems}"
    );
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_policy_that_takes_too_long_times_out_soon() {
    let mut plan = rego_plan(
        "package p\ndecision if { some a in numbers.range(1, 9000); some b in numbers.range(1, 9000); a + b == 0 }\n",
        "data.p.decision",
    );
    plan.budget = Duration::from_millis(20);
    let policy = compiled(&plan);
    let started = Instant::now();

    assert_eq!(policy.decide(&Facts::new().input()), Err(PolicyFault::Timeout));
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_policy_answers_again_after_a_fault() {
    let policy = policy("decision if to_number(input.request.segments[0]) == 1");
    let mut bad = Facts::new();
    bad.path = "/x".into();
    let mut good = Facts::new();
    good.path = "/1".into();

    for _ in 0..3 {
        assert!(matches!(policy.decide(&bad.input()), Err(PolicyFault::Engine(_))));
        assert!(policy.decide(&good.input()).unwrap().allow);
    }
}

#[test]
fn one_request_never_sees_another_ones_facts() {
    let policy = policy("default decision := false\ndecision if input.principal.subject == \"alice\"");
    let alice = Facts::by(user("alice", None, &[], &[], None));
    let bob = Facts::by(user("bob", None, &[], &[], None));

    for _ in 0..10 {
        assert!(policy.decide(&alice.input()).unwrap().allow);
        assert!(!policy.decide(&bob.input()).unwrap().allow);
    }
}

#[test]
fn many_threads_share_one_policy() {
    let policy = Arc::new(policy("decision := input.request.method == \"GET\""));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let policy = Arc::clone(&policy);
            std::thread::spawn(move || (0..200).all(|_| policy.decide(&Facts::new().input()).unwrap().allow))
        })
        .collect();

    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
}

#[test]
fn problems_point_into_the_rego_file() {
    let texts = [
        ("decision := [1,", "policies/p.rego:3:1 "),
        ("decision { true }", "policies/p.rego:2:10 "),
        ("decision if x > 1", "policies/p.rego:2:"),
        ("decision := $", "policies/p.rego:2:"),
    ];
    for (body, expected) in texts {
        let problems = refused(body).to_string();
        assert!(problems.starts_with(expected), "{body}: {problems}");
    }
}

#[test]
fn a_file_must_start_with_its_package() {
    let problems = Policy::compile(&rego_plan("decision := true\n", "data.p.decision")).unwrap_err();

    assert!(
        problems.to_string().contains("policies/p.rego:1:1 "),
        "{problems}"
    );
}

#[test]
fn a_policy_without_files_is_refused() {
    let source = PolicySource::Rego {
        modules: Vec::new(),
        data: Arc::new(json!({})),
    };

    assert!(Policy::compile(&plan(source, "data.p.decision")).is_err());
}

#[test]
fn a_policy_may_not_declare_credentials() {
    let mut plan = rego_plan("package p\ndecision := true\n", "data.p.decision");
    plan.headers = vec![http::header::AUTHORIZATION];

    let problems = Policy::compile(&plan).unwrap_err();

    assert!(
        problems.to_string().contains("no policy may read authorization"),
        "{problems}"
    );
}

#[test]
fn the_example_policies_are_free_of_problems() {
    let source = PolicySource::Rego {
        modules: example_modules(false),
        data: example_data(),
    };

    let (_, warnings) = Policy::compile(&plan(source, "data.portcullis.authz.decision")).unwrap();

    assert!(warnings.is_empty(), "{warnings}");
}
