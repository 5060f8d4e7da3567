//! A request that lives on, judged again without sockets: what is asked, and what of it was kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test may stop at the first surprise, and has no outside"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use portcullis_model::{Reason, RegionId};
use portcullis_pipeline::plan::{ActionPlan, GatewayPlan};
use portcullis_pipeline::{Admission, Ending, Exchange, compile};
use portcullis_routing::plan::ResidencyPlan;
use support::{Hall, ask_policy, origin, plan, policy, route};

const OPEN: &str = "package test\ndecision := true\n";
const SHUT: &str = "package test\ndecision := false\n";
const BY_BODY: &str =
    "package test\ndefault decision := false\ndecision if input.request.body.kind == \"good\"\n";

/// Publishes another configuration, as a reload does.
fn publish(hall: &Hall, plan: GatewayPlan, revision: &str) {
    let previous = hall.gateway.snapshot();
    let boards = hall.gateway.boards();
    let (snapshot, _) = compile(Arc::new(plan), Some(&previous), boards, revision.to_owned()).unwrap();
    hall.gateway.store().publish(snapshot);
    boards.identity.pulse.beat();
}

/// One route `orders`, whose policy is this text.
fn asking(rego: &str, reads_body: bool) -> GatewayPlan {
    let mut guarded = route("orders", "/orders");
    guarded.authorize = vec![ask_policy("p", None)];
    let mut plan = plan(vec![guarded]);
    plan.admission.policies.push(policy("p", rego, reads_body));
    plan
}

/// A forwarded request with an endpoint.
async fn forwarded(hall: &Hall) -> Exchange {
    let (mut exchange, admission) = hall.ask(Method::GET, "/orders/1", &[]).await;
    assert!(matches!(admission.unwrap(), Admission::Forward));
    exchange.select_endpoint().unwrap();
    exchange
}

/// A forwarded request whose policy has read its body.
async fn read(hall: &Hall, body: &str) -> Exchange {
    let length = body.len().to_string();
    let fields = [
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
    ];
    let (mut exchange, admission) = hall.ask(Method::POST, "/orders", &fields).await;
    assert!(matches!(admission.unwrap(), Admission::NeedsBody { .. }));
    let admission = exchange.admit_with_body(body.as_bytes()).unwrap();
    assert!(matches!(admission, Admission::Forward));
    exchange
}

fn ended(exchange: &mut Exchange) -> Reason {
    exchange.judge_lease().unwrap_err().reason
}

#[tokio::test]
async fn what_still_holds_goes_on_under_the_configuration_that_serves() {
    let hall = Hall::new(asking(OPEN, false));
    let mut exchange = forwarded(&hall).await;
    let mut more = asking(OPEN, false);
    more.routes.push(route("more", "/more"));

    publish(&hall, more, "two");

    assert_ne!(exchange.beats(), exchange.pulse().count());
    exchange.judge_lease().unwrap();
    assert_eq!(exchange.beats(), exchange.pulse().count());
    assert!(Arc::ptr_eq(exchange.snapshot(), &hall.gateway.snapshot()));
    assert_eq!(exchange.record().reason, None);
}

#[tokio::test]
async fn a_policy_that_denies_by_now_ends_it_and_the_record_says_so_once() {
    let hall = Hall::new(asking(OPEN, false));
    let mut exchange = forwarded(&hall).await;
    publish(&hall, asking(SHUT, false), "two");

    assert_eq!(ended(&mut exchange), Reason::PolicyDenied);
    exchange.finish(None, (0, 0), Ending::LeaseEnded);

    let records = hall.records.0.lock().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].reason, Some(Reason::PolicyDenied));
    assert_eq!(records[0].ending.as_str(), "lease-ended");
    assert_eq!(records[0].decided_by.as_ref().unwrap().path.as_ref(), "authorize");
}

