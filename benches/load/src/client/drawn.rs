//! The full chain's load: tokens and paths drawn by Zipf, the same draw for every proxy and round.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;

use super::{h1, h2c, open};
use crate::Result;
use crate::load::{CONNECTIONS_H1, CONNECTIONS_H2, Outcome, STREAMS_H2};
use crate::origin::ANSWER;
use crate::scenario::Protocol;

pub(crate) const TOKENS: usize = 1_000;
pub(crate) const PATHS: usize = 10_000;

/// Which token and which path each request has.
pub(crate) struct Draw {
    pub bearers: Arc<Vec<String>>,
    pub paths: Vec<String>,
    pub picks: Vec<(usize, usize)>,
}

/// The path of an appointment that the contract accepts.
pub(crate) fn path(number: usize) -> String {
    let mixed = mix(number as u64);
    format!(
        "/api/v1/appointments/{:08x}-0000-4000-8000-{:012x}",
        mixed >> 32,
        mixed & 0xffff_ffff_ffff
    )
}

impl Draw {
    /// As many requests, drawn by Zipf with exponent 1 from a fixed seed.
    pub(crate) fn new(bearers: Arc<Vec<String>>, requests: usize) -> Self {
        let (tokens, paths) = (Zipf::new(bearers.len()), Zipf::new(PATHS));
        let picks = (0..requests as u64)
            .map(|index| {
                (
                    tokens.pick(unit(mix(2 * index))),
                    paths.pick(unit(mix(2 * index + 1))),
                )
            })
            .collect();
        Self {
            bearers,
            paths: (0..PATHS).map(path).collect(),
            picks,
        }
    }
}

/// Zipf's law over `0..n`: the k-th is 1/k as frequent as the first.
struct Zipf {
    /// The share of the first k.
    shares: Vec<f64>,
}

impl Zipf {
    fn new(n: usize) -> Self {
        let mut shares = Vec::with_capacity(n);
        let mut sum = 0.0;
        for k in 1..=n {
            sum += 1.0 / k as f64;
            shares.push(sum);
        }
        for share in &mut shares {
            *share /= sum;
        }
        Self { shares }
    }

    fn pick(&self, at: f64) -> usize {
        self.shares
            .partition_point(|share| *share < at)
            .min(self.shares.len() - 1)
    }
}

/// splitmix64: evenly spread, and the same on every machine.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number of `0.0..1.0` from random bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Sends the first `requests` of a draw.
pub(crate) async fn run(
    draw: &Arc<Draw>,
    requests: usize,
    protocol: Protocol,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<Outcome> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers: JoinSet<Result<Vec<Duration>>> = JoinSet::new();
    let connections = if protocol == Protocol::H1 {
        CONNECTIONS_H1
    } else {
        CONNECTIONS_H2
    };
    let began = Instant::now();
    for _ in 0..connections {
        let wire = open(address, Some(config)).await?;
        let turns = Turns {
            draw: Arc::clone(draw),
            next: Arc::clone(&next),
            requests,
        };
        match protocol {
            Protocol::H1 => {
                workers.spawn(h1_worker(h1::Connection::new(wire), turns));
            }
            Protocol::H2 => {
                let connection = h2c::Connection::new(wire).await?;
                for _ in 0..STREAMS_H2 {
                    workers.spawn(h2_worker(connection.clone(), turns.clone(), address));
                }
            }
        }
    }
    let mut latencies = Vec::with_capacity(requests);
    while let Some(worker) = workers.join_next().await {
        latencies.extend(worker.map_err(|error| format!("a client stopped: {error}"))??);
    }
    Ok(Outcome::new(began.elapsed(), latencies))
}

/// Whose turn it is: every worker takes the next request.
#[derive(Clone)]
struct Turns {
    draw: Arc<Draw>,
    next: Arc<AtomicUsize>,
    requests: usize,
}

impl Turns {
    fn next(&self) -> Option<(&str, &str)> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let (token, path) = self.draw.picks.get(index).filter(|_| index < self.requests)?;
        Some((&self.draw.bearers[*token], &self.draw.paths[*path]))
    }
}

async fn h1_worker(mut connection: h1::Connection, turns: Turns) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Some((bearer, path)) = turns.next() {
        let request = h1::request(
            "GET",
            path,
            &[("authorization", bearer), ("x-tenant", "acme")],
            b"",
        );
        let began = Instant::now();
        accept(&connection.ask(&request).await?)?;
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

async fn h2_worker(
    mut connection: h2c::Connection,
    turns: Turns,
    address: SocketAddr,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Some((bearer, path)) = turns.next() {
        let url = format!("https://{address}{path}");
        let began = Instant::now();
        let fields = [("authorization", bearer), ("x-tenant", "acme")];
        accept(&connection.ask(Method::GET, &url, &fields, b"").await?)?;
        latencies.push(began.elapsed());
    }
    Ok(latencies)
}

fn accept(answer: &h1::Answer) -> Result<()> {
    if answer.status == 200 && answer.body.len() == ANSWER {
        return Ok(());
    }
    Err(format!(
        "void: answered {} with {} bytes",
        answer.status,
        answer.body.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_drawn_about_twice_as_often_as_the_second() {
        let draw = Draw::new(Arc::new(vec![String::new(); TOKENS]), 100_000);
        let count = |token: usize| draw.picks.iter().filter(|pick| pick.0 == token).count() as f64;

        assert!(
            (count(0) / count(1) - 2.0).abs() < 0.2,
            "{} {}",
            count(0),
            count(1)
        );
        assert!(draw.picks.iter().any(|pick| pick.0 > TOKENS / 2));
    }

    #[test]
    fn every_path_is_another_one_and_a_uuid() {
        let mut paths: Vec<_> = (0..PATHS).map(path).collect();
        paths.sort();
        paths.dedup();

        assert_eq!(paths.len(), PATHS);
        assert!(
            paths
                .iter()
                .all(|path| path.len() == "/api/v1/appointments/".len() + 36)
        );
    }
}
