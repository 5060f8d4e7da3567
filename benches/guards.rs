//! What each guard costs, and the whole pipeline without sockets. Results with the machine: `benches/README.md`.
//!
//! Run: `cargo bench --bench guards`. The configuration is the sample API's, loaded through the operator's door.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a bench may stop at the first surprise, and has no outside"
)]

mod sample;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, Version};
use portcullis_admission::contract::Lookup;
use portcullis_admission::policy::{Ask, GatewayFacts, PolicyInput, Recall, RouteFacts};
use portcullis_config::{LoadOptions, load};
use portcullis_identity::{Clock, Credentials, FetchFault, KeyFetch};
use portcullis_model::{Principal, Query, RequestHead, UrlScheme};
use portcullis_pipeline::{
    Admission, Boards, ConnectionFacts, DecisionRecord, Ending, Gateway, HeldBodies, Now, RawHead,
    RecordSink, Snapshot, SnapshotStore, compile,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

const TARGET: &str = "/api/v1/appointments/7f8f4f0e-9a39-4a0b-8f3c-2d1f6f0a9b10";
const BODY: &str = r#"{"program":"7f8f4f0e-9a39-4a0b-8f3c-2d1f6f0a9b10","client":{"name":"Ada","email":"ada@example.com"},"starts_at":"2026-12-01T10:00:00Z","minutes":30}"#;

struct NoFetch;

#[async_trait::async_trait]
impl KeyFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<Bytes, FetchFault> {
        std::future::pending().await
    }
}

struct Nowhere;

impl RecordSink for Nowhere {
    fn record(&self, record: &DecisionRecord) {
        std::hint::black_box(record);
    }
}

struct Bench {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    headers: HeaderMap,
    key: KeyPair,
    connection: Arc<ConnectionFacts>,
    runtime: tokio::runtime::Runtime,
}

fn now() -> Now {
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8)
}

impl Bench {
    /// With decisions remembered, or with every one evaluated.
    fn new(remember: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        fs::write(folder.path().join("jwks.json"), sample::jwks(&key)).unwrap();
        let file = folder.path().join("portcullis.yaml");
        fs::write(
            &file,
            sample::configuration(&policy_section(remember), "baseline"),
        )
        .unwrap();
        let options = LoadOptions {
            offline: false,
            region: None,
            env: &|_| None,
        };
        let loaded = load(&file, &options).unwrap_or_else(|refused| panic!("{refused}"));
        let boards = Boards {
            identity: portcullis_identity::Boards::new(
                Arc::new(NoFetch),
                Clock::new(Instant::now, SystemTime::now),
            ),
            routing: portcullis_routing::Boards::new(&prometheus::Registry::new()).unwrap(),
            limits: Arc::default(),
            held: Arc::new(HeldBodies::new()),
        };
        let (snapshot, _) = compile(loaded.live, None, &boards, loaded.revision).unwrap();
        let store = Arc::new(SnapshotStore::new(snapshot));
        let snapshot = store.load();
        let gateway = Arc::new(Gateway::new(
            store,
            Arc::new(boards),
            Arc::new(Nowhere),
            now,
            random,
        ));
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("api.example.com"));
        headers.insert("user-agent", HeaderValue::from_static("bench/1"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        headers.insert("x-tenant", HeaderValue::from_static("acme"));
        headers.insert(
            "authorization",
            HeaderValue::from_str(&format!("Bearer {}", sample::token(&key, 0))).unwrap(),
        );
        let connection = Arc::new(ConnectionFacts {
            listener: "plain".into(),
            peer: SocketAddr::from(([192, 0, 2, 1], 5_000)),
            local: SocketAddr::from(([192, 0, 2, 2], 443)),
            tls: None,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self {
            gateway,
            snapshot,
            headers,
            key,
            connection,
            runtime,
        }
    }

    fn head<'a>(&'a self, path: &'a str, query: &'a Query) -> RequestHead<'a> {
        RequestHead {
            method: &Method::GET,
            scheme: UrlScheme::Http,
            host: "api.example.com",
            path,
            query,
            headers: &self.headers,
            client: self.connection.peer.ip(),
        }
    }

    /// The same fields with a token that was never seen.
    fn with_another_token(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        let bearer = format!("Bearer {}", sample::token(&self.key, random()));
        headers.insert("authorization", HeaderValue::from_str(&bearer).unwrap());
        headers
    }

    /// A whole request up to the head that would leave.
    fn journey(&self, method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) {
        let mut exchange = self.gateway.begin(Arc::clone(&self.connection));
        let raw = RawHead {
            method,
            target: target.as_bytes(),
            authority: None,
            headers,
            version: Version::HTTP_11,
            upgrade: None,
            has_body: !body.is_empty(),
        };
        let admission = self.runtime.block_on(exchange.admit(raw));
        assert!(matches!(admission, Ok(Admission::Forward)), "{admission:?}");
        let endpoint = exchange.select_endpoint().unwrap();
        std::hint::black_box(exchange.prepare_upstream(&endpoint).unwrap());
        if !body.is_empty() {
            exchange.gate_push(body).unwrap();
            assert_eq!(exchange.gate_finish().unwrap(), body);
        }
        let mut answer = HeaderMap::new();
        exchange.observe(http::StatusCode::OK, &mut answer, true);
        exchange.finish(Some(http::StatusCode::OK), (0, 512), Ending::Complete);
    }
}

/// The policies of the example, remembered or not.
fn policy_section(remember: bool) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!(
        r#"policies:
  baseline: {{ rego: "{root}/policies", data: "{root}/policies/data.json", decision: data.portcullis.authz.decision, headers: [x-tenant], budget: 1s, remember: {remember} }}"#
    )
}

