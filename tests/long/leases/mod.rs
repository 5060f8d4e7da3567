//! Four thousand WebSockets and six thousand HTTP/2 streams: what they cost while they live, and how soon the half of
//! them ends that is revoked.

mod others;

use std::fs;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::support::pki::write;
use crate::support::process::{descriptor_limit, processor_time, resident};
use crate::support::{House, Seen, TestGateway, wait_until};
use others::{Others, Told};

const SOCKETS: usize = 4_000;
const STREAMS: usize = 6_000;
/// What is promised from the write of the deny list to the end of the last one that it names.
const SOON: Duration = Duration::from_secs(2);
/// How long they are looked at while nothing happens, and afterwards for any that ends without a reason.
const QUIET: Duration = Duration::from_secs(5);
/// Processor time that ten thousand of them may add in that time while nothing happens: a hundredth of one processor.
const IDLE: Duration = Duration::from_millis(50);
/// The longest that somebody else's request may take while all of them are judged.
const NOTICED: Duration = Duration::from_millis(300);

fn text(others: &Others) -> String {
    format!(
        r#"
revocation: {{ deny_list: deny.json }}
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {{ idle_timeout: 30m, requests_per_connection: 4000000, per_address: 30000, handshakes_per_address: 100000/s, max_connections: 30000 }}
pools:
  sockets: {{ limits: {{ connections: 20000 }}, endpoints: [{{ address: "{sockets}" }}] }}
  streams: {{ protocol: h2, limits: {{ connections: 20000 }}, endpoints: [{{ address: "{streams}" }}] }}
routes:
  - {{ name: ping, match: {{ path: /ping }}, public: true, respond: {{ status: 200, body: pong }} }}
  - {{ name: socket, match: {{ path: /socket }}, authenticate: [{{ jwt: idp }}], authorize: [authenticated], upgrade: [websocket], pool: sockets, timeouts: {{ request: 30m, idle: 30m }} }}
  - {{ name: stream, match: {{ path: /stream }}, authenticate: [{{ jwt: idp }}], authorize: [authenticated], pool: streams, timeouts: {{ request: 30m, idle: 30m }} }}
"#,
        sockets = others.sockets,
        streams = others.streams,
    )
}

/// The p99 of requests that are over at once, made one after another until told to stop.
async fn pings(house: &House, until: impl Future<Output = ()>) -> Duration {
    let mut client = house.h1().connect().await.unwrap();
    let mut times = Vec::new();
    let mut until = std::pin::pin!(until);
    loop {
        let began = Instant::now();
        tokio::select! {
            () = &mut until => break,
            answer = client.send(Method::GET, "/ping", &[], b"") => assert_eq!(answer.unwrap().body, "pong"),
        }
        times.push(began.elapsed());
    }
    times.sort();
    times[times.len() * 99 / 100]
}

/// Lets this much time pass, in which something must not happen.
async fn quiet(time: Duration) {
    let began = Instant::now();
    let is_over = || std::future::ready((began.elapsed() >= time).then_some(()));
    wait_until("time to pass", is_over).await;
}

/// Processor time while nothing happens.
async fn idle(pid: u32) -> Duration {
    let before = processor_time(pid);
    quiet(QUIET).await;
    Duration::from_millis(processor_time(pid) - before)
}

