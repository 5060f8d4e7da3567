//! What policies are found to read, construct by construct.

use super::*;
use crate::plan::PolicySource;
use crate::plan::RegoModule;
use crate::policy::memory::{Obstacle, Remembering};
use crate::policy::test_facts::{compiled, example_policy, plan, policy};

/// The paths that `package p` with this body is remembered under, without their `input.`.
fn facts(body: &str) -> Vec<String> {
    match policy(body).remembering() {
        Remembering::Under(facts) => facts.iter().map(|fact| short(fact)).collect(),
        Remembering::Never(obstacles) => panic!("never: {obstacles:?}"),
    }
}

fn short(fact: &str) -> String {
    fact.trim_start_matches("input")
        .trim_start_matches('.')
        .to_owned()
}

/// Why it is evaluated every time, in words.
fn obstacles(body: &str) -> Vec<String> {
    match policy(body).remembering() {
        Remembering::Under(facts) => panic!("remembered under {facts:?}"),
        Remembering::Never(obstacles) => obstacles.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn plain_references_are_read_as_far_as_they_go() {
    let found = facts(
        "decision if { input.request.method == \"GET\"; input[\"route\"].name; input.request.headers[`x-tenant`][0] }",
    );

    assert_eq!(
        found,
        ["request.headers[\"x-tenant\"][0]", "request.method", "route.name"]
    );
}

#[test]
fn a_policy_that_reads_nothing_is_remembered_for_everybody() {
    assert!(facts("decision := true").is_empty());
}

#[test]
fn rules_that_are_never_reached_count() {
    let found = facts(
        "decision := true\nother contains x if some x in input.principal.roles\ndead := 1 if { false; input.client.address }",
    );

    assert_eq!(found, ["client.address", "principal.roles"]);
}

#[test]
fn import_aliases_stand_for_what_they_import() {
    let found = facts(
        "import input.principal as who\nimport input.route\nimport input.request[\"query\"] as q\ndecision if { who.tenant == route.params.tenant; q.limit[0] }",
    );

    assert_eq!(
        found,
        [
            "principal.tenant",
            "request.query.limit[0]",
            "route.params.tenant"
        ]
    );
}

#[test]
fn input_itself_may_have_another_name() {
    assert_eq!(
        facts("import input as i\ndecision if i.route.name"),
        ["route.name"]
    );
}

#[test]
fn an_alias_holds_in_every_file_of_its_package_and_in_no_other() {
    let module = |file: &str, text: &str| RegoModule {
        file: file.into(),
        text: text.into(),
    };
    let modules = vec![
        module(
            "a.rego",
            "package p\nimport input.principal as who\ndecision if { who.tenant; two }",
        ),
        module("b.rego", "package p\ntwo if who.region == \"EU\""),
        module("c.rego", "package q\nother := who.issuer if who := data.static"),
    ];
    let plan = plan(
        PolicySource::Rego {
            modules,
            data: Arc::new(serde_json::json!({})),
        },
        "data.p.decision",
    );

    let Remembering::Under(facts) = compiled(&plan).remembering() else {
        panic!("not remembered");
    };

    assert_eq!(facts, ["input.principal.region", "input.principal.tenant"]);
}

#[test]
fn a_local_variable_with_the_name_of_an_alias_reads_too_much_rather_than_too_little() {
    assert_eq!(
        facts("import input.principal as who\nf(who) := who.tenant\ndecision if f(data.static) == \"a\""),
        ["principal"]
    );
}

#[test]
fn dynamic_parts_widen_to_what_stands_before_them() {
    let found = facts(
        "decision if { some name; input.route.params[name] == \"x\"; input.principal.claims[input.route.name].deep; input.request.segments[_] }",
    );

    assert_eq!(
        found,
        [
            "principal.claims",
            "request.segments",
            "route.name",
            "route.params"
        ]
    );
}

#[test]
fn numbers_are_elements_and_anything_that_is_computed_is_all_of_them() {
    let found = facts("decision if { input.request.segments[1]; input.principal.roles[1 - 1] == \"a\" }");

    assert_eq!(found, ["principal.roles", "request.segments[1]"]);
}

#[test]
fn wholes_are_read_as_a_whole() {
    let found = facts(
        "decision if { r := input.route; r.name == \"a\"; count(input.request.query) == 0; object.keys(input.principal) == {1} }",
    );

    assert_eq!(found, ["principal", "request.query", "route"]);
}

#[test]
fn object_get_with_known_keys_reads_what_is_at_them() {
    let found = facts(
        "decision if { object.get(input.principal.claims, \"tenant\", input.route.name) == object.get(input.request, [\"query\", \"q\"], []) }",
    );

    assert_eq!(
        found,
        ["principal.claims.tenant", "request.query.q", "route.name"]
    );
}

#[test]
fn object_get_with_other_keys_reads_the_whole_object() {
    for keys in ["input.route.name", "[\"a\", input.route.name]", "[]", "1", "[1]"] {
        let found = facts(&format!(
            "decision if object.get(input.principal.claims, {keys}, 1) == 2"
        ));

        assert_eq!(
            found.first().map(String::as_str),
            Some("principal.claims"),
            "{keys}"
        );
    }
}

#[test]
fn an_object_get_that_is_something_else_reads_the_whole_object() {
    for other in [
        "object.get(a, _, _) := a",
        "import data.static as object",
        "import data.static.object",
        "fake(a, _, _) := a\ndead if { true with object.get as fake }",
    ] {
        let found = facts(&format!(
            "{other}\ndecision if object.get(input.principal.claims, \"a\", 1) == 2"
        ));

        assert_eq!(found, ["principal.claims"], "{other}");
    }
}

#[test]
fn every_construct_is_looked_into() {
    let found = facts(
        r#"
default fallback(_) := false
fallback(x) := input.gateway.region == x
decision if {
	[x | x := input.principal.roles[_]; x != input.principal.tenant]
	{x | some x in input.principal.scopes}
	{k: v | some k, v in input.request.query; v != input.request.host}
	every s in input.request.segments { s != input.principal.issuer }
	not input.client.address == "1"
	fallback(input.request.scheme)
	{"a": [input.principal.kind, {input.principal.scheme}]}
	input.route.class in {"x", input.route.operation}
	-input.principal.expires_at < 1 + input.principal.claims.age
	walk(input.principal.claims.tree, [["a"], _])
} else := input.principal.subject if {
	input.principal.region
}
partial[input.principal.spiffe_id] := input.principal.trust_domain
text := sprintf("%v", [input.request.method])
"#,
    );

    let wanted = [
        "client.address",
        "gateway.region",
        "principal.claims.age",
        "principal.claims.tree",
        "principal.expires_at",
        "principal.issuer",
        "principal.kind",
        "principal.region",
        "principal.roles",
        "principal.scheme",
        "principal.scopes",
        "principal.spiffe_id",
        "principal.subject",
        "principal.tenant",
        "principal.trust_domain",
        "request.host",
        "request.method",
        "request.query",
        "request.scheme",
        "request.segments",
        "route.class",
        "route.operation",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn with_reads_its_replacement_and_a_target_inside_a_section() {
    let found = facts(
        "inner if input.principal.tenant == \"a\"\ndecision if { inner with input.principal.tenant as input.route.params.t with data.x as input.principal.region; inner with input as {\"principal\": {\"tenant\": input.principal.issuer}} }",
    );

    assert_eq!(
        found,
        [
            "principal.issuer",
            "principal.region",
            "principal.tenant",
            "route.params.t"
        ]
    );
}

#[test]
fn input_as_a_whole_is_not_remembered() {
    for body in [
        "decision if walk(input, [[\"route\", \"name\"], \"a\"])",
        "decision if { some key; input[key].name == \"a\" }",
        "decision if { i := input; i.route.name == \"a\" }",
        "f(i) := i.route.name\ndecision if f(input) == \"a\"",
    ] {
        let found = obstacles(body);

        assert_eq!(found.len(), 1, "{body}");
        assert!(
            found[0].starts_with("reads request.id, because it uses input as a whole (policies/p.rego:"),
            "{found:?}"
        );
    }
}

#[test]
fn the_id_of_the_request_is_not_remembered_and_the_rest_of_it_is() {
    assert_eq!(
        obstacles("decision if input.request.id == \"a\""),
        ["reads request.id (policies/p.rego:2:13)"]
    );
    assert_eq!(
        obstacles("decision if { r := input.request; r.method == \"GET\" }"),
        ["reads request.id, because it uses input.request as a whole (policies/p.rego:2:20)"]
    );
    assert_eq!(
        facts("decision if input.request.method == \"GET\""),
        ["request.method"]
    );
}

#[test]
fn a_clock_is_not_remembered_and_calculating_with_a_given_time_is() {
    assert_eq!(
        obstacles("decision if input.principal.expires_at > time.now_ns() / 1000000000"),
        ["calls time.now_ns (policies/p.rego:2:42)"]
    );
    assert_eq!(
        obstacles(
            "zero := 0\nat := 1 if { zero with zero as 1 }\ndecision if { now := time[\"now_ns\"](); now > 0 }"
        ),
        ["calls time.now_ns (policies/p.rego:4:22)"]
    );
    assert_eq!(
        facts("decision if time.clock(input.principal.expires_at * 1000000000)[0] > 8"),
        ["principal.expires_at"]
    );
}

#[test]
fn every_impure_built_in_is_refused_or_known_here() {
    use crate::policy::rego::builtins::{Builtin, find};

    for name in IMPURE {
        let known = matches!(find(name), Builtin::Known { .. });
        assert_eq!(known, name == "time.now_ns", "{name}");
    }
}

#[test]
fn a_policy_that_declares_the_body_or_is_switched_off_is_not_remembered() {
    let text = "package p\ndecision if input.request.body.a == 1";
    let mut plan = crate::policy::test_facts::rego_plan(text, "data.p.decision");
    assert_eq!(
        compiled(&plan).remembering(),
        Remembering::Under(vec!["input.request.body.a".into()])
    );

    plan.reads_body = true;
    assert_eq!(
        compiled(&plan).remembering(),
        Remembering::Never(vec![Obstacle::Body])
    );

    plan.reads_body = false;
    plan.remember = false;
    assert_eq!(
        compiled(&plan).remembering(),
        Remembering::Never(vec![Obstacle::SwitchedOff])
    );
}

#[test]
fn the_example_policies_are_remembered_under_what_they_read() {
    let Remembering::Under(facts) = example_policy("data.portcullis.authz.decision").remembering() else {
        panic!("not remembered");
    };

    let shown: Vec<String> = facts.iter().map(|fact| short(fact)).collect();
    assert_eq!(
        shown,
        [
            "gateway.region",
            "principal.kind",
            "principal.region",
            "principal.roles",
            "principal.scopes",
            "principal.spiffe_id",
            "principal.tenant",
            "principal.trust_domain",
            "request.headers[\"x-tenant\"]",
            "request.method",
            "route.name",
            "route.operation",
            "route.params.tenant",
            "route.residency",
        ]
    );
}
