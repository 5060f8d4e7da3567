//! A request body in chunks of any size: what passes the gate is the JSON that was sent, and judged alike however
//! it was cut.

#![no_main]

use std::sync::{Arc, OnceLock};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use portcullis_admission::contract::{Contract, Lookup, Operation, parse_strict};
use portcullis_admission::plan::{ContractPlan, UnknownOperations};
use portcullis_model::{Guard, Origin, Query, RequestHead, UrlScheme};
use serde_json::{Value, json};

const MAX: u64 = 4_096;

fn operation() -> &'static Arc<Operation> {
    static OPERATION: OnceLock<Arc<Operation>> = OnceLock::new();
    OPERATION.get_or_init(|| {
        let schema = json!({
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": { "name": { "type": "string", "maxLength": 8 }, "tags": { "type": "array", "items": { "type": "integer" } } }
        });
        let document = json!({
            "openapi": "3.1.0", "info": { "title": "t", "version": "1" },
            "paths": { "/a": { "post": {
                "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
                "responses": { "200": { "description": "ok" } }
            } } }
        });
        let plan = ContractPlan {
            id: "c".into(),
            origin: Origin::default(),
            file: "c.yaml".into(),
            document: Arc::new(document),
            guard: Guard::ENFORCE,
            unknown_operations: UnknownOperations::Deny,
        };
        let (contract, _) = Contract::compile(&plan).expect("the contract compiles");
        match contract.operation(&Method::POST, "/a") {
            Lookup::Found(found) => Arc::clone(found.operation),
            Lookup::MethodNotAllowed(_) | Lookup::Unknown => unreachable!("the operation is there"),
        }
    })
}

fn judge(body: &[u8], piece: usize) -> Result<Option<Value>, portcullis_model::Reason> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let head = RequestHead {
        method: &Method::POST,
        scheme: UrlScheme::Https,
        host: "a.example",
        path: "/a",
        query: &Query::default(),
        headers: &headers,
        client: [203, 0, 113, 7].into(),
    };
    let mut gate = operation().body_gate(&head, MAX).expect("the operation judges bodies");
    for part in body.chunks(piece) {
        gate.push(part).map_err(|rejection| rejection.reason)?;
    }
    gate.finish().map(|held| held.json).map_err(|rejection| rejection.reason)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, body) = input;
    let whole = judge(body, body.len().max(1));
    let pieces = judge(body, usize::from(piece).max(1));
    assert_eq!(whole.is_ok(), pieces.is_ok());
    if let Ok(json) = whole {
        assert!(body.len() as u64 <= MAX);
        let sent: Value = serde_json::from_slice(body).expect("what passed is JSON");
        assert!(json.is_none_or(|json| json == sent));
    }
    if let Ok(value) = parse_strict(body) {
        assert_eq!(serde_json::from_slice::<Value>(body).ok(), Some(value));
    }
});
