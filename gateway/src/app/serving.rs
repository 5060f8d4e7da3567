//! Everything that runs beside the traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_config::{AccessLogDestination, Sources};
use portcullis_pipeline::Gateway;
use portcullis_telemetry::LineDestination;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::background::Background;
use super::denials::{Denials, Stamp};
use super::reload::ReloadStatus;
use super::reloading::Reloader;
use super::watch::FileWatch;
use super::{door, health};
use crate::adapters::http_fetch::HttpFetch;
use crate::adapters::{dns, workload_api};
use crate::admin::Admin;
use crate::admin::readiness::Readiness;
use crate::admin::server;

/// Between looks at what is due for key sets.
const KEYS: Duration = Duration::from_secs(1);
/// Between questions for every name.
const DNS: Duration = Duration::from_secs(5);
/// Between looks for what nobody uses any more.
const SWEEP: Duration = Duration::from_secs(30);
/// Between looks at whether everything is ready.
pub(crate) const READY_CHECK: Duration = Duration::from_millis(20);
/// After which a gateway that is not ready says what is missing, and how often it says so again.
const NOT_READY: Duration = Duration::from_secs(10);

/// What background work needs.
pub(crate) struct Serving {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) registry: Registry,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) status: Arc<ReloadStatus>,
    pub(crate) denials: Arc<Denials>,
    /// What the deny list's file looked like when it was read.
    pub(crate) deny_list: Stamp,
    /// What follows the Workload API.
    pub(crate) follower: Option<workload_api::Follower>,
}

impl Serving {
    /// Starts all of it.
    pub(crate) fn start(
        self,
        background: &Background,
        admin: (std::net::TcpListener, std::net::SocketAddr),
        watched: Option<&Sources>,
    ) {
        let Self {
            gateway,
            registry,
            readiness,
            reloader,
            status,
            denials,
            deny_list,
            follower,
        } = self;
        background.spawn("deny-list", Arc::clone(&denials).follow(deny_list));
        background.spawn(
            "ready",
            say_when_ready(Arc::clone(&gateway), Arc::clone(&readiness)),
        );
        background.spawn("keys", refresh_keys(Arc::clone(&gateway)));
        background.spawn(
            "revocation-lists",
            keep_lists(Arc::clone(&gateway), reloader.fetch()),
        );
        background.spawn("dns", resolve_names(Arc::clone(&gateway)));
        background.spawn(
            "health",
            health::probe_all(Arc::clone(&gateway), door::probe(Arc::clone(&gateway))),
        );
        background.spawn("sweep", sweep(Arc::clone(&gateway)));
        if let Some(follower) = follower {
            background.spawn("workload-api", follower.follow());
        }
        if let Some(sources) = watched {
            match FileWatch::new(reloader.own_files()) {
                Ok((watch, changes)) => {
                    watch.follow(sources.paths());
                    reloader.watch(watch);
                    background.spawn("files", Arc::clone(&reloader).reload_on(changes));
                }
                Err(error) => warn!(%error, "files are not watched, SIGHUP reloads"),
            }
        }
        let (listener, address) = admin;
        let admin = Arc::new(Admin {
            gateway,
            registry,
            readiness,
            reload: status,
            denials,
        });
        background.spawn("admin", async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the admin port cannot be served"),
            };
            let answer = move |head, body| {
                let admin = Arc::clone(&admin);
                async move { admin.answer(&head, body).await }
            };
            server::serve(listener, address, Arc::new(answer)).await;
        });
    }
}

/// Where the configuration wants the access log.
pub(crate) fn access_log_destination(destination: &AccessLogDestination) -> LineDestination {
    match destination {
        AccessLogDestination::Stdout => LineDestination::Stdout,
        AccessLogDestination::Stderr => LineDestination::Stderr,
        AccessLogDestination::File(path) => LineDestination::File(path.clone()),
        AccessLogDestination::None => LineDestination::None,
    }
}

async fn say_when_ready(gateway: Arc<Gateway>, readiness: Arc<Readiness>) {
    let mut ticks = every(READY_CHECK);
    let mut said = Instant::now();
    loop {
        ticks.tick().await;
        let report = readiness.report(&gateway);
        if report.is_ready() {
            let revision = gateway.snapshot().revision.clone();
            info!(%revision, "ready");
            return std::future::pending().await;
        }
        if said.elapsed() >= NOT_READY {
            said = Instant::now();
            warn!(waiting_for = report.missing(), "not ready yet");
        }
    }
}

async fn refresh_keys(gateway: Arc<Gateway>) {
    let mut ticks = every(KEYS);
    loop {
        ticks.tick().await;
        gateway.boards().identity.keys.refresh_due(Instant::now()).await;
    }
}

async fn keep_lists(gateway: Arc<Gateway>, fetch: Arc<HttpFetch>) {
    gateway.boards().identity.crls.keep_fresh(&*fetch).await;
}

/// Asks for names at once when a configuration brings a new one, and for all of them every five seconds.
async fn resolve_names(gateway: Arc<Gateway>) {
    let mut ticks = every(Duration::from_millis(250));
    let mut known = Vec::new();
    let mut asked = Instant::now();
    loop {
        ticks.tick().await;
        let names = gateway.snapshot().routing.dns_names();
        let is_new = names != known;
        if !is_new && asked.elapsed() < DNS {
            continue;
        }
        dns::resolve_all(&names, &gateway.boards().routing.addresses).await;
        asked = Instant::now();
        known = names;
    }
}

async fn sweep(gateway: Arc<Gateway>) {
    let mut ticks = every(SWEEP);
    loop {
        ticks.tick().await;
        let snapshot = gateway.snapshot();
        snapshot.routing.sweep();
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
