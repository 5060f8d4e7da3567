//! Behaviour across rooms, without a socket.

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

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_admission::plan::KeyPart;
use portcullis_model::{Guard, Mode, Reason, Stage};
use portcullis_pipeline::body::BodyPlan;
use portcullis_pipeline::plan::{ActionPlan, CorsPlan, FieldsPlan, HostRewrite, RewritePlan};
use portcullis_pipeline::{Admission, Ending, Observation};
use portcullis_routing::attempt::{Failure, Outcome, TransportKind};
use portcullis_routing::plan::ResidencyPlan;
use serde_json::json;
use support::{Hall, ask_policy, contract, limit, origin, plan, policy, pool, reference, route, site};

const OBSERVE: Guard = Guard {
    mode: Mode::Observe,
    share: Guard::FULL_SHARE,
};

fn orders_contract() -> serde_json::Value {
    json!({
        "openapi": "3.1.0",
        "info": { "title": "orders", "version": "1" },
        "paths": { "/orders": {
            "get": { "operationId": "listOrders", "responses": { "200": { "description": "ok" } },
                     "parameters": [{ "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 100 } }] },
            "post": { "operationId": "createOrder", "responses": { "201": { "description": "ok" } },
                      "requestBody": { "required": true, "content": { "application/json": { "schema": {
                          "type": "object", "required": ["item"], "additionalProperties": false,
                          "properties": { "item": { "type": "string", "maxLength": 8 } } } } } } }
        } }
    })
}

fn with_contract(guard: Option<Guard>) -> Hall {
    let mut orders = route("orders", "/orders");
    orders.contract = Some(reference("orders".into(), guard));
    let mut plan = plan(vec![orders]);
    plan.admission
        .contracts
        .push(contract("orders", orders_contract()));
    Hall::new(plan)
}

fn post(length: &str) -> [(&str, &str); 2] {
    [("content-type", "application/json"), ("content-length", length)]
}

#[tokio::test]
async fn a_request_of_a_public_route_gets_an_endpoint_in_its_own_region() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));

    let (mut exchange, admission) = hall.ask(Method::GET, "/orders/7?x=1", &[]).await;

    assert!(matches!(admission, Ok(Admission::Forward)));
    let target = exchange.select_endpoint().unwrap();
    assert_eq!(target.endpoint.region.as_str(), "eu-west");
    let head = exchange.prepare_upstream(&target).unwrap();
    assert_eq!(head.path_and_query, "/orders/7?x=1");
    assert_eq!(head.headers["x-forwarded-for"], "192.0.2.1");
    assert_eq!(head.authority, "api.example.com");
}

#[tokio::test]
async fn an_unknown_path_is_not_found_and_leaves_one_record() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));

    let (exchange, admission) = hall.ask(Method::GET, "/other", &[]).await;

    assert_eq!(admission.unwrap_err().reason, Reason::RouteNotFound);
    exchange.finish(Some(StatusCode::NOT_FOUND), (0, 10), Ending::Complete);
    let records = hall.records.0.lock().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].stage, Some(Stage::MatchRoute));
    assert_eq!(&*records[0].path, "/other");
}

#[tokio::test]
async fn a_dropped_exchange_still_leaves_its_record() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));

    drop(hall.ask(Method::GET, "/orders", &[]).await);

    let records = hall.records.0.lock().unwrap();
    assert_eq!(records[0].ending, Ending::Dropped);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_followed_by_the_next_region_for_any_method() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));
    let (mut exchange, admission) = hall.ask(Method::POST, "/orders", &[]).await;
    assert!(admission.is_ok());
    exchange.select_endpoint().unwrap();

    let failure = Failure::of(Outcome::Transport(TransportKind::Refused));
    exchange.attempt_failed(&failure, true, "why").unwrap();

    assert_eq!(
        exchange.select_endpoint().unwrap().endpoint.region.as_str(),
        "us-east"
    );
}

#[tokio::test]
async fn a_post_that_was_reset_after_its_head_is_not_sent_twice() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));
    let (mut exchange, _) = hall.ask(Method::POST, "/orders", &[]).await;
    exchange.select_endpoint().unwrap();

    let failure = Failure::of(Outcome::Transport(TransportKind::Reset));

    assert_eq!(
        exchange.attempt_failed(&failure, true, "why").unwrap_err().reason,
        Reason::EndpointReset
    );
}