#[tokio::test]
async fn a_policy_that_reads_the_body_is_asked_about_the_body_that_was_read() {
    let hall = Hall::new(asking(BY_BODY, true));
    let mut good = read(&hall, r#"{"kind":"good"}"#).await;
    let other = BY_BODY.replace("decision := false", "decision := false # again");
    publish(&hall, asking(&other, true), "two");
    good.judge_lease().unwrap();

    publish(&hall, asking(&BY_BODY.replace("good", "better"), true), "three");

    assert_eq!(ended(&mut good), Reason::PolicyDenied);
}

#[tokio::test]
async fn a_policy_that_reads_a_body_nobody_kept_finds_none() {
    let hall = Hall::new(asking(OPEN, false));
    let mut exchange = forwarded(&hall).await;

    publish(&hall, asking(BY_BODY, true), "two");

    assert_eq!(ended(&mut exchange), Reason::PolicyDenied);
}

#[tokio::test]
async fn a_policy_that_gives_no_answer_is_asked_again_and_denies_at_last() {
    let mut late = asking(
        "package test\ndecision if count(numbers.range(1, 1000)) == 1000\n",
        false,
    );
    late.admission.policies[0].budget = Duration::from_nanos(1);
    let hall = Hall::new(asking(OPEN, false));
    let mut exchange = forwarded(&hall).await;
    publish(&hall, late, "two");

    for _ in 0..3 {
        exchange.judge_lease().unwrap();
        assert_ne!(exchange.beats(), exchange.pulse().count(), "nothing was judged");
    }

    assert_eq!(ended(&mut exchange), Reason::PolicyTimeout);
}

#[tokio::test]
async fn a_policy_that_answers_the_second_time_is_asked_no_more() {
    let mut late = asking(
        "package test\ndecision if count(numbers.range(1, 1000)) == 1000\n",
        false,
    );
    late.admission.policies[0].budget = Duration::from_nanos(1);
    let hall = Hall::new(asking(OPEN, false));
    let mut exchange = forwarded(&hall).await;
    publish(&hall, late, "two");
    exchange.judge_lease().unwrap();

    publish(&hall, asking(OPEN, false), "three");

    exchange.judge_lease().unwrap();
    assert_eq!(exchange.beats(), exchange.pulse().count());
}

#[tokio::test]
async fn a_route_that_is_gone_or_takes_it_no_more_ends_it() {
    let hidden = {
        // A more specific route of another name takes the request now.
        let mut plan = plan(vec![route("orders", "/orders"), route("one", "/orders/1")]);
        plan.routes[1].authorize = Vec::new();
        plan
    };
    let mut answering = plan(vec![route("orders", "/orders")]);
    answering.routes[0].action = ActionPlan::Respond {
        status: http::StatusCode::OK,
        body: "".into(),
        content_type: http::HeaderValue::from_static("text/plain"),
    };
    for other in [plan(vec![route("others", "/orders")]), hidden, answering] {
        let hall = Hall::new(plan(vec![route("orders", "/orders")]));
        let mut exchange = forwarded(&hall).await;

        publish(&hall, other, "two");

        assert_eq!(ended(&mut exchange), Reason::RouteNotFound);
        let private = exchange.record().private.clone().unwrap();
        assert!(private.contains("\"orders\""), "{private}");
    }
}

#[tokio::test]
async fn what_runs_where_it_may_not_any_more_ends_and_what_may_goes_on() {
    let within = |jurisdiction: &str| {
        let mut resident = route("orders", "/orders");
        resident.residency = Some(ResidencyPlan {
            origin: origin("residency"),
            from: None,
            default: vec![jurisdiction.into()],
        });
        plan(vec![resident])
    };
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));
    let mut exchange = forwarded(&hall).await;
    publish(&hall, within("EU"), "two");
    exchange.judge_lease().unwrap();

    publish(&hall, within("US"), "three");

    assert_eq!(ended(&mut exchange), Reason::ResidencyUnavailable);
    let region = RegionId::from("eu-west");
    assert!(
        exchange
            .record()
            .private
            .as_ref()
            .unwrap()
            .contains(region.as_str())
    );
}

#[tokio::test]
async fn a_public_route_that_asks_for_credentials_by_now_ends_what_has_none() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));
    let mut exchange = forwarded(&hall).await;
    let mut closed = plan(vec![route("orders", "/orders")]);
    closed.identity.workload_api = true;
    closed.admission.policies.push(policy("p", OPEN, false));
    closed.routes[0].authorize = vec![ask_policy("p", None)];
    closed.identity.trust.push(support::trust("mesh"));
    closed.routes[0].public = false;
    closed.routes[0].authenticate = vec![portcullis_pipeline::plan::SchemePlan {
        scheme: portcullis_pipeline::plan::SchemeKind::Mtls("mesh".into()),
        origin: origin("authenticate"),
    }];

    publish(&hall, closed, "two");

    assert_eq!(ended(&mut exchange), Reason::CertificateMissing);
}
