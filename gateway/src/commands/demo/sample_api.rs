//! The sample API of the demo: appointments, programs and resources, held in memory, as
//! `schemas/openapi/appointments.yaml` says. It checks nothing that the gateway has checked.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use portcullis_telemetry::timestamp::rfc3339;
use serde_json::{Value, json};

/// Items of one kind; a demo that runs for long must not grow for ever.
const MAX_ITEMS: usize = 1_000;

/// The kinds of things there are.
const COLLECTIONS: &[&str] = &["appointments", "programs", "resources"];

/// A program that every region knows, for the tour.
pub(super) const PROGRAM: &str = "5f0d6a3e-0000-4000-8000-000000000001";
/// An appointment that every region knows.
pub(super) const APPOINTMENT: &str = "5f0d6a3e-0000-4000-8000-000000000002";
const RESOURCE: &str = "5f0d6a3e-0000-4000-8000-000000000003";

/// One region's copy.
pub(super) struct SampleApi {
    region: &'static str,
    items: Mutex<BTreeMap<&'static str, BTreeMap<String, Value>>>,
    made: AtomicU64,
}

impl SampleApi {
    /// The copy of a region, with one thing of each kind.
    pub(super) fn new(region: &'static str) -> Self {
        let api = Self {
            region,
            items: Mutex::default(),
            made: AtomicU64::new(0),
        };
        api.put(
            "programs",
            PROGRAM,
            json!({ "title": "Physiotherapy", "active": true, "capacity": 12 }),
        );
        api.put(
            "resources",
            RESOURCE,
            json!({ "name": "Room 4", "kind": "room", "location": { "site": "north" } }),
        );
        api.put("appointments", APPOINTMENT, appointment());
        api
    }

    /// Answers one request.
    pub(super) fn answer(&self, head: &Parts, body: &Bytes) -> Response<Full<Bytes>> {
        let path = head.uri.path();
        if path == "/healthz" {
            return self.respond(StatusCode::OK, &json!({ "region": self.region }));
        }
        let mut segments = path
            .trim_start_matches("/api/v1")
            .split('/')
            .filter(|segment| !segment.is_empty());
        let kind = segments
            .next()
            .and_then(|name| COLLECTIONS.iter().find(|kind| **kind == name));
        let (Some(kind), id, None) = (kind, segments.next(), segments.next()) else {
            return self.error(StatusCode::NOT_FOUND, "there is no such collection");
        };
        match (&head.method, id) {
            (&Method::GET, None) => self.list(kind),
            (&Method::GET, Some(id)) => self.read(kind, id),
            (&Method::POST, None) => self.create(kind, body),
            (&Method::PUT, Some(id)) => self.replace(kind, id, body),
            (&Method::DELETE, Some(id)) => self.delete(kind, id),
            _ => self.error(StatusCode::METHOD_NOT_ALLOWED, "that is not possible here"),
        }
    }

    /// A problem in the API's own words.
    pub(super) fn error(&self, status: StatusCode, title: &str) -> Response<Full<Bytes>> {
        self.respond(status, &json!({ "title": title, "status": status.as_u16() }))
    }

    fn list(&self, kind: &'static str) -> Response<Full<Bytes>> {
        let items: Vec<Value> = self.with(kind, |items| items.values().take(100).cloned().collect());
        self.respond(StatusCode::OK, &json!({ "items": items }))
    }

    fn read(&self, kind: &'static str, id: &str) -> Response<Full<Bytes>> {
        match self.with(kind, |items| items.get(id).cloned()) {
            Some(item) => self.respond(StatusCode::OK, &item),
            None => self.error(StatusCode::NOT_FOUND, "there is no such item"),
        }
    }