#[tokio::test]
async fn a_503_to_a_get_is_asked_again_elsewhere_and_to_a_post_passed_on() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));
    for (method, expected) in [
        (Method::GET, Observation::Again),
        (Method::POST, Observation::Pass),
    ] {
        let (mut exchange, _) = hall.ask(method, "/orders", &[]).await;
        exchange.select_endpoint().unwrap();

        let seen = exchange.observe(StatusCode::SERVICE_UNAVAILABLE, &mut HeaderMap::new(), true);

        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn residency_fails_closed_when_its_regions_are_gone() {
    let mut pinned = route("orders", "/orders");
    pinned.residency = Some(ResidencyPlan {
        origin: origin("residency"),
        from: None,
        default: vec!["EU".into()],
    });
    let hall = Hall::new(plan(vec![pinned]));
    let (mut exchange, _) = hall.ask(Method::GET, "/orders", &[]).await;
    assert_eq!(
        exchange.select_endpoint().unwrap().endpoint.region.as_str(),
        "eu-west"
    );

    let failure = Failure::of(Outcome::Transport(TransportKind::Refused));
    let rejection = exchange
        .attempt_failed(&failure, true, "why")
        .err()
        .or_else(|| exchange.select_endpoint().err());

    assert!(rejection.is_some(), "us-east must never be asked");
}

#[tokio::test]
async fn a_contract_refuses_heads_it_does_not_know() {
    let hall = with_contract(None);

    assert!(hall.ask(Method::GET, "/orders?limit=5", &[]).await.1.is_ok());
    assert_eq!(
        hall.refused(Method::GET, "/orders?limit=500", &[]).await,
        Reason::ParametersInvalid
    );
    assert_eq!(
        hall.refused(Method::DELETE, "/orders", &[]).await,
        Reason::OperationMethod
    );
    assert_eq!(
        hall.refused(Method::GET, "/orders/9", &[]).await,
        Reason::OperationUnknown
    );
    let media = [("content-type", "text/csv"), ("content-length", "3")];
    assert_eq!(
        hall.refused(Method::POST, "/orders", &media).await,
        Reason::MediaType
    );
}

#[tokio::test]
async fn a_body_is_held_until_it_fits() {
    let hall = with_contract(None);

    let (mut exchange, _) = hall.ask(Method::POST, "/orders", &post("14")).await;
    assert_eq!(exchange.body_plan(), BodyPlan::Cork);
    exchange.gate_push(br#"{"item""#).unwrap();
    exchange.gate_push(br#":"pen"}"#).unwrap();
    assert_eq!(
        exchange.gate_finish().unwrap(),
        Bytes::from_static(br#"{"item":"pen"}"#)
    );
    assert_eq!(
        exchange.gate_finish().unwrap(),
        Bytes::from_static(br#"{"item":"pen"}"#),
        "replayed"
    );

    let (mut exchange, _) = hall.ask(Method::POST, "/orders", &post("24")).await;
    exchange.gate_push(br#"{"item":"far too long"}"#).unwrap();
    let rejection = exchange.gate_finish().unwrap_err();
    assert_eq!(rejection.reason, Reason::BodyInvalid);
    let violation = &rejection.detail.unwrap().violations[0];
    assert_eq!(violation.pointer, "/item");
    assert!(!violation.expected.contains("far too long"));
}

#[tokio::test]
async fn every_attempt_reads_the_body_from_its_first_byte() {
    let refused = Failure::of(Outcome::Transport(TransportKind::Refused));
    let body = br#"{"item":"pen"}"#;
    let hall = with_contract(None);
    let (mut exchange, _) = hall.ask(Method::POST, "/orders", &post("14")).await;
    exchange.select_endpoint().unwrap();
    exchange.gate_push(body).unwrap();
    exchange.attempt_failed(&refused, true, "why").unwrap();

    exchange.select_endpoint().unwrap();
    exchange.gate_push(body).unwrap();

    assert_eq!(exchange.gate_finish().unwrap(), &body[..], "once, not twice");

    let mut streamed = route("orders", "/orders");
    streamed.body_max = Some(10);
    let hall = Hall::new(plan(vec![streamed]));
    let (mut exchange, _) = hall.ask(Method::POST, "/orders", &post("8")).await;
    for _ in 0..2 {
        exchange.select_endpoint().unwrap();
        exchange.stream_push(8).unwrap();
        exchange.attempt_failed(&refused, true, "why").unwrap_or_default();
    }
    assert_eq!(
        exchange.stream_push(8).unwrap_err().reason,
        Reason::BodyTooLarge,
        "within one attempt the limit holds"
    );
}

#[tokio::test]
async fn a_body_of_which_the_contract_names_no_more_than_the_type_streams() {
    let mut document = orders_contract();
    document["paths"]["/orders"]["post"]["requestBody"]["content"] =
        json!({ "application/octet-stream": {} });
    let mut orders = route("orders", "/orders");
    orders.contract = Some(reference("orders".into(), None));
    let mut plan = plan(vec![orders]);
    plan.admission.contracts.push(contract("orders", document));
    let hall = Hall::new(plan);

    let fields = [
        ("content-type", "application/octet-stream"),
        ("content-length", "3"),
    ];
    let (exchange, admission) = hall.ask(Method::POST, "/orders", &fields).await;

    assert!(matches!(admission, Ok(Admission::Forward)), "{admission:?}");
    assert_eq!(exchange.body_plan(), BodyPlan::Stream);
}

#[tokio::test]
async fn a_required_body_that_is_missing_is_refused() {
    let hall = with_contract(None);

    let (mut exchange, outcome) = hall
        .ask(Method::POST, "/orders", &[("content-type", "application/json")])
        .await;

    let reason = match outcome {
        Err(rejection) => rejection.reason,
        Ok(_) => exchange.gate_finish().unwrap_err().reason,
    };
    assert_eq!(reason, Reason::BodyMissing);
}

#[tokio::test]
async fn an_observed_contract_lets_pass_and_tells() {
    let hall = with_contract(Some(OBSERVE));

    let (exchange, outcome) = hall.ask(Method::GET, "/orders?limit=500", &[]).await;
    assert!(outcome.is_ok());
    assert_eq!(exchange.record().observed[0].reason, Reason::ParametersInvalid);

    let (mut exchange, _) = hall.ask(Method::POST, "/orders", &post("24")).await;
    exchange.gate_push(br#"{"item":"far too long"}"#).unwrap();
    assert_eq!(exchange.gate_finish().unwrap().len(), 23);
    assert_eq!(exchange.record().observed[0].reason, Reason::BodyInvalid);
}

#[tokio::test]
async fn bodies_above_the_routes_limit_are_refused_declared_or_not() {
    let mut small = route("orders", "/orders");
    small.body_max = Some(10);
    let hall = Hall::new(plan(vec![small]));

    assert_eq!(
        hall.refused(Method::POST, "/orders", &[("content-length", "11")])
            .await,
        Reason::BodyTooLargeDeclared
    );
    let (mut exchange, _) = hall
        .ask(Method::POST, "/orders", &[("content-length", "10")])
        .await;
    exchange.stream_push(10).unwrap();
    assert_eq!(exchange.stream_push(1).unwrap_err().reason, Reason::BodyTooLarge);
}

#[tokio::test]
async fn a_limit_refuses_with_its_fields_and_an_observed_one_only_tells() {
    for (guard, is_refused) in [(None, true), (Some(OBSERVE), false)] {
        let mut limited = route("orders", "/orders");
        limited.rate_limits = vec![reference("per_address".into(), guard)];
        let mut plan = plan(vec![limited]);
        plan.admission
            .limits
            .push(limit("per_address", KeyPart::ClientAddress, 1));
        let hall = Hall::new(plan);

        assert!(hall.ask(Method::GET, "/orders", &[]).await.1.is_ok());
        let (exchange, second) = hall.ask(Method::GET, "/orders", &[]).await;

        assert_eq!(second.is_err(), is_refused);
        if let Err(rejection) = second {
            assert_eq!(rejection.status(), StatusCode::TOO_MANY_REQUESTS);
            let detail = rejection.detail.unwrap();
            assert!(detail.headers.iter().any(|(name, _)| name == "ratelimit"));
        } else {
            assert_eq!(exchange.record().observed.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_policy_denies_with_its_reason_and_an_undefined_one_denies_too() {
    let rego = "package test\nimport rego.v1\ndecision := {\"allow\": false, \"reason\": \"no writes\"} if input.request.method == \"POST\"\ndecision := {\"allow\": true} if input.request.method == \"GET\"\n";
    let mut guarded = route("orders", "/orders");
    guarded.authorize = vec![ask_policy("p", None)];
    let mut plan = plan(vec![guarded]);
    plan.admission.policies.push(policy("p", rego, false));
    let hall = Hall::new(plan);

    assert!(hall.ask(Method::GET, "/orders", &[]).await.1.is_ok());
    let denied = hall.ask(Method::POST, "/orders", &[]).await.1.unwrap_err();
    assert_eq!(denied.reason, Reason::PolicyDenied);
    assert_eq!(denied.detail.unwrap().public.as_deref(), Some("no writes"));
    assert_eq!(
        hall.refused(Method::PUT, "/orders", &[]).await,
        Reason::PolicyUndefined
    );
}

#[tokio::test]
async fn a_policy_is_told_the_jurisdictions_that_lie_wholly_within_the_residency() {
    let rego = "package test\nimport rego.v1\ndefault decision := false\ndecision if input.route.residency == [\"EU\"]\n";
    for (default, is_allowed) in [("EU", true), ("US", false)] {
        let mut guarded = route("orders", "/orders");
        guarded.authorize = vec![ask_policy("p", None)];
        guarded.residency = Some(ResidencyPlan {
            origin: origin("residency"),
            from: None,
            default: vec![default.into()],
        });
        let mut plan = plan(vec![guarded]);
        plan.admission.policies.push(policy("p", rego, false));
        let hall = Hall::new(plan);

        let admission = hall.ask(Method::GET, "/orders", &[]).await.1;

        assert_eq!(admission.is_ok(), is_allowed, "{default}");
    }
}

#[test]
fn a_route_whose_rules_are_only_observed_is_warned_about() {
    let rego = "package test\nimport rego.v1\ndecision := true\n";
    for (guard, warnings) in [(None, 0), (Some(OBSERVE), 1)] {
        let mut guarded = route("orders", "/orders");
        guarded.public = false;
        guarded.authenticate = vec![portcullis_pipeline::plan::SchemePlan {
            origin: origin("authenticate"),
            scheme: portcullis_pipeline::plan::SchemeKind::Mtls("people".into()),
        }];
        guarded.authorize = vec![ask_policy("p", guard)];
        let mut plan = plan(vec![guarded]);
        plan.identity.workload_api = true;
        plan.identity.trust.push(support::trust("people"));
        plan.admission.policies.push(policy("p", rego, false));

        let (_, problems) =
            portcullis_pipeline::compile(plan.into(), None, &support::boards(), "test".to_owned()).unwrap();

        let found = problems
            .iter()
            .filter(|problem| problem.code == "nothing-enforced")
            .count();
        assert_eq!(found, warnings, "{problems}");
    }
}

#[tokio::test]
async fn a_policy_that_reads_the_body_gets_it_before_it_decides() {
    let rego = "package test\nimport rego.v1\ndefault decision := false\ndecision := true if input.request.body.item == \"pen\"\n";
    let mut guarded = route("orders", "/orders");
    guarded.authorize = vec![ask_policy("p", None)];
    let mut plan = plan(vec![guarded]);
    plan.admission.policies.push(policy("p", rego, true));
    let hall = Hall::new(plan);
    for (body, is_allowed) in [(r#"{"item":"pen"}"#, true), (r#"{"item":"ink"}"#, false)] {
        let (mut exchange, admission) = hall.ask(Method::POST, "/orders", &post("14")).await;
        assert!(matches!(admission, Ok(Admission::NeedsBody { max: 65_536 })));

        let admission = exchange.admit_with_body(body.as_bytes());

        assert_eq!(admission.is_ok(), is_allowed);
        if is_allowed {
            assert_eq!(exchange.gate_finish().unwrap(), body);
        }
    }
}

#[tokio::test]
async fn an_endpoint_is_out_of_reach_before_a_request_was_admitted() {
    let hall = Hall::new(plan(vec![route("orders", "/orders")]));
    let (mut exchange, _) = hall.ask(Method::GET, "/nowhere", &[]).await;

    assert_eq!(exchange.select_endpoint().unwrap_err().reason, Reason::Internal);
}

#[tokio::test]
async fn a_route_may_answer_or_redirect_by_itself() {
    let mut pong = route("pong", "/ping");
    pong.action = ActionPlan::Respond {
        status: StatusCode::OK,
        body: "pong".into(),
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
    };
    let mut moved = route("moved", "/old");
    let to = HeaderValue::from_static("https://example.com/new");
    moved.action = ActionPlan::Redirect {
        status: StatusCode::PERMANENT_REDIRECT,
        to,
    };
    let hall = Hall::new(plan(vec![pong, moved]));

    assert_eq!(hall.answered(Method::GET, "/ping", &[]).await.body, "pong");
    let answer = hall.answered(Method::GET, "/old", &[]).await;
    assert_eq!(answer.headers["location"], "https://example.com/new");
    assert!(answer.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn only_real_preflights_are_answered_before_authentication() {
    let mut guarded = route("orders", "/orders");
    guarded.matches.methods = vec![Method::GET, Method::PUT];
    guarded.cors = Some(CorsPlan {
        origin: origin("cors"),
        origins: vec!["https://app.example.com".to_owned()],
        methods: vec![Method::PUT],
        headers: vec!["authorization".parse().unwrap()],
        expose: Vec::new(),
        credentials: false,
        max_age: std::time::Duration::from_secs(600),
    });
    let hall = Hall::new(plan(vec![guarded]));
    let real = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization"),
    ];

    let answer = hall.answered(Method::OPTIONS, "/orders", &real).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://app.example.com"
    );

    let foreign = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "PUT"),
    ];
    assert_eq!(
        hall.refused(Method::OPTIONS, "/orders", &foreign).await,
        Reason::CorsRefused
    );
    assert_eq!(
        hall.refused(Method::OPTIONS, "/orders", &real[..1]).await,
        Reason::MethodNotAllowed
    );
}

#[tokio::test]
async fn the_outgoing_head_is_rewritten_as_configured() {
    let mut rewritten = route("orders", "/api/v1");
    rewritten.rewrite = RewritePlan {
        prefix: Some("/orders".to_owned()),
        host: HostRewrite::Pool,
    };
    rewritten.request_fields = FieldsPlan {
        set: vec![(
            "x-gateway".parse().unwrap(),
            HeaderValue::from_static("portcullis"),
        )],
        remove: vec!["x-debug".parse().unwrap()],
    };
    let mut plan = plan(vec![rewritten]);
    plan.routing.pools = vec![pool("orders", vec![site("eu-west", "127.0.0.1:3001")])];
    let hall = Hall::new(plan);
    for (target, expected) in [
        ("/api/v1", "/orders"),
        ("/api/v1/7", "/orders/7"),
        ("/api/v1/", "/orders/"),
    ] {
        let fields = [
            ("x-debug", "1"),
            ("x-portcullis-user", "root"),
            ("te", "trailers"),
        ];
        let (mut exchange, _) = hall.ask(Method::GET, target, &fields).await;
        let target = exchange.select_endpoint().unwrap();

        let head = exchange.prepare_upstream(&target).unwrap();

        assert_eq!(head.path_and_query, expected);
        assert_eq!(head.authority, "127.0.0.1:3001");
        assert_eq!(head.headers["x-gateway"], "portcullis");
        assert_eq!(head.headers["te"], "trailers");
        assert!(!head.headers.contains_key("x-debug") && !head.headers.contains_key("x-portcullis-user"));
    }
}

#[tokio::test]
async fn upgrades_pass_only_where_the_route_says_so() {
    let mut open = route("chat", "/chat");
    open.websocket = true;
    let hall = Hall::new(plan(vec![open, route("orders", "/orders")]));
    let websocket = [("upgrade", "websocket"), ("connection", "upgrade")];

    assert!(hall.ask(Method::GET, "/chat", &websocket).await.1.is_ok());
    assert_eq!(
        hall.refused(Method::GET, "/orders", &websocket).await,
        Reason::UpgradeNotAllowed
    );
    assert_eq!(
        hall.refused(Method::GET, "/chat", &[("upgrade", "h2c")]).await,
        Reason::UpgradeNotAllowed
    );
}

#[tokio::test]
async fn a_rehearsal_tells_every_stage_and_leaves_no_record() {
    let hall = with_contract(None);
    let mut exchange = hall.begin();
    exchange.rehearse();
    let headers = support::headers(&[]);

    let raw = portcullis_pipeline::RawHead {
        method: &Method::GET,
        target: b"/orders",
        authority: None,
        headers: &headers,
        version: http::Version::HTTP_11,
        upgrade: None,
        has_body: false,
    };
    exchange.admit(raw).await.unwrap();
    exchange.select_endpoint().unwrap();

    let stages: Vec<&str> = exchange.steps().iter().map(|step| step.stage.as_str()).collect();
    for stage in [
        "normalize",
        "match_route",
        "authenticate",
        "validate_head",
        "select_endpoint",
    ] {
        assert!(stages.contains(&stage), "{stage} is missing in {stages:?}");
    }
    drop(exchange);
    assert!(hall.records.0.lock().unwrap().is_empty());
}
