//! Contracts as a whole: a document, a request, a verdict.

mod bodies;
mod documents;
mod heads;
mod hostile;
mod telling;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_model::{
    ContractId, Guard, Origin, Problems, Query, Reason, Rejection, RequestHead, UrlScheme,
};
use serde_json::{Value, json};

use super::{Contract, HeldBody, Lookup};
use crate::plan::{ContractPlan, UnknownOperations};

/// A plan for a document.
fn plan(document: Value) -> ContractPlan {
    ContractPlan {
        id: ContractId::from("api"),
        origin: Origin::of("contracts.api"),
        file: "api.yaml".into(),
        document: Arc::new(document),
        guard: Guard::ENFORCE,
        unknown_operations: UnknownOperations::Deny,
    }
}

fn compiled(document: Value) -> Contract {
    Contract::compile(&plan(document)).unwrap().0
}

fn problems(document: Value) -> Problems {
    match Contract::compile(&plan(document)) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

/// A 3.1 document with one operation at `/things/{id}`, whose path parameter is text.
fn document(method: &str, operation: Value) -> Value {
    let mut operation = operation;
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    match operation.get_mut("parameters") {
        Some(Value::Array(parameters)) => parameters.push(id),
        _ => operation["parameters"] = json!([id]),
    }
    json!({"openapi": "3.1.0", "info": {}, "paths": {"/things/{id}": {method: operation}}})
}

/// A 3.1 document whose one operation takes a parameter.
fn with_parameter(parameter: Value) -> Value {
    document("get", json!({"parameters": [parameter]}))
}

/// A 3.1 document whose one operation takes a JSON body.
fn with_body(schema: Value) -> Value {
    document(
        "post",
        json!({"requestBody": {"content": {"application/json": {"schema": schema}}}}),
    )
}

/// A request as `normalize` leaves it.
struct Request {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
}

impl Request {
    fn new(method: Method, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let decode = |text: &str| portcullis_model::path::decode(&text.replace('+', " ")).into_owned();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        let query = Query {
            text: query.to_owned(),
            pairs: pairs.collect(),
        };
        Self {
            method,
            path: path.to_owned(),
            query,
            headers: HeaderMap::new(),
        }
    }

    fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    fn post(media: &str) -> Self {
        Self::new(Method::POST, "/things/1").header("content-type", media)
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            scheme: UrlScheme::Https,
            host: "api.example.com",
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            client: "192.0.2.1".parse().unwrap(),
        }
    }

    fn judge_head(&self, contract: &Contract, has_body: bool) -> Result<(), Rejection> {
        let Lookup::Found(found) = contract.operation(&self.method, &self.path) else {
            panic!("no operation");
        };
        found
            .operation
            .validate_head(&self.head(), &found.params, has_body)
            .map(|_| ())
    }

    fn judge(&self, contract: &Contract, body: &[u8]) -> Result<HeldBody, Rejection> {
        let Lookup::Found(found) = contract.operation(&self.method, &self.path) else {
            panic!("no operation");
        };
        found.operation.validate_head(&self.head(), &found.params, true)?;
        let mut gate = found.operation.body_gate(&self.head(), 1 << 20).unwrap();
        for piece in body.chunks(7_000) {
            gate.push(piece)?;
        }
        gate.finish()
    }
}

/// The violations of a refused request as `location pointer keyword`.
fn told(verdict: Result<(), Rejection>) -> Vec<String> {
    let violations = verdict.unwrap_err().detail.unwrap().violations;
    violations
        .iter()
        .map(|one| format!("{} {} {}", one.location, one.pointer, one.keyword))
        .collect()
}

fn reason<T: std::fmt::Debug>(verdict: Result<T, Rejection>) -> Reason {
    verdict.unwrap_err().reason
}

/// The codes and texts of problems, one line each.
fn lines(problems: &Problems) -> Vec<String> {
    problems
        .iter()
        .map(|problem| format!("{} {}", problem.code, problem.message))
        .collect()
}
