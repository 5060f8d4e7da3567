//! A gateway that runs out of file descriptors: its listener pauses and recovers, and no endpoint is blamed.

use std::time::Duration;

use http::Method;
use tokio::net::TcpStream;

use crate::support::process::{descriptors, processor_time};
use crate::support::{Client, Endpoint, House, Seen, TestGateway, wait_until};

/// Enough for the gateway itself and some connections.
const DESCRIPTORS: usize = 80;

/// A gateway with few descriptors, and a client that was there before they ran out.
struct Scene {
    house: House,
    seen: Seen,
    kept: Client,
    /// Two endpoints: one that a connection is kept to, and one that only probes have reached.
    _endpoints: [Endpoint; 2],
}

impl Scene {
    async fn set() -> Self {
        let endpoints = [Endpoint::start("warm").await, Endpoint::start("cold").await];
        // A probe that failed would be seen for long: nothing brings the endpoint up again within this test.
        let text = format!(
            r#"
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {{ handshake_timeout: 60s, handshakes_per_address: 10000/s, per_address: 10000 }}
pools:
  warm: {{ endpoints: [{{ address: "{}" }}] }}
  cold:
    endpoints: [{{ address: "{}" }}]
    health: {{ probe: {{ http: /healthz }}, interval: 500ms, timeout: 500ms, fall: 1, rise: 100 }}
routes:
  - {{ name: warm, match: {{ path: "/warm/**" }}, public: true, pool: warm }}
  - {{ name: cold, match: {{ path: "/cold/**" }}, public: true, pool: cold }}
"#,
            endpoints[0].address, endpoints[1].address
        );
        let start = |folder| TestGateway::spawn_with_descriptors(folder, DESCRIPTORS);
        let house = House::open_by(&text, start);
        let (seen, mut kept) = (Seen::of(&house.gateway), house.h1().connect().await.unwrap());
        let answer = kept.send(Method::GET, "/warm/1", &[], b"").await.unwrap();
        assert_eq!(answer.status, 200);
        Self {
            house,
            seen,
            kept,
            _endpoints: endpoints,
        }
    }

    /// More connections than there are descriptors: the kernel accepts them all, the gateway runs out.
    async fn exhaust(&self) -> Vec<TcpStream> {
        let gateway = &self.house.gateway;
        let (address, pid) = (gateway.address("public"), gateway.pid());
        let mut held = Vec::new();
        for _ in 0..DESCRIPTORS * 2 {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        wait_until("every descriptor to be used", || {
            std::future::ready((descriptors(pid) >= DESCRIPTORS).then_some(()))
        })
        .await;
        held
    }

    /// Waits until a client that comes now is served.
    async fn assert_recovered(&self, target: &str) {
        let dial = self.house.h1();
        let answer = wait_until("a new connection to be served", || async {
            let mut client = dial.connect().await.ok()?;
            client.send(Method::GET, target, &[], b"").await.ok()
        })
        .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_descriptors_pauses_and_recovers() {
    let mut scene = Scene::set().await;
    let held = scene.exhaust().await;
    let pid = scene.house.gateway.pid();

    let used = processor_time(pid);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    second.tick().await;
    let used = processor_time(pid) - used;
    println!("{used} ms of processor time in the second without descriptors");
    assert!(used < 500, "it spins: {used} ms in a second");
    let lines = scene.house.gateway.log.all();
    let said: Vec<_> = lines
        .iter()
        .filter(|line| line.to_string().contains("os error 24"))
        .collect();
    assert!(said.len() < 50, "{} log lines about one thing", said.len());
    let line = said.first().expect("somebody has to be told");
    let words = line["message"].as_str().unwrap();
    assert!(
        line["level"] == "ERROR" && words.contains("limit of open files"),
        "{line}"
    );
    assert!(!scene.house.gateway.has_exited());
    let answer = scene.kept.send(Method::GET, "/warm/2", &[], b"").await.unwrap();
    assert_eq!(
        answer.status, 200,
        "connections that are there are served: {answer:?}"
    );

    drop(held);

    scene.assert_recovered("/warm/3").await;
    assert!(scene.seen.is_ready().await);
}

/// Three failed connections in a row eject an endpoint, and one failed probe takes it down; a connection that the
/// gateway could not even begin is neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_descriptors_blames_no_endpoint() {
    let mut scene = Scene::set().await;
    let held = scene.exhaust().await;

    // Three seconds, so that probes fall due as well.
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    for round in 0..6 {
        ticks.tick().await;
        let target = format!("/cold/{round}");
        let answer = scene.kept.send(Method::GET, &target, &[], b"").await.unwrap();
        let line = scene.house.assert_refused(&answer, 503, "no-endpoint");
        assert_eq!(line["attempts"][0]["outcome"], "abandoned", "{line}");
    }

    drop(held);

    scene.assert_recovered("/cold/good").await;
    let Scene { seen, .. } = &scene;
    let failed = "portcullis_endpoint_connections_failed_total";
    let cold = "pool=\"cold\"";
    assert_eq!(seen.metric(failed, &[cold, "cause=\"local\""]).await, 6.0);
    assert_eq!(
        seen.metric(failed, &[cold]).await,
        6.0,
        "they have no other cause"
    );
    assert_eq!(seen.metric("portcullis_endpoint_ejections_total", &[]).await, 0.0);
    let up = seen.metric("portcullis_endpoints", &[cold, "state=\"up\""]).await;
    assert_eq!(up, 1.0, "{}", seen.json("/pools").await);
}
