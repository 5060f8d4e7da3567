//! What endpoints are told is what the gateway says, whatever else a route, a client or the endpoint itself says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a test may stop at the first surprise, and has no outside"
)]

mod support;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use portcullis_identity::plan::{AssertionKeys, AssertionPlan, ForwardPlan};
use portcullis_pipeline::plan::{ActionPlan, FieldsPlan, GatewayPlan};
use serde_json::Value;
use support::{Hall, headers, origin, plan, route};

const OURS: [&str; 2] = ["x-portcullis-identity", "x-forwarded-client-cert"];

/// The plan of a public route, whose pool is told of principals.
fn telling(request_fields: FieldsPlan) -> GatewayPlan {
    let mut open = route("orders", "/orders");
    open.request_fields = request_fields;
    let mut keys = route("keys", "/keys");
    keys.action = ActionPlan::KeySet;
    let mut plan = plan(vec![open, keys]);
    plan.identity.assertion = Some(AssertionPlan {
        origin: origin("identity.assertion"),
        issuer: "https://gw.example".into(),
        keys: AssertionKeys::Made(Duration::from_secs(86_400)),
        lifetime: Duration::from_secs(60),
    });
    plan.identity.forwards.push(ForwardPlan {
        pool: "orders".into(),
        origin: origin("pools.orders.forward_identity"),
        audience: Some("orders".into()),
        client_certificate: true,
    });
    plan
}

#[tokio::test]
async fn neither_a_route_nor_a_client_says_who_asks() {
    let said = |name: &str| {
        (
            HeaderName::try_from(name).unwrap(),
            HeaderValue::from_static("spoofed"),
        )
    };
    let hall = Hall::new(telling(FieldsPlan {
        set: OURS.map(said).into(),
        remove: Vec::new(),
    }));
    let fields = OURS.map(|name| (name, "spoofed"));

    let (mut exchange, _) = hall.ask(Method::GET, "/orders", &fields).await;
    let target = exchange.select_endpoint().unwrap();
    let head = exchange.prepare_upstream(&target).unwrap();

    for name in OURS {
        assert!(
            !head.headers.contains_key(name),
            "nobody was proven: {:?}",
            head.headers
        );
    }
}

#[tokio::test]
async fn what_an_endpoint_echoes_does_not_reach_the_client() {
    let hall = Hall::new(telling(FieldsPlan::default()));
    let (mut exchange, _) = hall.ask(Method::GET, "/orders", &[]).await;
    exchange.select_endpoint().unwrap();
    let mut answer = headers(&OURS.map(|name| (name, "echoed")));
    answer.insert("x-own", HeaderValue::from_static("1"));

    exchange.observe(StatusCode::OK, &mut answer, true);

    assert!(OURS.iter().all(|name| !answer.contains_key(*name)), "{answer:?}");
    assert_eq!(answer["x-own"], "1");
}

#[tokio::test]
async fn a_route_answers_with_the_key_set() {
    let hall = Hall::new(telling(FieldsPlan::default()));

    let answer = hall.answered(Method::GET, "/keys", &[]).await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/jwk-set+json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=60");
    let keys: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}
