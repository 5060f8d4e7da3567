use std::time::{Duration, Instant};

use super::*;

/// Far above what any of these takes, far below what a stall of the gateway would be.
const BOUND: Duration = Duration::from_secs(10);

fn judge_in_time(schema: Value, body: &[u8]) -> Result<HeldBody, Rejection> {
    let contract = compiled(with_body(schema));
    let started = Instant::now();
    let verdict = Request::post("application/json").judge(&contract, body);
    assert!(started.elapsed() < BOUND, "took {:?}", started.elapsed());
    verdict
}

#[test]
fn a_body_of_nothing_but_violations_is_refused_in_time() {
    let body = format!("[{}0]", "0,".repeat(90_000));

    let rejection = judge_in_time(json!({"items": {"type": "string"}}), body.as_bytes()).unwrap_err();

    assert_eq!(rejection.detail.unwrap().violations.len(), 32);
}

#[test]
fn alternatives_that_recurse_are_judged_in_time() {
    let mut document = with_body(json!({"$ref": "#/components/schemas/Tree"}));
    document["components"] = json!({"schemas": {"Tree": {
        "anyOf": [
            {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/Tree"}}, "required": ["x"]},
            {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/Tree"}}, "required": ["y"]},
            {"type": "integer"},
        ],
    }}});
    let contract = compiled(document);
    let body = format!("{}0{}", r#"{"a":"#.repeat(63), "}".repeat(63));
    let started = Instant::now();

    let verdict = Request::post("application/json").judge(&contract, body.as_bytes());

    assert_eq!(reason(verdict), Reason::BodyInvalid);
    assert!(started.elapsed() < BOUND, "took {:?}", started.elapsed());
}

#[test]
fn unevaluated_parts_of_alternatives_that_recurse_are_judged_in_time() {
    let mut document = with_body(json!({"$ref": "#/components/schemas/Tree"}));
    let child = |needed: &str| json!({"properties": {"a": {"$ref": "#/components/schemas/Tree"}, needed: {}}, "required": [needed]});
    document["components"] = json!({"schemas": {"Tree": {
        "type": ["object", "integer"],
        "anyOf": [child("x"), child("y"), {"properties": {"a": {"$ref": "#/components/schemas/Tree"}}}],
        "unevaluatedProperties": false,
    }}});
    let contract = compiled(document);
    let body = format!("{}0{}", r#"{"z":1,"a":"#.repeat(60), "}".repeat(60));
    let started = Instant::now();

    let verdict = Request::post("application/json").judge(&contract, body.as_bytes());

    assert_eq!(reason(verdict), Reason::BodyInvalid);
    assert!(started.elapsed() < BOUND, "took {:?}", started.elapsed());
}

#[test]
fn conjunctions_that_recurse_are_judged_in_time() {
    let mut document = with_body(json!({"$ref": "#/components/schemas/Tree"}));
    let child = json!({"properties": {"a": {"$ref": "#/components/schemas/Tree"}}});
    document["components"] = json!({"schemas": {"Tree": {"allOf": [child, child, {"not": {"const": 0}}]}}});
    let contract = compiled(document);
    let body = format!("{}0{}", r#"{"a":"#.repeat(63), "}".repeat(63));
    let started = Instant::now();

    let verdict = Request::post("application/json").judge(&contract, body.as_bytes());

    assert_eq!(reason(verdict), Reason::BodyInvalid);
    assert!(started.elapsed() < BOUND, "took {:?}", started.elapsed());
}

#[test]
fn long_text_against_patterns_is_judged_in_time() {
    let body = format!("{:?}", "a".repeat(900_000));

    for pattern in ["^(a+)+$", "^(a|a)*b$", "(x+x+)+y"] {
        let _ = judge_in_time(json!({"type": "string", "pattern": pattern}), body.as_bytes());
    }
}

#[test]
fn unique_items_are_judged_in_time() {
    let numbers: Vec<_> = (0..90_000).collect();

    assert!(
        judge_in_time(
            json!({"uniqueItems": true}),
            json!(numbers).to_string().as_bytes()
        )
        .is_ok()
    );
}

#[test]
fn long_text_against_formats_is_judged_in_time() {
    for format in [
        "email",
        "uri",
        "date-time",
        "uuid",
        "hostname",
        "ipv6",
        "regex",
        "byte",
        "uri-template",
        "idn-email",
    ] {
        for letter in ["a", "1", ".", ":", "@", "(", "{"] {
            let body = json!(letter.repeat(300_000)).to_string();
            let _ = judge_in_time(json!({"type": "string", "format": format}), body.as_bytes());
        }
    }
}

#[test]
fn many_names_are_judged_in_time() {
    let members: Vec<_> = (0..50_000)
        .map(|number| format!("\"k{number}\":{number}"))
        .collect();
    let body = format!("{{{}}}", members.join(","));

    assert!(judge_in_time(json!({"type": "object"}), body.as_bytes()).is_ok());
    let closed = judge_in_time(
        json!({"type": "object", "additionalProperties": false}),
        body.as_bytes(),
    );
    assert_eq!(told(closed.map(|_| ())), ["body  additionalProperties"]);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Bytes of any kind are refused or released, and released bytes are what came.
        #[test]
        fn no_body_is_too_strange(body in proptest::collection::vec(any::<u8>(), 1..200)) {
            let contract = compiled(with_body(json!({"type": "object", "properties": {"a": {"type": "string"}}})));

            if let Ok(held) = Request::post("application/json").judge(&contract, &body) {
                prop_assert_eq!(held.bytes.as_ref(), body.as_slice());
            }
        }

        /// Text that looks like JSON is read as serde_json reads it, or refused.
        #[test]
        fn what_is_accepted_is_what_serde_reads(body in "[\\[\\]{}:,\"a1. \\\\u0-]{1,30}") {
            if let Ok(value) = crate::contract::parse_strict(body.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), value);
            }
        }
    }
}
