//! Records for this room's tests.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use portcullis_model::{EndpointId, Identity, Origin, Reason, Stage, Subject};
use portcullis_pipeline::plan::Class;
use portcullis_pipeline::record::{AttemptRecord, DecisionRecord, Ending, RequestId, TraceId};
use smallvec::{SmallVec, smallvec};

/// A request that was served.
pub(crate) fn record() -> DecisionRecord {
    DecisionRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_006),
        request_id: RequestId::new("r-1").unwrap(),
        trace_id: TraceId::new("0af7651916cd43dd8448eb211c80319c").unwrap(),
        revision: "abc123".into(),
        listener: "public".into(),
        peer: "203.0.113.7:50000".parse().unwrap(),
        client: "203.0.113.7".parse().unwrap(),
        protocol: "HTTP/2",
        tls: Some("TLSv1.3"),
        method: Method::GET,
        host: "api.example.com".into(),
        path: "/api/v1/appointments".into(),
        route: Some("appointments".into()),
        class: Some(Class::Critical),
        operation: Some("listAppointments".into()),
        principal: Some(Identity::User(Subject {
            issuer: "customers".into(),
            issuer_url: "https://login.example.com".into(),
            subject: "alice".into(),
        })),
        tenant: Some("t1".into()),
        stage: None,
        reason: None,
        private: None,
        decided_by: None,
        observed: Vec::new(),
        attempts: smallvec![AttemptRecord {
            endpoint: EndpointId {
                pool: "appointments".into(),
                region: "eu-west".into(),
                address: "127.0.0.1:9443".parse().unwrap(),
            },
            outcome: "ok",
        }],
        status: Some(StatusCode::OK),
        bytes_in: 0,
        bytes_out: 120,
        duration: Duration::from_micros(12_500),
        first_byte: Some(Duration::from_millis(12)),
        ending: Ending::Complete,
    }
}

/// A request that a policy denied.
pub(crate) fn refused() -> DecisionRecord {
    DecisionRecord {
        stage: Some(Stage::Authorize),
        reason: Some(Reason::PolicyDenied),
        decided_by: Some(Origin {
            path: "routes[0].authorize[0]".into(),
            file: "portcullis.yaml".into(),
            line: 60,
            column: 17,
        }),
        status: Some(StatusCode::FORBIDDEN),
        attempts: SmallVec::new(),
        ..record()
    }
}
