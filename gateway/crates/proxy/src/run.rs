//! The proxy as a whole: its threads, its listeners, its end.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::server::{Fds, ListenFds, ShutdownWatch};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use portcullis_model::ListenerId;
use portcullis_pipeline::Gateway;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::endpoint::Mesh;
use crate::listener::{Doors, OpenCount, accept_log};
use crate::lock;
use crate::metrics::Metrics;

/// Between two looks at the kept connections.
const SWEEP: Duration = Duration::from_secs(5);

/// A listener whose socket is bound already: a port that is taken is a problem of the start, not of the proxy.
#[derive(Debug)]
pub struct BoundListener {
    /// Its name.
    pub id: ListenerId,
    /// Its socket.
    pub socket: TcpListener,
}

/// Why the proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// The threads.
    #[error("cannot start the worker threads")]
    Threads(#[source] std::io::Error),
    /// A socket.
    #[error("cannot serve listener \"{listener}\"")]
    Socket {
        /// Which.
        listener: ListenerId,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The metrics.
    #[error("cannot register the proxy's metrics")]
    Metrics(#[source] prometheus::Error),
}

/// Threads, listeners and connections. Several may run in one process.
pub struct Proxy {
    runtime: Option<Runtime>,
    metrics: Arc<Metrics>,
    open: Arc<OpenCount>,
    drain: watch::Sender<bool>,
    services: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts the worker threads; `0` means one per processor the process may use.
    ///
    /// # Errors
    /// When the threads cannot be started, or the registry knows our metrics already.
    pub fn new(workers: usize, registry: &prometheus::Registry) -> Result<Self, ProxyFault> {
        let workers = match workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        };
        accept_log::heed();
        let metrics = Arc::new(Metrics::register(registry).map_err(ProxyFault::Metrics)?);
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("portcullis-worker")
            .enable_all()
            .build()
            .map_err(ProxyFault::Threads)?;
        let (drain, _) = watch::channel(false);
        Ok(Self {
            runtime: Some(runtime),
            metrics,
            open: Arc::default(),
            drain,
            services: std::sync::Mutex::default(),
        })
    }

    /// The runtime on which the app spawns its background work.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.runtime.as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Serves listeners until [`Proxy::drain`].
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub fn serve(&self, gateway: Arc<Gateway>, listeners: Vec<BoundListener>) -> Result<(), ProxyFault> {
        let Some(handle) = self.handle() else {
            return Ok(());
        };
        let mut fds = Fds::new();
        let mut bound: Vec<(SocketAddr, ListenerId)> = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let socket_fault = |source| ProxyFault::Socket {
                listener: listener.id.clone(),
                source,
            };
            listener.socket.set_nonblocking(true).map_err(socket_fault)?;
            let address = listener.socket.local_addr().map_err(socket_fault)?;
            fds.add(address.to_string(), listener.socket.into_raw_fd());
            bound.push((address, listener.id));
        }
        let mesh = Mesh::new(Arc::clone(&self.metrics));
        let addresses: Vec<SocketAddr> = bound.iter().map(|(address, _)| *address).collect();
        let doors = Doors::new(
            gateway,
            mesh.clone(),
            (Arc::clone(&self.metrics), Arc::clone(&self.open)),
            bound,
        );
        let mut service = Service::new("portcullis".to_owned(), doors);
        for address in addresses {
            // Our own loop buffers, and only while a request is under way.
            let config = ListenerConfig::tcp(address.to_string()).l4_buffer(L4BufferSettings::unbuffered());
            service.endpoints().add_listener(config);
        }
        let fds: ListenFds = Arc::new(fds.into());
        let shutdown: ShutdownWatch = self.drain.subscribe();
        let accepting = handle.spawn(async move { service.start_service(Some(fds), shutdown, 1).await });
        lock(&self.services).push(accepting);
        handle.spawn(sweep(mesh));
        Ok(())
    }

    /// Client connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.count()
    }

    /// Stops accepting, lets connections finish and returns as soon as the last one is gone; false when the time
    /// ran out before.
    pub async fn drain(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        // Nobody listens when nothing was served; the flag stands either way.
        self.drain.send_replace(true);
        let services = std::mem::take(&mut *lock(&self.services));
        for service in services {
            if timeout_at(deadline, service).await.is_err() {
                return false;
            }
        }
        timeout_at(deadline, self.open.wait_for_none()).await.is_ok()
    }

    /// The same for a caller without a runtime of its own.
    pub fn drain_blocking(&self, limit: Duration) -> bool {
        self.handle()
            .is_none_or(|handle| handle.block_on(self.drain(limit)))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits, which must not happen on a worker of another one.
            runtime.shutdown_background();
        }
    }
}

async fn sweep(mesh: Mesh) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        mesh.sweep();
    }
}
