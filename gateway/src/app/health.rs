//! When each endpoint is probed: at once when it is new, then at its interval give or take a fifth, so that a
//! fleet of gateways never knocks in step.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::EndpointId;
use portcullis_pipeline::gateway::Gateway;
use portcullis_routing::pool::{Pool, ProbeTarget};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked at what is due; a fortieth of the default interval.
const TICK: Duration = Duration::from_millis(50);
/// Probes under way at once; more wait for the next tick.
const MOST_AT_ONCE: usize = 256;

/// What came of a probe. `None` when the gateway could not ask: a lack of its own is no evidence about an endpoint.
type Heard = Option<Result<(), String>>;

/// Probes one endpoint and says what came of it; the traffic's door does it over its own connector.
pub(crate) type Probe =
    Arc<dyn Fn(Arc<Pool>, ProbeTarget) -> futures_util::future::BoxFuture<'static, Heard> + Send + Sync>;

/// When each endpoint is due.
#[derive(Default)]
struct Schedule {
    due: HashMap<EndpointId, Due>,
}

enum Due {
    At(Instant),
    UnderWay,
}

impl Schedule {
    /// True when the endpoint is to be probed now; it is then under way.
    fn take(&mut self, endpoint: &EndpointId, now: Instant) -> bool {
        match self.due.get(endpoint) {
            Some(Due::UnderWay) => return false,
            Some(Due::At(at)) if *at > now => return false,
            Some(Due::At(_)) | None => {}
        }
        self.due.insert(endpoint.clone(), Due::UnderWay);
        true
    }

    fn done(&mut self, endpoint: EndpointId, next: Instant) {
        self.due.insert(endpoint, Due::At(next));
    }
}

/// Probes until the task is dropped.
pub(crate) async fn probe_all(gateway: Arc<Gateway>, probe: Probe) {
    let mut schedule = Schedule::default();
    let mut under_way = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => start_due(&gateway, &probe, &mut schedule, &mut under_way),
            Some(finished) = under_way.join_next(), if !under_way.is_empty() => {
                let Ok((endpoint, heard, pause)) = finished else { continue };
                let now = Instant::now();
                if let Some(result) = heard {
                    gateway.boards().routing.health.record_probe(&endpoint, result, now);
                }
                schedule.done(endpoint, now + pause);
            }
        }
    }
}

type Finished = (EndpointId, Heard, Duration);

fn start_due(gateway: &Gateway, probe: &Probe, schedule: &mut Schedule, under_way: &mut JoinSet<Finished>) {
    let now = Instant::now();
    let snapshot = gateway.snapshot();
    let mut live = std::collections::HashSet::new();
    for pool in snapshot.routing.pools() {
        for target in pool.probe_targets() {
            live.insert(target.endpoint.clone());
            if under_way.len() >= MOST_AT_ONCE || !schedule.take(&target.endpoint, now) {
                continue;
            }
            let (pool, probe, pause) = (
                Arc::clone(pool),
                Arc::clone(probe),
                jittered(pool.health().interval),
            );
            under_way.spawn(async move {
                let limit = pool.health().timeout;
                let endpoint = target.endpoint.clone();
                let heard = match tokio::time::timeout(limit, probe(pool, target)).await {
                    Ok(heard) => heard,
                    Err(_) => Some(Err(format!("no answer within {} ms", limit.as_millis()))),
                };
                (endpoint, heard, pause)
            });
        }
    }
    schedule.due.retain(|endpoint, _| live.contains(endpoint));
}

/// The interval give or take a fifth.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> EndpointId {
        EndpointId {
            pool: "a".into(),
            region: "eu".into(),
            address: "127.0.0.1:1".parse().unwrap(),
        }
    }

    #[test]
    fn a_new_endpoint_is_due_at_once_and_only_once() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());

        assert!(schedule.take(&endpoint(), now));
        assert!(!schedule.take(&endpoint(), now));
    }

    #[test]
    fn a_probed_endpoint_is_due_again_at_its_time() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.take(&endpoint(), now);

        schedule.done(endpoint(), now + Duration::from_secs(2));

        assert!(!schedule.take(&endpoint(), now + Duration::from_secs(1)));
        assert!(schedule.take(&endpoint(), now + Duration::from_secs(2)));
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..1_000 {
            let interval = jittered(Duration::from_secs(10));
            assert!((Duration::from_secs(8)..=Duration::from_secs(12)).contains(&interval));
        }
    }
}
