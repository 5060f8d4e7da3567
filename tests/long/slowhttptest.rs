//! slowhttptest, which Debian has: slow heads, slow bodies, the Range attack, and slow reading.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::house::LISTENERS;
use crate::support::tools::{find, skip};
use crate::support::{Behaviour, Endpoint, House, Seen};

/// Connections of a run, and how long it may last in seconds.
const CONNECTIONS: &str = "900";
const SECONDS: &str = "60";

async fn attack(mode: &[&str]) {
    let Some(program) = find("slowhttptest") else {
        return skip(1, "the tests with slowhttptest", "it was not found");
    };
    let endpoint = Endpoint::start("one").await;
    endpoint.behave(Behaviour::Bytes(1 << 20));
    // The tool is one address; its bounds are lifted so that the deadlines alone are seen.
    let listeners = LISTENERS.replace(
        "{ listen: \"127.0.0.1:0\" }",
        "{ listen: \"127.0.0.1:0\", limits: { per_address: 10000, handshakes_per_address: 10000/s } }",
    );
    let house = House::open(&format!(
        "{listeners}pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\nroutes: [{{ name: open, match: {{ path: \"/open/**\" }}, public: true, pool: main, timeouts: {{ idle: 10s }} }}]\n",
        endpoint.address
    ));
    let mut good = house.h2().connect().await.unwrap();
    let results = house.gateway.path("slow");
    let url = format!("http://{}/open/x", house.plain().address);

    let seen = Seen::of(&house.gateway);
    let mut held = Vec::new();
    let mut run = Command::new(program)
        .args(mode)
        .args([
            "-c",
            CONNECTIONS,
            "-r",
            "300",
            "-l",
            SECONDS,
            "-p",
            "5",
            "-u",
            &url,
            "-g",
            "-o",
        ])
        .arg(&results)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let mut slowest = Duration::ZERO;
    let exit = loop {
        ticks.tick().await;
        if let Some(exit) = run.try_wait().unwrap() {
            break exit;
        }
        let began = Instant::now();
        let answer = good
            .send(http::Method::HEAD, "/open/good", &[], b"")
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "beside {mode:?}");
        slowest = slowest.max(began.elapsed());
        held.push(
            seen.metric("portcullis_connections", &["listener=\"plain\""])
                .await,
        );
    };

    assert!(exit.success(), "{exit}");
    let table = fs::read_to_string(results.with_extension("csv")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split(',').map(str::trim).collect())
        .collect();
    println!(
        "slowhttptest {mode:?}: {} s, the good client's slowest answer {slowest:?}; at the end {:?}",
        rows.len(),
        rows.last().unwrap()
    );
    // Seconds, Closed, Pending, Connected, Service Available: the scale's end, or 0.
    let is_down = rows
        .iter()
        .skip(1)
        .filter(|row| row.len() >= 5 && row[4] == "0")
        .count();
    assert_eq!(is_down, 0, "the tool found the service gone:\n{table}");
    // The tool counts a connection as open until it has read to its end, which a slow reader hardly ever does: what is
    // left of the answer is the kernel's by then. The gateway must have let go of all of them while the tool still runs.
    let (most, last) = (held.iter().copied().fold(0.0, f64::max), held.last().copied());
    println!("the gateway held {most} of them at most, and {last:?} when the tool ended");
    assert!(
        last.is_some_and(|last| last <= 2.0),
        "connections outlived their deadlines:\n{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_are_cut_while_others_are_served() {
    attack(&["-H", "-i", "3", "-t", "GET", "-x", "24"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_are_cut_while_others_are_served() {
    attack(&["-B", "-i", "3", "-s", "8192", "-t", "POST", "-x", "10"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_range_attack_is_one_request_like_another() {
    attack(&["-R", "-t", "HEAD", "-a", "10", "-b", "3000"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_are_cut_while_others_are_served() {
    attack(&["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"]).await;
}
