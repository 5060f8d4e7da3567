use std::sync::Arc;

use serde_json::json;

use crate::plan::{PolicySource, RegoModule};
use crate::policy::Policy;
use crate::policy::test_facts::{plan, policy, refused, rego_plan};

fn only(body: &str) -> String {
    let problems = refused(body);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    texts.into_iter().next().unwrap()
}

#[test]
fn a_call_to_nothing_is_refused_even_where_no_request_would_reach_it() {
    assert_eq!(
        only("decision if { false; not_there(1) }"),
        "policies/p.rego:2:22 policies.p: there is no function or built-in \"not_there\""
    );
    assert!(only("decision if { false; other.pkg.f(1) }").contains("\"other.pkg.f\""));
}

#[test]
fn a_call_to_a_function_of_this_or_another_package_is_accepted() {
    let modules = vec![
        RegoModule {
            file: "a.rego".into(),
            text: "package a\nimport data.lib.b as c\nimport data.lib.b\nf(x) := x\ndefault g(_) := 2\n\
                   decision if { f(1) == 1; g(1) == 2; c.h(1); b.h(1); data.lib.b.h(1); data.a.f(1); count([1], n); n == 1 }\n"
                .into(),
        },
        RegoModule { file: "b.rego".into(), text: "package lib.b\nh(_) := true\n".into() },
    ];
    let plan = plan(
        PolicySource::Rego {
            modules,
            data: Arc::new(json!({})),
        },
        "data.a.decision",
    );

    Policy::compile(&plan).unwrap();
}

#[test]
fn the_number_of_arguments_is_checked() {
    assert!(only("f(x) := x\ndecision if f(1, 2, 3)").contains("f takes 1 arguments, not 3"));
    assert!(only("decision if count([1], 2, 3)").contains("count takes 1 arguments, not 3"));
    assert!(only("decision if glob.match(\"a\", \"b\")").contains("glob.match takes 3 arguments, not 2"));
}

#[test]
fn forbidden_built_ins_are_refused_with_their_place_and_reason() {
    for name in [
        "http.send",
        "opa.runtime",
        "net.lookup_ip_addr",
        "rand.intn",
        "graph.reachable_paths",
    ] {
        let text = only(&format!("decision if {{\n  {name}(1, 2)\n}}"));

        assert!(text.starts_with("policies/p.rego:3:3 "), "{text}");
        assert!(text.contains(&format!("no policy may call {name} (")), "{text}");
    }
}

#[test]
fn a_forbidden_built_in_cannot_come_in_as_a_replacement() {
    assert!(only("f(_, _) := 1\ndecision if { f(\"a\", 2) == 1 with f as rand.intn }").contains("rand.intn"));
}

#[test]
fn what_opa_has_and_we_have_not_is_refused_with_advice() {
    assert!(only("decision if io.jwt.decode(input.token)").contains("input.principal.claims"));
    assert!(only("decision if crypto.sha256(\"a\")").contains("crypto.sha256"));
}

#[test]
fn recursion_is_refused() {
    assert!(only("f(x) := f(x + 1)\ndecision if f(1)").contains("data.p.f -> data.p.f"));
    assert!(only("f(x) := g(x)\ng(x) := f(x)\ndecision if f(1)").contains("the rule needs itself"));
    assert!(only("a if b\nb if a\ndecision if a").contains("the rule needs itself"));
    assert!(only("a if data.p\ndecision if a").contains("the rule needs itself"));
}

#[test]
fn what_looks_like_recursion_and_is_none_is_accepted() {
    policy(
        "f(f_) := f_\nrole(role) := role\na contains x if some x in [1]\na contains 2\ndecision if { role(1); f(1); a[2] }",
    );
    policy("r.a := 1\nr.b := r.a + 1\ndecision if r.b == 2");
}

#[test]
fn the_decision_must_be_made_by_a_rule() {
    let compile = |decision: &str| {
        Policy::compile(&rego_plan(
            "package a.b\nallow := true\nf(x) := x\nresult.allowed := true\n",
            decision,
        ))
    };

    for good in ["data.a.b.allow", "data.a.b.result"] {
        assert!(compile(good).is_ok(), "{good}");
    }
    for bad in [
        "data.a.b.deny",
        "data.a.b.f",
        "data.b.allow",
        "a.b.allow",
        "data",
        "data.a",
        "data.a.b.allow; true",
        "a/b/allow",
    ] {
        assert!(compile(bad).is_err(), "{bad}");
    }
    assert!(
        compile("data.a.b.deny")
            .unwrap_err()
            .to_string()
            .contains("the rules are data.a.b.allow")
    );
}

#[test]
fn a_rule_and_data_may_not_stand_in_the_same_place() {
    let modules = |text: &str| {
        vec![RegoModule {
            file: "a.rego".into(),
            text: text.into(),
        }]
    };
    let compile = |data| {
        let source = PolicySource::Rego {
            modules: modules("package a\ndecision := true\n"),
            data: Arc::new(data),
        };
        Policy::compile(&plan(source, "data.a.decision"))
    };

    assert!(compile(json!({ "a": { "users": {} } })).is_ok());
    assert!(
        compile(json!({ "a": { "decision": false } }))
            .unwrap_err()
            .to_string()
            .contains("a.rego:2:1")
    );
    assert!(
        compile(json!([1]))
            .unwrap_err()
            .to_string()
            .contains("not an object")
    );
}

#[test]
fn our_own_package_is_reserved() {
    let text = "package portcullis_entry\ndecision := true\n";

    let problems = Policy::compile(&rego_plan(text, "data.portcullis_entry.decision")).unwrap_err();

    assert!(problems.to_string().contains("is reserved"), "{problems}");
}

#[test]
fn all_problems_are_found_in_one_go() {
    assert_eq!(
        refused("decision if { one(1) }\nother if { two(2); http.send({}) }")
            .iter()
            .count(),
        3
    );
}
