use http::StatusCode;
use portcullis_model::Principal;

use super::*;
use crate::policy::test_facts::{Facts, policy, user, workload};

fn rule(rule: RulePlan) -> AuthorizePlan {
    AuthorizePlan {
        origin: Origin::of("routes[0].authorize[0]"),
        rule,
        methods: Vec::new(),
        guard: None,
    }
}

fn compile(plans: &[AuthorizePlan], policies: &[(&str, &Arc<Policy>)]) -> Vec<AuthorizeRule> {
    let find = |id: &PolicyId| {
        policies
            .iter()
            .find(|(name, _)| *name == id.as_str())
            .map(|(_, policy)| Arc::clone(policy))
    };
    plans
        .iter()
        .map(|plan| AuthorizeRule::compile(plan, find).unwrap())
        .collect()
}

fn ask(plans: &[AuthorizePlan], facts: &Facts) -> AuthorizeOutcome {
    authorize(&compile(plans, &[]), &facts.input(), 0, Ask::Remembering)
}

fn ask_policy(body: &str) -> AuthorizeOutcome {
    let policy = Arc::new(policy(body));
    let rules = compile(&[rule(RulePlan::Policy("p".into()))], &[("p", &policy)]);
    authorize(&rules, &Facts::new().input(), 0, Ask::Remembering)
}

fn reason(outcome: &AuthorizeOutcome) -> Option<Reason> {
    outcome.verdict.as_ref().err().map(|rejection| rejection.reason)
}

fn alice() -> Principal {
    user("alice", Some("t1"), &["editor"], &["appointments:read"], None)
}

#[test]
fn an_empty_list_allows_because_only_a_public_route_has_one() {
    assert!(ask(&[], &Facts::new()).verdict.is_ok());
}

#[test]
fn authenticated_wants_any_proven_principal() {
    let plans = [rule(RulePlan::Authenticated)];

    assert!(ask(&plans, &Facts::by(alice())).verdict.is_ok());
    assert!(
        ask(&plans, &Facts::by(workload("spiffe://corp.example/a")))
            .verdict
            .is_ok()
    );
    assert_eq!(
        reason(&ask(&plans, &Facts::new())),
        Some(Reason::NotAuthenticated)
    );
}

#[test]
fn scope_wants_that_scope_and_says_so_to_the_client() {
    let read = [rule(RulePlan::Scope("appointments:read".into()))];
    let write = [rule(RulePlan::Scope("appointments:write".into()))];

    assert!(ask(&read, &Facts::by(alice())).verdict.is_ok());

    let refused = ask(&write, &Facts::by(alice()));
    assert_eq!(reason(&refused), Some(Reason::ScopeMissing));
    let detail = refused.verdict.unwrap_err().detail.unwrap();
    assert_eq!(
        detail.headers[0].1,
        "Bearer error=\"insufficient_scope\", scope=\"appointments:write\""
    );
    assert_eq!(reason(&ask(&read, &Facts::new())), Some(Reason::NotAuthenticated));
    assert_eq!(
        reason(&ask(&read, &Facts::by(workload("spiffe://a.example/b")))),
        Some(Reason::ScopeMissing)
    );
}

#[test]
fn role_wants_that_role() {
    assert!(
        ask(&[rule(RulePlan::Role("editor".into()))], &Facts::by(alice()))
            .verdict
            .is_ok()
    );
    assert_eq!(
        reason(&ask(&[rule(RulePlan::Role("admin".into()))], &Facts::by(alice()))),
        Some(Reason::RoleMissing)
    );
}

#[test]
fn spiffe_wants_a_matching_workload() {
    let plans = [rule(RulePlan::Spiffe(vec![
        "spiffe://a.example/x".into(),
        "spiffe://corp.example/ns/*".into(),
    ]))];

    assert!(
        ask(&plans, &Facts::by(workload("spiffe://corp.example/ns/api")))
            .verdict
            .is_ok()
    );
    let refused = ask(&plans, &Facts::by(workload("spiffe://corp.example/other")));
    assert_eq!(reason(&refused), Some(Reason::SpiffeNotAllowed));
    assert_eq!(
        reason(&ask(&plans, &Facts::by(alice()))),
        Some(Reason::SpiffeNotAllowed)
    );
}

#[test]
fn all_rules_must_allow_and_the_first_refusal_decides() {
    let mut plans = [
        rule(RulePlan::Authenticated),
        rule(RulePlan::Role("admin".into())),
        rule(RulePlan::Scope("appointments:write".into())),
    ];
    plans[1].origin = Origin::of("routes[0].authorize[1]");

    let outcome = ask(&plans, &Facts::by(alice()));

    assert_eq!(reason(&outcome), Some(Reason::RoleMissing));
    assert_eq!(outcome.decided_by, Some(Origin::of("routes[0].authorize[1]")));
    assert_eq!(outcome.trace.len(), 2);
    assert_eq!(outcome.trace[1].name.as_ref(), "rule:role");
    assert!(outcome.trace[0].allowed && !outcome.trace[1].allowed);
    assert_eq!(
        outcome.verdict.unwrap_err().detail.unwrap().decided_by,
        Some(Origin::of("routes[0].authorize[1]"))
    );
}

