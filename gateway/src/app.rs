//! The composition root: builds the rooms, opens the doors, runs, and drains.
//!
//! Everything that lives long belongs to [`App`]; background work is started here and nowhere else, by name, and is
//! joined at shutdown.

mod background;
pub mod denials;
mod door;
mod health;
mod places;
pub mod reload;
mod reloading;
mod serving;
mod signals;
pub(crate) mod state;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use portcullis_config::{BootPlan, Loaded, Refused, compile};
use portcullis_model::ListenerId;
use portcullis_pipeline::plan::GatewayPlan;
use portcullis_pipeline::{Boards, Gateway, Now, SnapshotStore};
use portcullis_proxy::{Proxy, ProxyFault};
use portcullis_telemetry::metrics::{register_build_info, register_process};
use portcullis_telemetry::{AccessLog, LineFault, RequestMetrics, Telemetry};
use prometheus::Registry;
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::info;

use crate::adapters::http_fetch::{ClientFault, HttpFetch};
use crate::adapters::workload_api::Follower;
use crate::admin::readiness::Readiness;
use crate::configuration::{self, Selection};
use crate::version;
use background::Background;
use denials::{Denials, KeptFault};
use door::Sockets;
use reload::{ReloadStatus, warn_all};
use reloading::Reloader;
pub(crate) use reloading::egress_rules;
use serving::Serving;
use state::{StateDir, StateFault};

/// How to run.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// Which configuration.
    pub selection: Selection,
    /// How long requests in flight may take after a drain began.
    pub drain_timeout: Duration,
    /// Whether a change of a file reloads.
    pub watches_files: bool,
}

impl Default for AppOptions {
    /// `./portcullis.yaml`, 30 s to drain, files watched.
    fn default() -> Self {
        Self {
            selection: Selection {
                path: PathBuf::from("portcullis.yaml"),
                region: None,
                offline: false,
            },
            drain_timeout: Duration::from_secs(30),
            watches_files: true,
        }
    }
}