    fn create(&self, kind: &'static str, body: &Bytes) -> Response<Full<Bytes>> {
        let Ok(content) = serde_json::from_slice(body) else {
            return self.error(StatusCode::BAD_REQUEST, "the body is not JSON");
        };
        let region = self
            .region
            .bytes()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let id = format!(
            "{region:08x}-0000-4000-8000-{:012x}",
            self.made.fetch_add(1, Ordering::Relaxed)
        );
        self.respond(StatusCode::CREATED, &self.put(kind, &id, content))
    }

    fn replace(&self, kind: &'static str, id: &str, body: &Bytes) -> Response<Full<Bytes>> {
        let Ok(content) = serde_json::from_slice(body) else {
            return self.error(StatusCode::BAD_REQUEST, "the body is not JSON");
        };
        if self.with(kind, |items| !items.contains_key(id)) {
            return self.error(StatusCode::NOT_FOUND, "there is no such item");
        }
        self.respond(StatusCode::OK, &self.put(kind, id, content))
    }

    fn delete(&self, kind: &'static str, id: &str) -> Response<Full<Bytes>> {
        match self.with(kind, |items| items.remove(id)) {
            Some(_) => self.bare(StatusCode::NO_CONTENT, Bytes::new()),
            None => self.error(StatusCode::NOT_FOUND, "there is no such item"),
        }
    }

    fn put(&self, kind: &'static str, id: &str, content: Value) -> Value {
        let item = json!({
            "id": id,
            "created_at": rfc3339(SystemTime::now()).to_string(),
            "region": self.region,
            "content": content,
        });
        self.with(kind, |items| {
            if items.len() >= MAX_ITEMS {
                items.pop_first();
            }
            items.insert(id.to_owned(), item.clone())
        });
        item
    }

    fn with<T>(&self, kind: &'static str, use_items: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        // A panic of another request leaves whole items behind, so a poisoned map is still good.
        let mut all = self
            .items
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        use_items(all.entry(kind).or_default())
    }

    fn respond(&self, status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
        let mut response = self.bare(status, Bytes::from(body.to_string()));
        let media_type = if status.is_client_error() {
            "application/problem+json"
        } else {
            "application/json"
        };
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }

    /// Every answer names the region that gave it.
    fn bare(&self, status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert("x-served-by", HeaderValue::from_static(self.region));
        response
    }
}

/// An appointment that the contract accepts.
pub(super) fn appointment() -> Value {
    json!({
        "program": PROGRAM,
        "client": { "name": "Sam Field", "email": "sam@example.com" },
        "starts_at": "2030-05-04T09:30:00Z",
        "minutes": 30,
    })
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;

    use super::*;

    async fn call(api: &SampleApi, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let (head, ()) = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap()
            .into_parts();
        let response = api.answer(&head, &Bytes::copy_from_slice(body.as_bytes()));
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn what_was_created_can_be_read_replaced_and_deleted() {
        let api = SampleApi::new("eu-west");

        let (status, made) = call(
            &api,
            Method::POST,
            "/api/v1/resources",
            r#"{"name":"a","kind":"room"}"#,
        )
        .await;
        assert_eq!(
            (status, &made["region"]),
            (StatusCode::CREATED, &json!("eu-west"))
        );
        let path = format!("/api/v1/resources/{}", made["id"].as_str().unwrap());
        assert_eq!(call(&api, Method::GET, &path, "").await.0, StatusCode::OK);
        assert_eq!(call(&api, Method::PUT, &path, "{}").await.0, StatusCode::OK);
        assert_eq!(
            call(&api, Method::DELETE, &path, "").await.0,
            StatusCode::NO_CONTENT
        );
        assert_eq!(call(&api, Method::GET, &path, "").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn unknown_collections_and_methods_are_refused() {
        let api = SampleApi::new("eu-west");

        assert_eq!(
            call(&api, Method::GET, "/api/v1/secrets", "").await.0,
            StatusCode::NOT_FOUND
        );
        assert_eq!(
            call(&api, Method::POST, "/api/v1/programs/1", "{}").await.0,
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
