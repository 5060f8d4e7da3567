//! Rounds: all proxies of a scenario are up, one at a time is loaded, and they take turns.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::client::handshake::Waiting;
use crate::client::tls;
use crate::keys::Keys;
use crate::load::Loader;
use crate::machine::{Places, busy_ns, cpu_ns, family, own_ns, rss_kib};
use crate::origin::Origin;
use crate::proof::Exam;
use crate::proxies::{self, Found, Proxy, Started};
use crate::scenario::{Load, Protocol, Scenario, Session};
use crate::{Result, client};

/// CPUs that others may use beside a run before it is repeated.
const QUIET: f64 = 0.3;
/// How often a disturbed run is tried.
const ATTEMPTS: usize = 3;
/// Connections before those that are counted, so that what is allocated once is not.
const FIRST_WAITING: usize = 100;
/// A proxy that takes longer to prove itself hangs.
const EXAM: Duration = Duration::from_secs(30);
/// Buffered access logs are written after ten seconds at the latest.
const LOG_PATIENCE: Duration = Duration::from_secs(15);

/// What a scenario runs on.
pub(crate) struct Stage<'a> {
    pub args: &'a Args,
    pub places: &'a Places,
    pub origin: &'a Origin,
    pub keys: &'a Keys,
    pub found: &'a [Found],
}

/// One run of one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU microseconds of a request; KiB of a connection where those are counted.
    pub cost: f64,
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// CPUs that others used meanwhile.
    pub others: f64,
}

impl Sample {
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others > QUIET
    }
}

/// One proxy in one scenario.
#[derive(Debug)]
pub(crate) struct Line {
    pub proxy: Proxy,
    pub samples: Vec<Sample>,
    pub rss_kib: u64,
}

/// One scenario, measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub scenario: &'static Scenario,
    pub requests: usize,
    pub lines: Vec<Line>,
    /// What our own metrics say about it.
    pub notes: Vec<String>,
}

