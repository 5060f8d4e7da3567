//! Ten thousand slow clients and fifteen thousand idle ones: what they cost, and that a good client does not notice.

use std::fs;
use std::time::{Duration, Instant};

use http::Method;

use crate::crowd::{Crowd, Kind};
use crate::support::process::{descriptor_limit, resident};
use crate::support::{Client, House, Seen, TestGateway, wait_until};

/// Descriptors that a process needs beside its connections.
const SPARE: usize = 400;

/// What a slow client may cost in KiB, by what it is slow at: what the best peers need. It is printed beside.
const PEERS: [(Kind, f64); 3] = [(Kind::Head, 25.0), (Kind::Body, 37.0), (Kind::Reader, 16.0)];

struct Scene {
    house: House,
    seen: Seen,
    good: Client,
    roots: String,
}

impl Scene {
    /// Deadlines so long that nobody is cut while they are counted; the floods' tests show that they cut.
    async fn set(crowd: &Crowd) -> Self {
        let text = format!(
            r#"
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {{ header_timeout: 30m, idle_timeout: 30m, body_rate: 1B/s, per_address: 30000, handshakes_per_address: 100000/s, max_connections: 30000 }}
pools: {{ slow: {{ limits: {{ connections: 20000 }}, endpoints: [{{ address: "{}" }}] }} }}
routes:
  - {{ name: ping, match: {{ path: /ping }}, public: true, respond: {{ status: 200, body: pong }} }}
  - {{ name: slow, match: {{ path: /slow }}, public: true, pool: slow, timeouts: {{ request: 30m, idle: 30m }} }}
"#,
            crowd.endpoint
        );
        let house = House::open_by(&text, TestGateway::spawn_with_all_descriptors);
        let roots = house.gateway.path("roots.pem");
        fs::write(&roots, &house.edge.pem).unwrap();
        let good = house.h1().connect().await.unwrap();
        Self {
            seen: Seen::of(&house.gateway),
            house,
            good,
            roots: roots.display().to_string(),
        }
    }

    fn gather(&self, crowd: &mut Crowd, kind: Kind, count: usize) -> f64 {
        let before = resident(self.house.gateway.pid());
        let began = Instant::now();
        tokio::task::block_in_place(|| {
            crowd.gather(kind, count, self.house.gateway.address("public"), &self.roots)
        });
        let after = resident(self.house.gateway.pid());
        let each = after.saturating_sub(before) as f64 / count as f64;
        println!(
            "{count} {kind:?} clients came in {:?}: {each:.1} KiB each ({before} to {after} KiB)",
            began.elapsed()
        );
        each
    }

    /// The middle of five rounds' p99.
    async fn p99(&mut self) -> Duration {
        let mut rounds = Vec::new();
        for _ in 0..5 {
            let mut times = Vec::new();
            for _ in 0..1_000 {
                let began = Instant::now();
                assert_eq!(
                    self.good.send(Method::GET, "/ping", &[], b"").await.unwrap().body,
                    "pong"
                );
                times.push(began.elapsed());
            }
            times.sort();
            rounds.push(times[990]);
        }
        rounds.sort();
        rounds[2]
    }

    async fn assert_forgotten(&self, before: u64, full: u64) {
        wait_until("the connections to be forgotten", || async {
            (self
                .seen
                .metric("portcullis_connections", &["listener=\"public\""])
                .await
                <= 2.0)
                .then_some(())
        })
        .await;
        // The allocator keeps what it freed for whoever comes next, unless MIMALLOC_PURGE_DELAY=0 tells it not to: then
        // most of it must go.
        let kept = |now: u64| now.saturating_sub(before) as f64 / full.saturating_sub(before).max(1) as f64;
        let goes = std::env::var("MIMALLOC_PURGE_DELAY").is_ok_and(|delay| delay == "0");
        let left = wait_until("the memory to be given back", || async {
            let now = resident(self.house.gateway.pid());
            (!goes || kept(now) < 0.5).then_some(now)
        })
        .await;
        println!("after they left {left} KiB of {full} are resident, {before} before they came");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_slow_clients_hold_up_no_good_one() {
    // A slow body and a slow reader hold a connection to their endpoint too.
    let third = (10_000 / 3).min((descriptor_limit() - SPARE) / 5);
    assert!(third > 3_000, "the descriptor limit holds {third} of each kind");
    let mut crowd = Crowd::start();
    let mut scene = Scene::set(&crowd).await;
    let (quiet, before) = (scene.p99().await, resident(scene.house.gateway.pid()));

    let mut costs = Vec::new();
    for (kind, peer) in PEERS {
        costs.push((kind, peer, scene.gather(&mut crowd, kind, third)));
    }
    let full = resident(scene.house.gateway.pid());
    let held = scene
        .seen
        .metric("portcullis_connections", &["listener=\"public\""])
        .await;
    assert!(held >= (3 * third) as f64, "{held} are held");
    let busy = scene.p99().await;

    let moved = busy.as_secs_f64() / quiet.as_secs_f64() - 1.0;
    println!(
        "a good client's p99: {quiet:?} before, {busy:?} beside {held} slow ones ({:+.1} %)",
        100.0 * moved
    );
    // The crowd shares these processors, and costs the good client up to a millisecond; a worker that one of the slow
    // held would cost it many.
    assert!(
        busy < quiet + Duration::from_millis(3),
        "the good client waits: {quiet:?} became {busy:?}"
    );
    crowd.leave();
    scene.assert_forgotten(before, full).await;
    for (kind, peer, each) in costs {
        println!("{kind:?}: {each:.1} KiB each, the best peer {peer} KiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifteen_thousand_idle_tls_connections_are_held() {
    let count = 15_000.min(descriptor_limit() - SPARE);
    assert_eq!(count, 15_000, "the descriptor limit holds {count}");
    let mut crowd = Crowd::start();
    let mut scene = Scene::set(&crowd).await;
    let (quiet, before) = (scene.p99().await, resident(scene.house.gateway.pid()));

    let each = scene.gather(&mut crowd, Kind::Idle, count);
    let full = resident(scene.house.gateway.pid());
    let busy = scene.p99().await;

    println!("a good client's p99: {quiet:?} before, {busy:?} beside {count} idle ones");
    println!(
        "100,000 such connections would need {:.0} MiB",
        (before as f64 + each * 100_000.0) / 1024.0
    );
    assert!(each < 16.0, "{each:.1} KiB for each idle connection");
    assert!(
        busy < quiet.mul_f64(1.1) + Duration::from_micros(200),
        "{quiet:?} became {busy:?}"
    );
    crowd.leave();
    scene.assert_forgotten(before, full).await;
}
