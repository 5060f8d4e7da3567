//! The admin port: alive, ready, metrics, and what the gateway serves now; and whom it refuses,
//! the one thing that is changed here. JSON, for loopback.

pub mod denials;
pub mod guard;
pub mod holdings;
pub mod readiness;
pub mod server;
pub mod views;

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use portcullis_identity::assertion::KEY_SET_MEDIA_TYPE;
use portcullis_pipeline::Gateway;
use portcullis_telemetry::export;
use prometheus::Registry;
use serde_json::json;

use crate::app::denials::Denials;
use crate::app::reload::ReloadStatus;
use crate::version;
use readiness::Readiness;
use server::{Answer, bytes_answer, json_answer, method_not_allowed, problem};

/// What the admin port looks at.
pub struct Admin {
    /// What serves.
    pub gateway: Arc<Gateway>,
    /// Every metric.
    pub registry: Registry,
    /// Whether traffic should come.
    pub readiness: Arc<Readiness>,
    /// What became of the last reload.
    pub reload: Arc<ReloadStatus>,
    /// Who is refused although the credential is right.
    pub denials: Arc<Denials>,
}

/// What there is, for whoever asks for something else.
const PATHS: &str = "there are /livez, /readyz, /metrics, /config, /routes, /pools, /issuers, /identity, /identity/jwks and /deny";

impl Admin {
    /// Answers one request.
    pub async fn answer(&self, head: &Parts, body: Incoming) -> Answer {
        match denials::answer(&self.denials, head, body).await {
            Some(answer) => answer,
            None => self.show(head),
        }
    }

    /// Answers what changes nothing.
    fn show(&self, head: &Parts) -> Answer {
        if head.method != Method::GET && head.method != Method::HEAD {
            return method_not_allowed("GET, HEAD");
        }
        let snapshot = self.gateway.snapshot();
        match head.uri.path() {
            "/livez" => json_answer(StatusCode::OK, &json!({ "alive": true })),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            "/config" => json_answer(StatusCode::OK, &self.reload.view(&snapshot.revision)),
            "/routes" => json_answer(StatusCode::OK, &views::routes(&snapshot)),
            "/pools" => json_answer(StatusCode::OK, &views::pools(&snapshot, Instant::now())),
            "/identity/jwks" => bytes_answer(
                StatusCode::OK,
                KEY_SET_MEDIA_TYPE,
                format!("{:#}\n", snapshot.identity.assertion_keys()),
            ),
            "/issuers" => json_answer(StatusCode::OK, &views::issuers(&snapshot)),
            "/identity" => {
                let boards = &self.gateway.boards().identity;
                let view = holdings::identity(&snapshot, boards);
                json_answer(StatusCode::OK, &view)
            }
            "/" => json_answer(
                StatusCode::OK,
                &json!({ "name": "portcullis", "version": version::VERSION, "commit": version::COMMIT, "paths": PATHS }),
            ),
            _ => problem(StatusCode::NOT_FOUND, PATHS),
        }
    }

    fn ready(&self) -> Answer {
        let report = self.readiness.report(&self.gateway);
        let status = if report.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        json_answer(status, &json!(report))
    }

    fn metrics(&self) -> Answer {
        let snapshot = self.gateway.snapshot();
        snapshot.routing.refresh_metrics(Instant::now());
        holdings::refresh_metrics(&snapshot, &self.gateway.boards().identity);
        let limits = &self.gateway.boards().limits;
        limits.publish_entries();
        if let Some(metrics) = limits.metrics() {
            metrics.set_policy_entries(snapshot.admission.remembered());
        }
        match export::text(&self.registry) {
            Ok(text) => bytes_answer(StatusCode::OK, export::CONTENT_TYPE, text),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be exported");
                problem(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be exported")
            }
        }
    }
}
