//! What one request through the pipeline asks of the allocator, stage by stage, in the steady state, beside how long
//! it takes. Results: `benches/README.md`.
//!
//! Run: `cargo bench --bench allocations`. The same configuration as `guards`, without the policy: a public route,
//! and one with a token seen before, a limit, a contract and `authenticated`. The clock and the random numbers are
//! the ones that the gateway runs with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench may stop at the first surprise, and its table is its output"
)]

mod sample;

use std::alloc::System;
use std::fs;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use portcullis_config::{LoadOptions, load};
use portcullis_identity::{Clock, FetchFault, KeyFetch};
use portcullis_pipeline::{
    Admission, Boards, ConnectionFacts, DecisionRecord, Ending, Gateway, HeldBodies, Now, RawHead,
    RecordSink, SnapshotStore, compile,
};
use portcullis_telemetry::{AccessLog, LineDestination, RequestMetrics, Telemetry};
use prometheus::Registry;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PUBLIC: &str = "/api/v1/other7/1";
const GUARDED: &str = "/api/v1/appointments/7f8f4f0e-9a39-4a0b-8f3c-2d1f6f0a9b10";

/// Requests before anything is counted: caches are warm, tables have grown.
const WARM_UP: usize = 2_000;
/// Requests whose allocations are averaged.
const COUNTED: usize = 1_000;
/// Rounds of timed requests; the fastest counts.
const ROUNDS: usize = 30;
const TIMED: u32 = 10_000;

/// The parts of a journey, in order.
const PARTS: [&str; 6] = ["begin", "admit", "select", "prepare", "observe", "finish"];

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

/// Where records go.
#[derive(Clone, Copy)]
enum Records {
    Dropped,
    Counted,
    CountedAndLogged,
}

struct Bench {
    gateway: Arc<Gateway>,
    headers: HeaderMap,
    answer: HeaderMap,
    connection: Arc<ConnectionFacts>,
}

fn now() -> Now {
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

impl Bench {
    fn new(records: Records) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        fs::write(folder.path().join("jwks.json"), sample::jwks(&key)).unwrap();
        let file = folder.path().join("portcullis.yaml");
        fs::write(&file, sample::configuration("", "authenticated")).unwrap();
        let options = LoadOptions {
            offline: false,
            region: None,
            env: &|_| None,
        };
        let loaded = load(&file, &options).unwrap_or_else(|refused| panic!("{refused}"));
        let registry = Registry::new();
        let admission = portcullis_admission::metrics::Metrics::register(&registry).unwrap();
        let boards = Boards {
            identity: portcullis_identity::Boards::new(
                Arc::new(NoFetch),
                Clock::new(Instant::now, SystemTime::now),
            ),
            routing: portcullis_routing::Boards::new(&registry).unwrap(),
            limits: Arc::new(portcullis_admission::limit::LimitTable::with_metrics(admission)),
            held: Arc::new(HeldBodies::new()),
        };
        let (snapshot, _) = compile(loaded.live, None, &boards, loaded.revision).unwrap();
        let store = Arc::new(SnapshotStore::new(snapshot));
        let sink = sink(records, &registry);
        let gateway = Arc::new(
            Gateway::new(store, Arc::new(boards), sink, now, rand::random)
                .with_clocks(Instant::now, SystemTime::now),
        );
        let connection = Arc::new(ConnectionFacts {
            listener: "plain".into(),
            peer: SocketAddr::from(([192, 0, 2, 1], 5_000)),
            local: SocketAddr::from(([192, 0, 2, 2], 443)),
            tls: None,
        });
        let answer = [
            ("content-type", "application/json"),
            ("content-length", "512"),
            ("date", "Sat, 21 Nov 2026 12:00:00 GMT"),
        ];
        Self {
            gateway,
            headers: as_parsed(&[
                ("host", "api.example.com"),
                ("user-agent", "bench/1"),
                ("accept", "application/json"),
                ("x-tenant", "acme"),
                ("authorization", &format!("Bearer {}", sample::token(&key, 0))),
            ]),
            answer: as_parsed(&answer),
            connection,
        }
    }

    /// A whole request up to its record; `after` is called at the end of each part.
    fn journey(&self, target: &str, answer: &mut HeaderMap, mut after: impl FnMut(usize)) {
        let mut exchange = self.gateway.begin(Arc::clone(&self.connection));
        after(0);
        let raw = RawHead {
            method: &Method::GET,
            target: target.as_bytes(),
            authority: None,
            headers: &self.headers,
            version: Version::HTTP_11,
            upgrade: None,
            has_body: false,
        };
        let admission = at_once(exchange.admit(raw));
        assert!(matches!(admission, Ok(Admission::Forward)), "{admission:?}");
        after(1);
        let endpoint = exchange.select_endpoint().unwrap();
        after(2);
        let head = std::hint::black_box(exchange.prepare_upstream(&endpoint).unwrap());
        after(3);
        exchange.observe(StatusCode::OK, answer, true);
        after(4);
        exchange.finish(Some(StatusCode::OK), (0, 512), Ending::Complete);
        drop((endpoint, head));
        after(5);
    }

    /// Allocations and bytes of each part, averaged.
    fn count(&self, target: &str) -> Vec<(f64, f64)> {
        let mut sums = vec![(0_usize, 0_usize); PARTS.len()];
        for _ in 0..COUNTED {
            let mut answer = self.answer.clone();
            let mut region = Region::new(ALLOCATOR);
            self.journey(target, &mut answer, |part| {
                let change = region.change_and_reset();
                if let Some(sum) = sums.get_mut(part) {
                    sum.0 += asked(&change);
                    sum.1 += change.bytes_allocated;
                }
            });
        }
        let average = |sum: usize| sum as f64 / COUNTED as f64;
        sums.into_iter()
            .map(|(count, bytes)| (average(count), average(bytes)))
            .collect()
    }

    /// The fastest round's time for one request, the answer's own clone taken off.
    fn time(&self, target: &str) -> Duration {
        let round = |one: &dyn Fn()| {
            let start = Instant::now();
            (0..TIMED).for_each(|_| one());
            start.elapsed() / TIMED
        };
        let fastest = |one: &dyn Fn()| (0..ROUNDS).map(|_| round(one)).min().unwrap();
        let clone = fastest(&|| drop(std::hint::black_box(self.answer.clone())));
        let whole = fastest(&|| self.journey(target, &mut self.answer.clone(), |_| ()));
        whole.saturating_sub(clone)
    }
}