/// Why the gateway does not start.
#[derive(Debug, Error)]
pub enum AppFault {
    /// The configuration has problems.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// An address cannot be bound.
    #[error("cannot listen on {address} for {listener} ({place})")]
    Bind {
        /// Whose.
        listener: String,
        /// Which.
        address: SocketAddr,
        /// Where it is written.
        place: String,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The access log cannot be written.
    #[error("cannot write the access log")]
    AccessLog(#[from] LineFault),
    /// The admin port's deny list of the last run cannot be taken up.
    #[error(transparent)]
    KeptDenials(#[from] KeptFault),
    /// The gateway's own HTTP client cannot be built.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// The folder for what outlives a restart cannot be used.
    #[error(transparent)]
    State(#[from] Box<StateFault>),
    /// Two rooms want the same metric.
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    /// The proxy cannot start.
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    /// The proxy has no threads to work on; a defect.
    #[error("the proxy has no threads")]
    NoThreads,
}

/// A running gateway.
pub struct App {
    addresses: BTreeMap<ListenerId, Vec<SocketAddr>>,
    admin: SocketAddr,
    gateway: Arc<Gateway>,
    telemetry: Arc<Telemetry>,
    readiness: Arc<Readiness>,
    reloader: Arc<Reloader>,
    background: Background,
    proxy: Proxy,
    handle: Handle,
    drain_timeout: Duration,
}

impl App {
    /// Loads, compiles, binds and serves; returns when connections are accepted.
    ///
    /// # Errors
    /// Says what is wrong with the configuration, or which address is taken; nothing runs then.
    pub fn start(options: AppOptions) -> Result<Self, AppFault> {
        let loaded = options.selection.load().map_err(Box::new)?;
        let registry = Registry::new();
        register_build_info(&registry, version::VERSION, version::COMMIT)?;
        register_process(&registry)?;
        let fetch = Arc::new(HttpFetch::new(reloading::egress_rules(
            &loaded.live,
            &loaded.boot,
        ))?);
        let boards = Arc::new(configuration::boards(Arc::clone(&fetch) as _, &registry)?);
        let (snapshot, warnings) = compile(&loaded, None, &boards).map_err(Box::new)?;
        warn_all(&warnings);
        let denied = denials::load(&loaded, &boards.identity.denied).map_err(Box::new)?;
        let Loaded {
            boot,
            live,
            sources,
            revision,
            ..
        } = loaded;
        let state = match &boot.state_dir {
            Some(path) => Some(Arc::new(StateDir::open(path).map_err(Box::new)?)),
            None => None,
        };
        let follower = follower(&boot, &live, &boards, state.as_deref())?;
        let sockets = Sockets::bind(&boot, &live)?;
        let telemetry = Arc::new(Telemetry {
            metrics: RequestMetrics::register(&registry)?,
            access_log: AccessLog::open(&serving::access_log_destination(&boot.access_log), &registry)?,
        });
        let store = Arc::new(SnapshotStore::new(snapshot));
        let sink = Arc::clone(&telemetry) as _;
        let gateway = Gateway::new(Arc::clone(&store), Arc::clone(&boards), sink, now, rand::random);
        let gateway = Arc::new(gateway.with_clocks(Instant::now, SystemTime::now));
        let (denials, deny_list) = Denials::take_up(&gateway, state.clone(), denied)?;
        let status = Arc::new(ReloadStatus::new(&registry, &revision, warnings)?);
        let proxy = Proxy::new(boot.workers, &registry)?;
        let handle = proxy.handle().ok_or(AppFault::NoThreads)?;
        let readiness = Arc::new(Readiness::default());
        let reloader = Arc::new(Reloader::new(
            options.selection,
            boot,
            Arc::clone(&gateway),
            fetch,
            Arc::clone(&status),
        ));
        let background = Background::new(handle.clone());
        let serving = Serving {
            gateway: Arc::clone(&gateway),
            registry,
            readiness: Arc::clone(&readiness),
            reloader: Arc::clone(&reloader),
            status,
            denials,
            deny_list,
            follower,
        };
        let addresses = sockets.addresses();
        let (listeners, admin_socket) = sockets.into_parts();
        let admin = admin_socket.1;
        serving.start(
            &background,
            admin_socket,
            options.watches_files.then_some(&sources),
        );
        proxy.serve(Arc::clone(&gateway), listeners)?;
        readiness.serving();
        report_addresses(&addresses, admin);
        let drain_timeout = options.drain_timeout;
        Ok(Self {
            addresses,
            admin,
            gateway,
            telemetry,
            readiness,
            reloader,
            background,
            proxy,
            handle,
            drain_timeout,
        })
    }

    /// Where every listener is bound; a configured port 0 is a real one here.
    #[must_use]
    pub const fn addresses(&self) -> &BTreeMap<ListenerId, Vec<SocketAddr>> {
        &self.addresses
    }

    /// Where the admin port is bound.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What serves; for tests that look inside.
    #[must_use]
    pub const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// What outlives reloads.
    #[must_use]
    pub fn boards(&self) -> &Arc<Boards> {
        self.gateway.boards()
    }

    /// Reads the configuration again, as SIGHUP does; returns when the outcome is decided.
    pub fn reload(&self) {
        self.reloader.reload();
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// Says what is missing when the time is over.
    pub fn wait_until_ready(&self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        loop {
            let report = self.readiness.report(&self.gateway);
            if report.is_ready() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(report.missing());
            }
            std::thread::sleep(serving::READY_CHECK);
        }
    }

    /// Serves until SIGTERM (drain) or SIGINT (at once, also while it drains); SIGHUP reloads meanwhile.
    pub fn run_until_told_to_stop(self) {
        let listening = self.handle.block_on(async { signals::Signals::listen() });
        let mut signals = match listening {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "signals cannot be taken over, stopping");
                return self.shutdown(Duration::ZERO);
            }
        };
        let limit = match self.handle.block_on(self.told_to_stop(&mut signals)) {
            signals::Told::Drain => self.drain_timeout,
            signals::Told::StopAtOnce | signals::Told::Reload => Duration::ZERO,
        };
        self.shutdown_unless(limit, signals.interrupted());
    }

    /// Fails readiness, tells connections to go, waits for requests in flight up to `limit`, and ends everything.
    pub fn shutdown(self, limit: Duration) {
        self.shutdown_unless(limit, std::future::pending());
    }

    fn shutdown_unless(self, limit: Duration, interrupted: impl Future<Output = ()>) {
        self.readiness.draining();
        info!(limit_ms = limit.as_millis(), "draining");
        self.handle.block_on(async {
            tokio::select! {
                () = door::drain(&self.proxy, limit) => {}
                () = interrupted => info!("told to stop at once, not draining any longer"),
            }
            self.background.stop().await;
        });
        drop(self.proxy);
        self.telemetry.access_log.close();
        info!("stopped");
    }

    async fn told_to_stop(&self, signals: &mut signals::Signals) -> signals::Told {
        loop {
            match signals.next().await {
                signals::Told::Reload => {
                    // Whoever sends a signal wants to see that it arrived, also when nothing changed.
                    if let Some(outcome) = self.reloader.reload_aside().await {
                        info!(outcome, "the configuration was read again, as told by SIGHUP");
                    }
                }
                told @ (signals::Told::Drain | signals::Told::StopAtOnce) => return told,
            }
        }
    }
}

/// Both clocks.
fn now() -> Now {
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

/// What will follow the Workload API; what is kept of it from before a restart serves already.
fn follower(
    boot: &BootPlan,
    plan: &GatewayPlan,
    boards: &Boards,
    state: Option<&StateDir>,
) -> Result<Option<Follower>, Box<StateFault>> {
    let Some(endpoint) = boot.workload_api.clone() else {
        return Ok(None);
    };
    let mut follower = Follower::new(endpoint, boards.identity.clone(), state).map_err(Box::new)?;
    follower.restore(&plan.identity);
    Ok(Some(follower))
}

fn report_addresses(addresses: &BTreeMap<ListenerId, Vec<SocketAddr>>, admin: SocketAddr) {
    for (listener, bound) in addresses {
        for address in bound {
            info!(%listener, %address, "listening");
        }
    }
    info!(listener = "admin", address = %admin, "listening");
}
