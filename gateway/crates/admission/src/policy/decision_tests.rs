use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<Decision, PolicyFault> {
    Decision::parse(&value)
}

fn message(value: Value) -> String {
    match parse(value) {
        Err(PolicyFault::Shape(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_boolean_is_a_decision() {
    assert!(parse(json!(true)).unwrap().allow);
    assert!(!parse(json!(false)).unwrap().allow);
}

#[test]
fn an_object_is_a_decision_with_reason_status_and_fields() {
    let denied = parse(json!({
        "allow": false, "reason": "not yours", "status": 451, "headers": { "x-why": "because", "x-list": ["a", "b"] }
    }))
    .unwrap();

    assert_eq!(denied.reason.as_deref(), Some("not yours"));
    assert_eq!(denied.status, Some(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS));
    assert_eq!(denied.headers.len(), 3);

    let allowed =
        parse(json!({ "allowed": true, "http_status": 200, "request_headers": { "x-tenant": "t1" } }))
            .unwrap();

    assert!(allowed.allow);
    assert_eq!(allowed.status, None);
    assert_eq!(
        allowed.request_headers,
        [(
            HeaderName::from_static("x-tenant"),
            HeaderValue::from_static("t1")
        )]
    );
}

#[test]
fn null_and_unknown_members_are_as_good_as_absent() {
    let decision =
        parse(json!({ "allow": true, "reason": null, "status": null, "headers": null, "extra": 1 })).unwrap();

    assert_eq!(
        decision,
        Decision {
            allow: true,
            ..Decision::default()
        }
    );
}

#[test]
fn anything_else_is_a_fault() {
    for value in [
        json!(null),
        json!(1),
        json!("true"),
        json!([]),
        json!([true]),
        json!({}),
        json!({ "result": true }),
    ] {
        assert!(
            matches!(parse(value.clone()), Err(PolicyFault::Shape(_))),
            "{value}"
        );
    }
    assert_eq!(message(json!({ "allow": "yes" })), "\"allow\" is not a boolean");
    assert_eq!(message(json!({ "allow": 1 })), "\"allow\" is not a boolean");
    assert_eq!(message(json!({ "allow": null })), "\"allow\" is not a boolean");
    assert!(message(json!({ "allow": true, "reason": ["a"] })).contains("reason"));
}

#[test]
fn two_names_for_one_thing_must_agree() {
    assert!(parse(json!({ "allow": true, "allowed": true })).unwrap().allow);
    assert!(message(json!({ "allow": false, "allowed": true })).contains("contradict"));
    assert!(message(json!({ "allow": false, "status": 403, "http_status": 404 })).contains("contradict"));
}

#[test]
fn the_status_of_a_denial_is_a_4xx() {
    for good in [400, 403, 404, 451, 499] {
        assert_eq!(
            parse(json!({ "allow": false, "status": good }))
                .unwrap()
                .status
                .unwrap()
                .as_u16(),
            good
        );
    }
    for bad in [
        json!(200),
        json!(302),
        json!(399),
        json!(500),
        json!(503),
        json!(0),
        json!(-1),
        json!(403.5),
        json!("403"),
    ] {
        assert!(
            matches!(
                parse(json!({ "allow": false, "status": bad })),
                Err(PolicyFault::Shape(_))
            ),
            "{bad}"
        );
    }
}

#[test]
fn fields_that_frame_or_split_a_message_are_refused() {
    for name in [
        "connection",
        "Transfer-Encoding",
        "content-length",
        "host",
        "te",
        "upgrade",
        "keep-alive",
        "content-type",
    ] {
        assert!(
            message(json!({ "allow": false, "headers": { name: "x" } })).contains("may not set"),
            "{name}"
        );
    }
    assert!(
        message(json!({ "allow": false, "headers": { "x-a": "b\r\nset-cookie: c" } }))
            .contains("forbidden byte")
    );
    assert!(message(json!({ "allow": false, "headers": { "x-a": "b\u{0}" } })).contains("forbidden byte"));
    assert!(message(json!({ "allow": false, "headers": { "x a": "b" } })).contains("invalid field name"));
    assert!(message(json!({ "allow": false, "headers": { "x:a": "b" } })).contains("invalid field name"));
    assert!(message(json!({ "allow": false, "headers": { "": "b" } })).contains("invalid field name"));
    assert!(message(json!({ "allow": false, "headers": { "x-a": 1 } })).contains("not text"));
    assert!(message(json!({ "allow": false, "headers": [["x-a", "b"]] })).contains("not an object"));
}

#[test]
fn a_policy_cannot_forge_what_the_gateway_says_about_the_client() {
    for name in [
        "authorization",
        "cookie",
        "x-portcullis-subject",
        "x-forwarded-for",
        "forwarded",
        "x-request-id",
        "traceparent",
    ] {
        let decision = json!({ "allow": true, "request_headers": { name: "x" } });
        assert!(message(decision).contains("may not set"), "{name}");
    }
    assert!(parse(json!({ "allow": true, "request_headers": { "x-tenant": "a" } })).is_ok());
}

#[test]
fn there_is_a_bound_on_fields_and_on_the_reason() {
    let many: serde_json::Map<_, _> = (0..40).map(|n| (format!("x-{n}"), json!("v"))).collect();

    assert!(message(json!({ "allow": false, "headers": many })).contains("more than"));
    assert_eq!(
        parse(json!({ "allow": false, "reason": "ä".repeat(2_000) }))
            .unwrap()
            .reason
            .unwrap()
            .chars()
            .count(),
        512
    );
    assert_eq!(
        parse(json!({ "allow": false, "reason": "a\r\nb" }))
            .unwrap()
            .reason
            .as_deref(),
        Some("a  b")
    );
}