impl Stage<'_> {
    /// Starts the proxies that claim the scenario, examines them, measures them, ends them.
    pub(crate) async fn run(&self, scenario: &'static Scenario) -> Result<Measured> {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-bench-")
            .disable_cleanup(self.args.is_kept)
            .tempdir()
            .map_err(|error| format!("cannot make a folder: {error}"))?;
        if self.args.is_kept {
            eprintln!("configurations of {}: {}", scenario.name, folder.path().display());
        }
        let mut started = Vec::new();
        for found in self.found.iter().filter(|found| found.proxy.claims(scenario)) {
            let means = (self.args, self.places, self.keys);
            let proxy = proxies::start(found, scenario, means, self.origin.address, folder.path()).await?;
            let exam = Exam {
                proxy: proxy.proxy,
                scenario,
                keys: self.keys,
                address: proxy.address,
                tight: proxy.tight,
                counts: &self.origin.counts,
            };
            tokio::time::timeout(EXAM, exam.pass())
                .await
                .unwrap_or_else(|_| Err("it hangs".to_owned()))
                .map_err(|problem| format!("{} fails the proof: {problem}", proxy.proxy.name()))?;
            started.push(proxy);
        }
        let requests = self
            .args
            .requests
            .unwrap_or(scenario.requests / if self.args.is_short { 10 } else { 1 });
        let mut measured = Measured {
            scenario,
            requests,
            lines: started
                .iter()
                .map(|proxy| Line {
                    proxy: proxy.proxy,
                    samples: Vec::new(),
                    rss_kib: 0,
                })
                .collect(),
            notes: Vec::new(),
        };
        if self.args.is_proof_only {
            eprintln!("{}: {} proven", scenario.name, started.len());
        } else if scenario.load == Load::Idle {
            for (proxy, line) in started.iter().zip(&mut measured.lines) {
                line.samples.push(self.idle(proxy, requests).await?);
                line.rss_kib = rss_kib(&family(proxy.running.id()));
            }
        } else {
            let loader = Loader::new(scenario, self.keys, folder.path(), requests)?;
            self.rounds(&loader, &started, &mut measured).await?;
        }
        if scenario.setup.is_logged {
            for proxy in &started {
                logged(proxy, folder.path(), measured.lines_due(self.args)).await?;
            }
        }
        Ok(measured)
    }

    async fn rounds(&self, loader: &Loader<'_>, started: &[Started], measured: &mut Measured) -> Result<()> {
        let mut before = Vec::new();
        for round in 0..self.args.rounds {
            for turn in 0..started.len() {
                let index = (round + turn) % started.len();
                let proxy = &started[index];
                if proxy.proxy == Proxy::Portcullis && round == 0 {
                    before = metrics(proxy).await.unwrap_or_default();
                }
                let sample = self
                    .quiet_sample(loader, proxy, started, measured.requests)
                    .await
                    .map_err(|problem| format!("{}: {problem}", proxy.proxy.name()))?;
                measured.lines[index].samples.push(sample);
            }
        }
        for (proxy, line) in started.iter().zip(&mut measured.lines) {
            line.rss_kib = rss_kib(&family(proxy.running.id()));
            if proxy.proxy == Proxy::Portcullis {
                measured.notes = notes(&before, &metrics(proxy).await?);
            }
        }
        Ok(())
    }

    /// The least disturbed of a few tries; the first one, when it was quiet.
    async fn quiet_sample(
        &self,
        loader: &Loader<'_>,
        proxy: &Started,
        started: &[Started],
        requests: usize,
    ) -> Result<Sample> {
        let mut best: Option<Sample> = None;
        for _ in 0..ATTEMPTS {
            let sample = self.sample(loader, proxy, started, requests).await?;
            if best.is_none_or(|best| sample.others < best.others) {
                best = Some(sample);
            }
            if !sample.is_disturbed() {
                break;
            }
        }
        best.ok_or_else(|| "nothing was measured".to_owned())
    }

    async fn sample(
        &self,
        loader: &Loader<'_>,
        proxy: &Started,
        started: &[Started],
        requests: usize,
    ) -> Result<Sample> {
        loader.send((requests / 10).max(1), proxy.address).await?;
        let own = family(proxy.running.id());
        let everyone: Vec<u32> = started
            .iter()
            .flat_map(|proxy| family(proxy.running.id()))
            .collect();
        let arrived = self.origin.counts.read().0;
        let (cpu, all, ours, busy) = (cpu_ns(&own), cpu_ns(&everyone), own_ns(), busy_ns());
        let began = Instant::now();
        let outcome = loader.send(requests, proxy.address).await?;
        let wall = began.elapsed().as_nanos() as f64;
        let cpu = cpu_ns(&own).saturating_sub(cpu);
        let accounted = cpu_ns(&everyone).saturating_sub(all) + own_ns().saturating_sub(ours);
        let busy = busy_ns().saturating_sub(busy);
        let arrived = self.origin.counts.read().0 - arrived;
        if arrived != requests as u64 {
            return Err(format!(
                "void: {requests} requests were sent, {arrived} reached the origin"
            ));
        }
        Ok(Sample {
            cost: cpu as f64 / 1_000.0 / requests as f64,
            per_second: requests as f64 / outcome.elapsed.as_secs_f64(),
            p50: outcome.p50,
            p99: outcome.p99,
            others: busy.saturating_sub(accounted) as f64 / wall,
        })
    }

    /// What memory grows by for each connection that waits.
    async fn idle(&self, proxy: &Started, connections: usize) -> Result<Sample> {
        let config = tls(&self.keys.authority, Session::Full, Protocol::H1)?;
        let processes = family(proxy.running.id());
        let mut waiting = Waiting::none();
        waiting.add(FIRST_WAITING, proxy.address, &config).await?;
        let before = rss_kib(&processes);
        waiting.add(connections, proxy.address, &config).await?;
        let after = rss_kib(&processes);
        // A proxy that gave connections up would look thrifty.
        waiting.all_answer().await?;
        Ok(Sample {
            cost: after.saturating_sub(before) as f64 / connections as f64,
            per_second: 0.0,
            p50: Duration::ZERO,
            p99: Duration::ZERO,
            others: 0.0,
        })
    }
}