fn guards(criterion: &mut Criterion) {
    let bench = Bench::new(true);
    let query = Query::default();
    let head = bench.head(TARGET, &query);
    let listener = bench.snapshot.listener(&"plain".into()).unwrap();
    criterion.bench_function("route match, 1,001 routes", |b| {
        b.iter(|| std::hint::black_box(listener.routes.find(&head).is_ok()));
    });
    tokens(criterion, &bench);
    let contract = bench.snapshot.admission.contract(&"appointments".into()).unwrap();
    criterion.bench_function("contract check, head", |b| {
        b.iter(|| match contract.operation(&Method::GET, TARGET) {
            Lookup::Found(found) => found
                .operation
                .validate_head(&head, &found.params, false)
                .unwrap(),
            other => panic!("{other:?}"),
        });
    });
    let mut json = bench.headers.clone();
    json.insert("content-type", HeaderValue::from_static("application/json"));
    let post = RequestHead {
        method: &Method::POST,
        headers: &json,
        path: "/api/v1/appointments",
        ..head
    };
    criterion.bench_function("contract check, 160-byte body", |b| {
        b.iter(
            || match contract.operation(&Method::POST, "/api/v1/appointments") {
                Lookup::Found(found) => {
                    let mut gate = found.operation.body_gate(&post, 65_536).unwrap();
                    gate.push(BODY.as_bytes()).unwrap();
                    gate.finish().unwrap()
                }
                other => panic!("{other:?}"),
            },
        );
    });
    policies(criterion, &bench, &head);
    criterion.bench_function("pipeline: jwt + limit + contract + rego", |b| {
        b.iter(|| bench.journey(&Method::GET, TARGET, &bench.headers, b""));
    });
    let evaluating = Bench::new(false);
    criterion.bench_function("pipeline: the same, evaluated every time", |b| {
        b.iter(|| evaluating.journey(&Method::GET, TARGET, &evaluating.headers, b""));
    });
    criterion.bench_function("pipeline: public route", |b| {
        b.iter(|| bench.journey(&Method::GET, "/api/v1/other7/1", &bench.headers, b""));
    });
    json.insert("content-length", HeaderValue::from(BODY.len()));
    criterion.bench_function("pipeline: the same with a body", |b| {
        b.iter(|| bench.journey(&Method::POST, "/api/v1/appointments", &json, BODY.as_bytes()));
    });
}

fn tokens(criterion: &mut Criterion, bench: &Bench) {
    let route = bench.snapshot.route(&"appointments".into()).unwrap();
    let authenticator = route.authenticator.as_ref().unwrap();
    let credentials = Credentials {
        headers: &bench.headers,
        peer: None,
    };
    let wall = SystemTime::now();
    criterion.bench_function("token check, ES256, seen before", |b| {
        b.iter(|| {
            bench
                .runtime
                .block_on(authenticator.authenticate(credentials, wall))
                .unwrap()
        });
    });
    criterion.bench_function("token check, ES256, cold", |b| {
        b.iter_batched(
            || bench.with_another_token(),
            |headers| {
                let credentials = Credentials {
                    headers: &headers,
                    peer: None,
                };
                bench
                    .runtime
                    .block_on(authenticator.authenticate(credentials, wall))
                    .unwrap()
            },
            BatchSize::SmallInput,
        );
    });
}

fn policies(criterion: &mut Criterion, bench: &Bench, head: &RequestHead<'_>) {
    let policy = bench.snapshot.admission.policy(&"baseline".into()).unwrap();
    let route = bench.snapshot.route(&"appointments".into()).unwrap();
    let credentials = Credentials {
        headers: &bench.headers,
        peer: None,
    };
    let authenticator = route.authenticator.as_ref().unwrap();
    let found = bench
        .runtime
        .block_on(authenticator.authenticate(credentials, SystemTime::now()))
        .unwrap();
    let input = PolicyInput {
        request_id: "0123456789abcdef",
        head: *head,
        principal: &found.principal,
        certificate: None,
        route: RouteFacts {
            name: &route.plan.id,
            class: "default",
            params: &[],
            operation: Some("getAppointment"),
            residency: &["EU".into()],
        },
        gateway: GatewayFacts {
            region: bench.snapshot.routing.local(),
            revision: "bench",
        },
        body: None,
    };
    criterion.bench_function("policy decision, evaluated", |b| {
        b.iter(|| assert!(policy.decide(&input).unwrap().allow));
    });
    policy.ask(&input, Ask::Remembering).0.unwrap();
    criterion.bench_function("policy decision, remembered", |b| {
        b.iter(|| {
            let (decision, recall) = policy.ask(&input, Ask::Remembering);
            assert!(decision.unwrap().allow && recall == Recall::Hit);
        });
    });
    let mut number = 0_u64;
    criterion.bench_function("policy decision, evaluated and remembered", |b| {
        b.iter_batched(
            || {
                number += 1;
                with_another_role(&found.principal, number)
            },
            |principal| {
                let input = PolicyInput {
                    principal: &principal,
                    ..input
                };
                let (decision, recall) = policy.ask(&input, Ask::Remembering);
                assert!(decision.unwrap().allow && recall != Recall::Hit);
            },
            BatchSize::SmallInput,
        );
    });
}

/// The same principal with one role more that nobody had before.
fn with_another_role(principal: &Principal, number: u64) -> Principal {
    let mut principal = principal.clone();
    let attributes = Arc::make_mut(&mut principal.attributes);
    let mut roles: Vec<Arc<str>> = attributes.roles.to_vec();
    roles.push(format!("role-{number}").into());
    attributes.roles = roles.into_iter().collect();
    principal
}

fn quick() -> Criterion {
    Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = guards }
criterion_main!(benches);
