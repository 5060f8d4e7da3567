use std::time::{Duration, UNIX_EPOCH};

use http::HeaderName;
use portcullis_model::{Principal, Query, SpiffeId};
use serde_json::{Value, json};

use super::*;
use crate::policy::test_facts::{Facts, user, workload};

fn json_of(facts: &Facts, headers: &[&'static str], reads_body: bool) -> Value {
    let names: Vec<_> = headers.iter().map(|name| HeaderName::from_static(name)).collect();
    serde_json::to_value(Document::new(&facts.input(), &names, reads_body)).unwrap()
}

#[test]
fn the_document_of_a_user_has_every_field() {
    let mut facts = Facts::by(user(
        "alice",
        Some("t1"),
        &["editor"],
        &["appointments:read"],
        Some("EU"),
    ))
    .header("x-tenant", b"a")
    .header("x-tenant", b"b");
    facts.query = Query {
        text: "limit=10&q=&limit=20".into(),
        pairs: vec![
            ("limit".into(), "10".into()),
            ("q".into(), String::new()),
            ("limit".into(), "20".into()),
        ],
    };
    facts.path = "/api/v1/caf%C3%A9/".into();

    let document = json_of(&facts, &["x-tenant"], false);

    assert_eq!(
        document,
        json!({
            "request": {
                "id": "req-1", "method": "GET", "scheme": "https", "host": "api.example.com",
                "path": "/api/v1/caf%C3%A9/", "segments": ["api", "v1", "café", ""],
                "query": { "limit": ["10", "20"], "q": [""] }, "headers": { "x-tenant": ["a", "b"] }, "body": null
            },
            "principal": {
                "kind": "user", "scheme": "jwt", "id": "customers:alice", "issuer": "customers", "subject": "alice",
                "spiffe_id": null, "trust_domain": null, "tenant": "t1", "roles": ["editor"],
                "scopes": ["appointments:read"], "region": "EU",
                "claims": { "sub": "alice", "age": 41, "ratio": 0.5, "nested": { "list": [1, "two", null, true] } },
                "expires_at": 1_790_000_000
            },
            "client": { "address": "203.0.113.7", "certificate": null },
            "route": {
                "name": "appointments", "class": "critical", "params": { "id": "42" },
                "operation": "getAppointment", "residency": ["EU"]
            },
            "gateway": { "region": "eu-west", "revision": "abc123" }
        })
    );
}

#[test]
fn absent_things_are_null_or_empty_and_never_missing() {
    let mut facts = Facts::by(Principal::anonymous());
    facts.operation = None;
    facts.residency = Vec::new();

    let document = json_of(&facts, &["x-tenant"], false);

    assert_eq!(document["principal"]["kind"], "anonymous");
    assert_eq!(document["principal"]["scheme"], "none");
    for name in [
        "issuer",
        "subject",
        "spiffe_id",
        "trust_domain",
        "tenant",
        "region",
        "expires_at",
    ] {
        assert!(
            document["principal"].get(name).is_some_and(Value::is_null),
            "{name}"
        );
    }
    assert_eq!(document["principal"]["claims"], json!({}));
    assert_eq!(document["request"]["headers"], json!({}));
    assert_eq!(document["route"]["operation"], Value::Null);
    assert_eq!(document["route"]["residency"], json!([]));
}

#[test]
fn a_workload_has_its_spiffe_id_and_certificate() {
    let facts = Facts::by(workload("spiffe://corp.example/billing"));
    let id = SpiffeId::new("spiffe://corp.example/billing").unwrap();
    let mut input = facts.input();
    input.certificate = Some(ClientCertificate {
        spiffe_id: Some(&id),
        fingerprint: &[0xab; 32],
        not_after: UNIX_EPOCH + Duration::from_secs(5),
    });

    let document = serde_json::to_value(Document::new(&input, &[], false)).unwrap();

    assert_eq!(document["principal"]["kind"], "workload");
    assert_eq!(
        document["principal"]["spiffe_id"],
        "spiffe://corp.example/billing"
    );
    assert_eq!(document["principal"]["trust_domain"], "corp.example");
    assert_eq!(document["client"]["certificate"]["fingerprint"], "ab".repeat(32));
    assert_eq!(document["client"]["certificate"]["expires_at"], 5);
}

#[test]
fn only_declared_fields_are_given() {
    let facts = Facts::new().header("x-tenant", b"a").header("x-other", b"b");

    assert_eq!(
        json_of(&facts, &["x-tenant"], false)["request"]["headers"],
        json!({ "x-tenant": ["a"] })
    );
    assert_eq!(json_of(&facts, &[], false)["request"]["headers"], json!({}));
}

#[test]
fn credentials_and_identity_fields_are_never_given() {
    let names = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-forwarded-client-cert",
        "x-portcullis-subject",
    ];
    let facts = names
        .iter()
        .fold(Facts::new(), |facts, name| facts.header(name, b"secret"));

    assert_eq!(json_of(&facts, &names, false)["request"]["headers"], json!({}));
}

#[test]
fn a_field_that_is_not_utf8_is_given_byte_for_byte() {
    let facts = Facts::new().header("x-tenant", b"caf\xe9");

    assert_eq!(
        json_of(&facts, &["x-tenant"], false)["request"]["headers"]["x-tenant"],
        json!(["caf\u{e9}"])
    );
}

#[test]
fn the_body_is_given_only_to_a_policy_that_reads_it() {
    let mut facts = Facts::new();
    facts.body = Some(json!({ "a": [1] }));

    assert_eq!(json_of(&facts, &[], true)["request"]["body"], json!({ "a": [1] }));
    assert_eq!(json_of(&facts, &[], false)["request"]["body"], Value::Null);
}

#[test]
fn both_engines_are_told_the_same() {
    let mut facts = Facts::by(user("alice", None, &["a", "b"], &[], None)).header("x-tenant", b"a");
    facts.body =
        Some(json!({ "n": [1, -2, 1.5, 1e300, 18_446_744_073_709_551_615_u64], "deep": { "x": null } }));
    let names = [HeaderName::from_static("x-tenant")];
    let input = facts.input();
    let document = Document::new(&input, &names, true);

    let rego = to_rego(&document, &InputKeys::new()).unwrap();

    assert_eq!(
        serde_json::to_value(&rego).unwrap(),
        serde_json::to_value(&document).unwrap()
    );
    assert_eq!(
        rego,
        regorus::Value::from_json_str(&serde_json::to_string(&document).unwrap()).unwrap()
    );
}