/// The outcome of a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("the request waits for something"),
    }
}

const fn asked(change: &Stats) -> usize {
    change.allocations + change.reallocations
}

/// Fields as a parser leaves them: every value a part of one shared buffer.
fn as_parsed(fields: &[(&str, &str)]) -> HeaderMap {
    let text: String = fields.iter().map(|(_, value)| *value).collect();
    let buffer = Bytes::from(text);
    // The first clone of a buffer makes it shared; a parser's was long before a request is looked at.
    let _shared = buffer.clone();
    let mut headers = HeaderMap::new();
    let mut at = 0;
    for (name, value) in fields {
        let slice = buffer.slice(at..at + value.len());
        at += value.len();
        let name = http::HeaderName::try_from(*name).unwrap();
        headers.append(name, HeaderValue::from_maybe_shared(slice).unwrap());
    }
    headers
}

fn sink(records: Records, registry: &Registry) -> Arc<dyn RecordSink> {
    let log = |target: &LineDestination| AccessLog::open(target, registry).unwrap();
    match records {
        Records::Dropped => Arc::new(Nowhere),
        Records::Counted => Arc::new(Telemetry {
            metrics: RequestMetrics::register(registry).unwrap(),
            access_log: log(&LineDestination::None),
        }),
        Records::CountedAndLogged => Arc::new(Telemetry {
            metrics: RequestMetrics::register(registry).unwrap(),
            access_log: log(&LineDestination::File("/dev/null".into())),
        }),
    }
}

fn main() {
    // A profiler wants one request again and again, not the table.
    let only = std::env::args().nth(1).filter(|text| !text.starts_with("--"));
    let rows = [
        ("public route", PUBLIC, Records::Dropped),
        ("public route, metrics", PUBLIC, Records::Counted),
        (
            "public route, metrics and access log",
            PUBLIC,
            Records::CountedAndLogged,
        ),
        ("JWT + limit + contract", GUARDED, Records::Dropped),
        (
            "JWT + limit + contract, metrics and access log",
            GUARDED,
            Records::CountedAndLogged,
        ),
    ];
    println!("| request | time | allocations | bytes | {} |", PARTS.join(" | "));
    println!("|---|---|---|---|{}", "---|".repeat(PARTS.len()));
    for (name, target, records) in rows {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let bench = Bench::new(records);
        (0..WARM_UP).for_each(|_| bench.journey(target, &mut bench.answer.clone(), |_| ()));
        if only.is_some() {
            (0..300_000).for_each(|_| bench.journey(target, &mut bench.answer.clone(), |_| ()));
            continue;
        }
        let parts = bench.count(target);
        let (count, bytes) = parts
            .iter()
            .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let each: Vec<String> = parts.iter().map(|part| format!("{:.1}", part.0)).collect();
        let time = bench.time(target).as_nanos() as f64 / 1_000.0;
        println!(
            "| {name} | {time:.2} µs | {count:.1} | {bytes:.0} | {} |",
            each.join(" | ")
        );
    }
}