impl Measured {
    /// Lines that an access log must have at least: the proof's are not counted.
    fn lines_due(&self, args: &Args) -> usize {
        if args.is_proof_only {
            1
        } else {
            self.requests * args.rounds
        }
    }
}

/// Waits until the access log has what was asked for.
async fn logged(proxy: &Started, folder: &Path, due: usize) -> Result<()> {
    let name = proxy.proxy.name();
    let file = match proxy.proxy {
        Proxy::Haproxy => "haproxy.out",
        _ => "access.log",
    };
    let file = folder.join(name).join(file);
    let until = Instant::now() + LOG_PATIENCE;
    loop {
        let lines = fs::read(&file).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
        if lines >= due {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{name} logged {lines} requests of {due}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Our metrics: name with labels, and value.
async fn metrics(proxy: &Started) -> Result<Vec<(String, f64)>> {
    let mut connection = client::h1::Connection::new(client::open(proxy.admin, None).await?);
    let answer = connection
        .ask(&client::h1::request("GET", "/metrics", &[], b""))
        .await?;
    Ok(parse_metrics(&String::from_utf8_lossy(&answer.body)))
}

fn parse_metrics(text: &str) -> Vec<(String, f64)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// What our caches did between two readings, as far as there are metrics for them.
fn notes(before: &[(String, f64)], after: &[(String, f64)]) -> Vec<String> {
    let grown = |name: &str, label: &str| -> f64 {
        let sum = |metrics: &[(String, f64)]| -> f64 {
            metrics
                .iter()
                .filter(|(key, _)| key.split('{').next() == Some(name) && key.contains(label))
                .map(|(_, value)| value)
                .sum()
        };
        sum(after) - sum(before)
    };
    let mut notes = Vec::new();
    let tokens = grown("portcullis_identity_tokens_total", "");
    if tokens > 0.0 {
        let checks = grown("portcullis_identity_signature_checks_total", "");
        notes.push(format!(
            "tokens remembered: {:.2} % of {tokens:.0}",
            100.0 * (1.0 - checks / tokens)
        ));
    }
    let hits = grown("portcullis_policy_recalls_total", "result=\"hit\"");
    let misses = grown("portcullis_policy_recalls_total", "result=\"miss\"");
    if hits + misses > 0.0 {
        let evicted = grown("portcullis_policy_recall_evictions_total", "");
        let share = 100.0 * hits / (hits + misses);
        notes.push(format!(
            "decisions remembered: {share:.2} % of {:.0}, {evicted:.0} evicted",
            hits + misses
        ));
    }
    let decisions = grown("portcullis_policy_decision_seconds_count", "");
    if decisions > 0.0 {
        let seconds = grown("portcullis_policy_decision_seconds_sum", "");
        notes.push(format!(
            "policy: {decisions:.0} decisions, {:.1} µs each",
            seconds * 1e6 / decisions
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hit_rates_come_from_what_grew() {
        let before = parse_metrics(
            "# TYPE x counter\nportcullis_identity_tokens_total{issuer=\"idp\",outcome=\"accepted\"} 100\n\
             portcullis_identity_signature_checks_total{issuer=\"idp\"} 90\n",
        );
        let after = parse_metrics(
            "portcullis_identity_tokens_total{issuer=\"idp\",outcome=\"accepted\"} 1100\n\
             portcullis_identity_signature_checks_total{issuer=\"idp\"} 100\n",
        );

        assert_eq!(notes(&before, &after), ["tokens remembered: 99.00 % of 1000"]);
        assert!(notes(&[], &[]).is_empty());
    }

    #[test]
    fn a_run_beside_others_is_disturbed() {
        let sample = |others| Sample {
            cost: 1.0,
            per_second: 1.0,
            p50: Duration::ZERO,
            p99: Duration::ZERO,
            others,
        };

        assert!(sample(0.31).is_disturbed() && !sample(0.29).is_disturbed());
    }
}
