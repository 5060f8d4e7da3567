//! What outlives a reload: fetched keys, verified tokens, delivered workload identities, and the clock they share.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use crate::assertion::AssertionBoard;
use crate::deny::DenyList;
use crate::jwt::{IssuerKeys, KeyBoard, KeyFetch, KeySetFault, TokenCache};
use crate::metrics::Metrics;
use crate::mtls::{CrlBoard, WorkloadBoard};
use crate::plan::{IssuerPlan, KeySource};
use crate::pulse::Pulse;

/// The two clocks the room is handed: timers follow the monotonic one, tokens and certificates the wall's.
#[derive(Clone)]
pub struct Clock {
    monotonic: Arc<dyn Fn() -> Instant + Send + Sync>,
    wall: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Clock {
    /// A clock from two readings, as in `Clock::new(Instant::now, SystemTime::now)`.
    pub fn new(
        monotonic: impl Fn() -> Instant + Send + Sync + 'static,
        wall: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Self {
        Self {
            monotonic: Arc::new(monotonic),
            wall: Arc::new(wall),
        }
    }

    /// For cooldowns and ages.
    #[must_use]
    pub fn instant(&self) -> Instant {
        (self.monotonic)()
    }

    /// For validity of certificates.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        (self.wall)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Handshakes see the same wall clock as tokens do.
impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        self.wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

/// Everything of this room that outlives a reload; made once by the app.
#[derive(Clone, Debug)]
pub struct Boards {
    /// Fetched key sets.
    pub keys: Arc<KeyBoard>,
    /// Tokens whose signature was checked.
    pub tokens: Arc<TokenCache>,
    /// What the Workload API delivered.
    pub workload: Arc<WorkloadBoard>,
    /// Revocation lists.
    pub crls: Arc<CrlBoard>,
    /// Keys that sign what endpoints are told.
    pub assertions: Arc<AssertionBoard>,
    /// Beats when something that a proof rests on may have changed.
    pub pulse: Arc<Pulse>,
    /// Who is refused although the credential is right.
    pub denied: Arc<DenyList>,
    /// Counters and gauges; the app registers them.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Clock,
}

impl Boards {
    /// Empty boards.
    #[must_use]
    pub fn new(fetch: Arc<dyn KeyFetch>, clock: Clock) -> Self {
        let metrics = Arc::new(Metrics::new());
        let pulse = Arc::new(Pulse::new());
        let workload = WorkloadBoard::new();
        let crls = CrlBoard::new(
            clock.clone(),
            Arc::clone(&metrics),
            Arc::clone(&workload),
            Arc::clone(&pulse),
        );
        Self {
            keys: Arc::new(KeyBoard::new(
                fetch,
                clock.clone(),
                Arc::clone(&metrics),
                Arc::clone(&pulse),
            )),
            tokens: Arc::new(TokenCache::new()),
            workload,
            crls: Arc::new(crls),
            assertions: Arc::new(AssertionBoard::new(clock.clone())),
            denied: Arc::new(DenyList::new(Arc::clone(&pulse))),
            pulse,
            metrics,
            clock,
        }
    }

    /// Where an issuer finds its keys.
    pub(crate) fn issuer_keys(&self, plan: &IssuerPlan) -> Result<IssuerKeys, KeySetFault> {
        match &plan.keys {
            KeySource::WorkloadApi(domain) => {
                Ok(IssuerKeys::Workload(Arc::clone(&self.workload), domain.clone()))
            }
            KeySource::Document(_) | KeySource::Url(_) | KeySource::Discovery => {
                self.keys.slot(plan).map(IssuerKeys::Slot)
            }
        }
    }
}