#[test]
fn a_rule_narrowed_by_methods_is_asked_for_those_only() {
    let mut plans = [
        rule(RulePlan::Authenticated),
        rule(RulePlan::Role("admin".into())),
    ];
    plans[1].methods = vec![Method::PUT];

    assert!(ask(&plans, &Facts::by(alice())).verdict.is_ok());
    assert_eq!(
        reason(&ask(&plans, &Facts::by(alice()).method(Method::PUT))),
        Some(Reason::RoleMissing)
    );
}

#[test]
fn narrowing_every_rule_does_not_open_the_other_methods() {
    let mut plans = [rule(RulePlan::Authenticated)];
    plans[0].methods = vec![Method::PUT];

    assert_eq!(
        reason(&ask(&plans, &Facts::by(alice()))),
        Some(Reason::PolicyUndefined)
    );
    assert!(
        ask(&plans, &Facts::by(alice()).method(Method::PUT))
            .verdict
            .is_ok()
    );
}

#[test]
fn an_observed_rule_is_recorded_and_not_obeyed() {
    let mut plans = [
        rule(RulePlan::Role("admin".into())),
        rule(RulePlan::Authenticated),
    ];
    plans[0].guard = Some(Guard {
        mode: Mode::Observe,
        share: Guard::FULL_SHARE,
    });

    let outcome = ask(&plans, &Facts::by(alice()));

    assert!(outcome.verdict.is_ok());
    assert_eq!(outcome.observed.len(), 1);
    assert_eq!(
        (outcome.observed[0].guard.as_str(), outcome.observed[0].reason),
        ("rule:role", Reason::RoleMissing)
    );
    assert_eq!(outcome.trace[0].mode, Mode::Observe);
}

#[test]
fn a_rule_that_is_off_is_not_asked() {
    let mut plans = [rule(RulePlan::Role("admin".into()))];
    plans[0].guard = Some(Guard {
        mode: Mode::Off,
        share: Guard::FULL_SHARE,
    });

    let outcome = ask(&plans, &Facts::by(alice()));

    assert!(outcome.verdict.is_ok() && outcome.trace.is_empty());
}

#[test]
fn a_share_is_obeyed_for_that_share_and_observed_for_the_rest() {
    let mut plans = [rule(RulePlan::Role("admin".into()))];
    plans[0].guard = Some(Guard {
        mode: Mode::Enforce,
        share: 1_000,
    });
    let rules = compile(&plans, &[]);
    let facts = Facts::by(alice());

    assert!(
        authorize(&rules, &facts.input(), 999, Ask::Remembering)
            .verdict
            .is_err()
    );
    let outside = authorize(&rules, &facts.input(), 1_000, Ask::Remembering);
    assert!(outside.verdict.is_ok() && outside.observed.len() == 1);
}

#[test]
fn a_policy_denies_with_its_reason_status_and_fields() {
    let outcome = ask_policy(
        "decision := {\"allow\": false, \"reason\": \"closed\", \"status\": 451, \"headers\": {\"x-a\": \"b\"}}",
    );

    assert_eq!(outcome.trace[0].text.as_deref(), Some("closed"));
    assert_eq!(outcome.trace[0].name.as_ref(), "policy:p");
    let rejection = outcome.verdict.unwrap_err();
    assert_eq!(rejection.reason, Reason::PolicyDenied);
    assert_eq!(rejection.status(), StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS);
    let detail = rejection.detail.unwrap();
    assert_eq!(
        (detail.public.as_deref(), detail.headers.len()),
        (Some("closed"), 1)
    );
}

#[test]
fn a_policy_that_allows_may_add_fields_to_the_request() {
    let outcome = ask_policy("decision := {\"allow\": true, \"request_headers\": {\"x-tier\": \"gold\"}}");

    assert_eq!(outcome.verdict.unwrap().request_headers[0].1, "gold");
}

#[test]
fn what_is_no_decision_denies_with_its_own_reason_and_tells_the_client_nothing() {
    for (body, expected) in [
        ("decision := false", Reason::PolicyDenied),
        ("decision if input.nothing", Reason::PolicyUndefined),
        ("decision := \"yes\"", Reason::PolicyFault),
        (
            "decision if to_number(input.request.path) == 1",
            Reason::PolicyFault,
        ),
    ] {
        let outcome = ask_policy(body);
        assert_eq!(reason(&outcome), Some(expected), "{body}");
        assert_eq!(
            outcome
                .verdict
                .unwrap_err()
                .detail
                .and_then(|detail| detail.public),
            None,
            "{body}"
        );
    }
}

#[test]
fn what_cannot_be_meant_is_refused_when_the_route_is_compiled() {
    let refused = |plan: RulePlan| {
        AuthorizeRule::compile(&rule(plan), |_| None)
            .unwrap_err()
            .to_string()
    };

    assert!(refused(RulePlan::Policy("missing".into())).contains("unknown policy \"missing\""));
    assert!(refused(RulePlan::Scope("".into())).contains("the scope is empty"));
    assert!(refused(RulePlan::Role("".into())).contains("the role is empty"));
    assert!(refused(RulePlan::Spiffe(Vec::new())).contains("patterns is empty"));
    assert!(
        refused(RulePlan::Spiffe(vec![
            "https://a".into(),
            "spiffe://a/**/b".into()
        ]))
        .lines()
        .count()
            == 2
    );
}
