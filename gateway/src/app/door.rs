//! The listening sockets and the proxy behind them.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portcullis_config::BootPlan;
use portcullis_model::ListenerId;
use portcullis_pipeline::Gateway;
use portcullis_pipeline::plan::GatewayPlan;
use portcullis_proxy::{BoundListener, ProbeFault, Proxy};
use portcullis_routing::plan::ProbePlan;
use portcullis_routing::pool::{Pool, ProbeTarget};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use super::AppFault;
use super::health::Probe;
use crate::output::chain;

/// Connections that wait to be accepted; what the system allows less of, it cuts.
const BACKLOG: i32 = 4_096;
/// What the kernel takes of an answer beyond what is on its way, for each connection. It would take megabytes otherwise:
/// a client that reads slowly would hold them, and no deadline of ours would notice.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;
/// A client that takes nothing of what waits for it for so long is gone, also while its connection is being closed: as
/// long as a route waits by default (RFC 5482).
#[cfg(target_os = "linux")]
const UNTAKEN: Duration = Duration::from_secs(60);

/// Every socket of the gateway, bound before anything runs.
pub(crate) struct Sockets {
    listeners: Vec<BoundListener>,
    addresses: BTreeMap<ListenerId, Vec<SocketAddr>>,
    admin: TcpListener,
    admin_address: SocketAddr,
}

impl Sockets {
    /// Binds every address of the configuration.
    pub(crate) fn bind(boot: &BootPlan, plan: &GatewayPlan) -> Result<Self, AppFault> {
        let mut listeners = Vec::new();
        let mut addresses: BTreeMap<ListenerId, Vec<SocketAddr>> = BTreeMap::new();
        for listener in &boot.listeners {
            let place = plan
                .listeners
                .iter()
                .find(|one| one.id == listener.id)
                .map(|one| one.origin.to_string());
            for &address in &listener.addresses {
                let fault = |cause| AppFault::Bind {
                    listener: format!("listener \"{}\"", listener.id),
                    address,
                    place: place.clone().unwrap_or_default(),
                    cause,
                };
                let socket = bind(address).map_err(fault)?;
                let bound = socket.local_addr().map_err(fault)?;
                addresses.entry(listener.id.clone()).or_default().push(bound);
                listeners.push(BoundListener {
                    id: listener.id.clone(),
                    socket,
                });
            }
        }
        let fault = |cause| AppFault::Bind {
            listener: "the admin port".to_owned(),
            address: boot.admin,
            place: "gateway.admin.listen".to_owned(),
            cause,
        };
        let admin = bind(boot.admin).map_err(fault)?;
        let admin_address = admin.local_addr().map_err(fault)?;
        Ok(Self {
            listeners,
            addresses,
            admin,
            admin_address,
        })
    }

    /// Where every listener is bound.
    pub(crate) fn addresses(&self) -> BTreeMap<ListenerId, Vec<SocketAddr>> {
        self.addresses.clone()
    }

    /// Gives the sockets out: the listeners', and the admin port's with its address.
    pub(crate) fn into_parts(self) -> (Vec<BoundListener>, (TcpListener, SocketAddr)) {
        (self.listeners, (self.admin, self.admin_address))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means IPv6; whoever wants both families names both.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets have what their listener has.
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_notsent_lowat(UNSENT)?;
        socket.set_tcp_user_timeout(Some(UNTAKEN))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Tells connections to go and waits for them.
pub(crate) async fn drain(proxy: &Proxy, limit: Duration) {
    let is_clean = proxy.drain(limit).await;
    if !is_clean && !limit.is_zero() {
        warn!(
            connections = proxy.connections(),
            "not every connection ended in time"
        );
    }
}

/// Probes over the connections that requests use.
pub(crate) fn probe(gateway: Arc<Gateway>) -> Probe {
    Arc::new(move |pool: Arc<Pool>, target: ProbeTarget| {
        let tls = gateway.snapshot().identity.upstream_tls(pool.id());
        async move {
            if pool.tls() && tls.is_none() {
                return Some(Err("its TLS material is being replaced".to_owned()));
            }
            let health = pool.health();
            let probe = portcullis_proxy::Probe {
                endpoint: target.endpoint,
                dns: target.dns,
                tls: tls.filter(|_| pool.tls()),
                protocol: pool.protocol(),
                plan: health.probe.clone().unwrap_or(ProbePlan::Tcp),
                timeout: health.timeout,
            };
            match portcullis_proxy::probe(&probe).await {
                Ok(()) => Some(Ok(())),
                Err(ProbeFault::Unasked) => None,
                Err(fault) => Some(Err(chain(&fault))),
            }
        }
        .boxed()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_and_a_free_one_is_bound() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.local_addr().unwrap();

        assert_eq!(bind(taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(bind("127.0.0.1:0".parse().unwrap()).is_ok());
    }
}
