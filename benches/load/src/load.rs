//! One batch of requests against one proxy, whoever sends them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use crate::client::drawn::{self, Draw};
use crate::client::{handshake, tls};
use crate::keys::{Flaw, Keys};
use crate::scenario::{Load, Protocol, Scenario, Session};
use crate::{Result, h2load};

/// HTTP/1.1 connections, one request at a time on each.
pub(crate) const CONNECTIONS_H1: usize = 32;
/// HTTP/2 connections.
pub(crate) const CONNECTIONS_H2: usize = 8;
/// Requests at a time on each HTTP/2 connection.
pub(crate) const STREAMS_H2: usize = 32;
/// Downloads at a time: enough to keep a proxy busy, few enough to stay out of memory's way.
pub(crate) const CONNECTIONS_DOWNLOAD: usize = 8;

/// What the clients saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub elapsed: Duration,
    pub p50: Duration,
    pub p99: Duration,
}

impl Outcome {
    pub(crate) fn new(elapsed: Duration, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self {
            elapsed,
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
        }
    }
}

/// The smallest value that so many percent do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Everything that a batch needs, made once for a scenario.
pub(crate) struct Loader<'a> {
    scenario: &'static Scenario,
    keys: &'a Keys,
    folder: &'a Path,
    bearer: Option<String>,
    draw: Option<Arc<Draw>>,
    config: Arc<ClientConfig>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(
        scenario: &'static Scenario,
        keys: &'a Keys,
        folder: &'a Path,
        requests: usize,
    ) -> Result<Self> {
        let algorithm = scenario.setup.guard.algorithm();
        let protocol = match scenario.load {
            Load::Drawn(protocol) | Load::Same(protocol) => protocol,
            _ => Protocol::H1,
        };
        let draw = match (scenario.load, algorithm) {
            (Load::Drawn(_), Some(algorithm)) => Some(Arc::new(Draw::new(
                keys.bearers(algorithm, drawn::TOKENS)?,
                requests,
            ))),
            _ => None,
        };
        let bearer = match algorithm {
            Some(algorithm) => Some(format!("Bearer {}", keys.token(algorithm, 0, Flaw::None)?)),
            None => None,
        };
        let config = tls(&keys.authority, Session::Full, protocol)?;
        Ok(Self {
            scenario,
            keys,
            folder,
            bearer,
            draw,
            config,
        })
    }

    /// Sends so many requests; an answer that is not what it must be voids the run.
    pub(crate) async fn send(&self, requests: usize, address: SocketAddr) -> Result<Outcome> {
        match (self.scenario.load, &self.draw) {
            (Load::Handshake(session), _) => {
                handshake::run(&self.keys.authority, session, requests, address).await
            }
            (Load::Drawn(protocol), Some(draw)) => {
                drawn::run(draw, requests, protocol, address, &self.config).await
            }
            (Load::Drawn(_) | Load::Idle, _) => Err("this load sends no batches".to_owned()),
            (Load::Same(_) | Load::Post(_) | Load::Download, _) => {
                let is_tls = self.scenario.setup.is_tls;
                h2load::run(
                    self.scenario.load,
                    requests,
                    address,
                    is_tls,
                    self.bearer.as_deref(),
                    self.folder,
                )
                .await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();

        assert_eq!(percentile(&sorted, 50), Duration::from_micros(100));
        assert_eq!(percentile(&sorted, 99), Duration::from_micros(198));
        assert_eq!(percentile(&sorted[..1], 99), Duration::from_micros(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