fn distribution(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 1000];
    println!(
        "{what}: {} ended: first {:?}, median {:?}, p99 {:?}, last {:?}",
        times.len(),
        at(0),
        at(500),
        at(990),
        at(1000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_ten_thousand_is_revoked_and_exactly_that_half_ends_within_two_seconds() {
    assert!(
        descriptor_limit() >= 2 * SOCKETS + 1_000,
        "the descriptor limit holds {}",
        descriptor_limit()
    );
    let mut others = Others::start();
    let house = House::open_by(&text(&others), |folder| {
        write(&folder.path().join("deny.json"), "[]");
        let mut gateway = TestGateway::spawn_with_all_descriptors(folder);
        gateway.wait_until_ready();
        gateway
    });
    let (seen, pid) = (Seen::of(&house.gateway), house.gateway.pid());
    let tokens: Vec<String> = (0..SOCKETS + STREAMS)
        .map(|number| {
            house
                .issuer
                .token(&format!("user-{number}"), json!({ "jti": format!("t{number}") }))
        })
        .collect();
    fs::write(house.gateway.path("tokens"), tokens.join("\n")).unwrap();
    fs::write(house.gateway.path("roots.pem"), &house.edge.pem).unwrap();

    let alone = idle(pid).await;
    let before = resident(pid);
    let began = Instant::now();
    tokio::task::block_in_place(|| others.gather(&house, SOCKETS, STREAMS));
    let live = |count: usize| {
        let seen = &seen;
        async move {
            wait_until("the leases to be watched", || async {
                (seen.metric("portcullis_leases_live", &[]).await == count as f64).then_some(())
            })
            .await;
        }
    };
    live(SOCKETS + STREAMS).await;
    let each = (resident(pid) - before) as f64 / (SOCKETS + STREAMS) as f64;
    println!("all of them live after {:?}, {each:.1} KiB each", began.elapsed());

    // Nothing happens, and nothing is done.
    let used = idle(pid).await;
    println!("the gateway alone uses {alone:?} of processor time in {QUIET:?}, with all of them {used:?}");
    let calm = pings(&house, quiet(Duration::from_secs(2))).await;

    // Every other one of both kinds.
    let denied: Vec<_> = (0..SOCKETS + STREAMS)
        .step_by(2)
        .map(|number| json!({ "jti": format!("t{number}") }))
        .collect();
    let list = serde_json::to_string(&denied).unwrap();
    let (worked, since) = (processor_time(pid), others::moment());
    write(&house.gateway.path("deny.json"), &list);
    let busy = pings(&house, live((SOCKETS + STREAMS) / 2)).await;
    let worked = Duration::from_millis(processor_time(pid) - worked);
    println!(
        "judging all of them took {worked:?} of processor time; a ping's p99 {calm:?} before, {busy:?} meanwhile"
    );
    quiet(QUIET).await;

    let ended = tokio::task::block_in_place(|| others.report());
    let of = |kind: &str| -> Vec<Duration> {
        let ended = ended.iter().filter(|told| told.kind == kind);
        ended.map(|told| told.at.saturating_sub(since)).collect()
    };
    distribution("WebSockets", of("socket"));
    distribution("HTTP/2 streams", of("stream"));
    assert_revoked(&ended, since);
    let labels = ["reason=\"token-revoked\""];
    assert_eq!(
        seen.metric("portcullis_leases_ended_total", &labels).await,
        denied.len() as f64
    );
    assert_eq!(
        seen.metric("portcullis_leases_ended_total", &[]).await,
        denied.len() as f64
    );
    assert!(
        used <= alone + IDLE,
        "{used:?} in {QUIET:?} while nothing happens, {alone:?} without them"
    );
    assert!(busy < NOTICED, "a ping took {busy:?}");
    others.leave();
}

/// Exactly the even half ended, each in time and as its protocol says it.
fn assert_revoked(ended: &[Told], since: Duration) {
    let mut numbers: Vec<usize> = ended.iter().map(|told| told.number).collect();
    numbers.sort_unstable();
    let even: Vec<usize> = (0..SOCKETS + STREAMS).step_by(2).collect();
    assert_eq!(numbers, even, "these and no others");
    for told in ended {
        let expected = if told.kind == "socket" {
            "1008 token-revoked"
        } else {
            "CANCEL"
        };
        assert_eq!(told.end, expected, "{told:?}");
        let taken = told.at.saturating_sub(since);
        assert!(taken < SOON, "{told:?} took {taken:?}");
    }
}
