//! Remembered decisions as the traffic meets them: counted, and never in the way of a refusal.

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

use http::Method;
use portcullis_admission::limit::LimitTable;
use portcullis_admission::metrics::{Metrics, POLICY_RECALLS, POLICY_SECONDS};
use portcullis_model::Reason;
use portcullis_pipeline::Boards;
use support::{Hall, ask_policy, boards, plan, policy, route};

const BY_QUERY: &str =
    "package test\ndefault decision := false\ndecision if input.request.query.key == [\"open\"]\n";

/// A hall whose route asks this policy, with its metrics.
fn hall(rego: &str) -> (Hall, prometheus::Registry) {
    let registry = prometheus::Registry::new();
    let boards = Boards {
        limits: Arc::new(LimitTable::with_metrics(Metrics::register(&registry).unwrap())),
        ..boards()
    };
    let mut guarded = route("orders", "/orders");
    guarded.authorize = vec![ask_policy("p", None)];
    let mut plan = plan(vec![guarded]);
    plan.admission.policies.push(policy("p", rego, false));
    (Hall::with_boards(plan, boards), registry)
}

/// Recalls by result, and how many decisions were timed.
fn counted(registry: &prometheus::Registry) -> (Vec<(String, u64)>, u64) {
    let (mut recalls, mut decisions) = (Vec::new(), 0);
    for family in registry.gather() {
        for metric in family.get_metric() {
            let result = metric.get_label().iter().find(|label| label.name() == "result");
            match (family.name(), result) {
                (POLICY_RECALLS, Some(label)) => {
                    recalls.push((label.value().to_owned(), metric.get_counter().get_value() as u64));
                }
                (POLICY_SECONDS, _) => decisions += metric.get_histogram().get_sample_count(),
                _ => {}
            }
        }
    }
    (recalls, decisions)
}

#[tokio::test]
async fn the_second_request_with_the_same_facts_is_a_hit_and_both_are_counted_as_decisions() {
    let (hall, registry) = hall(BY_QUERY);

    for _ in 0..3 {
        assert!(hall.ask(Method::GET, "/orders/7?key=open", &[]).await.1.is_ok());
    }
    assert!(
        hall.ask(Method::POST, "/orders/8?key=open&other=1", &[])
            .await
            .1
            .is_ok()
    );

    let counts = counted(&registry);
    assert_eq!(counts, (vec![("hit".to_owned(), 3), ("miss".to_owned(), 1)], 4));
}

#[tokio::test]
async fn a_remembered_refusal_refuses_and_opens_nothing_for_others() {
    let (hall, registry) = hall(BY_QUERY);

    for _ in 0..2 {
        let refused = hall.refused(Method::GET, "/orders/7?key=shut", &[]).await;
        assert_eq!(refused, Reason::PolicyDenied);
        assert!(hall.ask(Method::GET, "/orders/7?key=open", &[]).await.1.is_ok());
        let twice = hall
            .refused(Method::GET, "/orders/7?key=open&key=shut", &[])
            .await;
        assert_eq!(twice, Reason::PolicyDenied);
    }

    assert_eq!(
        counted(&registry).0,
        [("hit".to_owned(), 3), ("miss".to_owned(), 3)]
    );
}

#[tokio::test]
async fn a_policy_that_is_evaluated_every_time_counts_no_recalls() {
    let (hall, registry) = hall("package test\ndecision := input.request.id != \"\"\n");

    for _ in 0..2 {
        assert!(hall.ask(Method::GET, "/orders", &[]).await.1.is_ok());
    }

    assert_eq!(counted(&registry), (Vec::new(), 2));
}
