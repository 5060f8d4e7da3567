//! The doors: an accepted socket becomes a connection, and a connection a row of requests.
//!
//! Pingora's service owns the listening sockets and the accept loops; everything after `accept` is ours: permits,
//! TLS by name, the head's deadline, the framing guard, keep-alive, age and drain. Read [`h1`] for the order.

pub(crate) mod accept_log;
pub(crate) mod permits;
mod refusals;
pub(crate) mod socket;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::{GetSocketDigest, Stream};
use pingora_core::server::ShutdownWatch;
use portcullis_model::ListenerId;
use portcullis_pipeline::plan::ConnectionLimits;
use portcullis_pipeline::{ConnectionFacts, Gateway, Snapshot};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use crate::client::{h1, h2};
use crate::connection::Connection;
use crate::endpoint::Mesh;
use crate::exchange;
use crate::metrics::Metrics;
use permits::Permits;
use socket::ClientSocket;

/// Every listener of one proxy.
pub(crate) struct Doors {
    /// The hall.
    pub(crate) gateway: Arc<Gateway>,
    /// Every connection to every endpoint.
    pub(crate) mesh: Mesh,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    open: Arc<OpenCount>,
    doors: Vec<Door>,
}

/// How many connections are open; the drain waits for the last one.
#[derive(Debug, Default)]
pub(crate) struct OpenCount {
    open: AtomicUsize,
    none: Notify,
}

/// One of them; counted until dropped.
struct Counted(Arc<OpenCount>);

impl OpenCount {
    /// Connections open now.
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until there are none.
    pub(crate) async fn wait_for_none(&self) {
        loop {
            let notified = self.none.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn take(self: &Arc<Self>) -> Counted {
        self.open.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(self))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

struct Door {
    address: SocketAddr,
    listener: ListenerId,
    permits: Arc<Permits>,
}

impl Doors {
    /// The listeners by the addresses they are bound to.
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        mesh: Mesh,
        (metrics, open): (Arc<Metrics>, Arc<OpenCount>),
        bound: Vec<(SocketAddr, ListenerId)>,
    ) -> Self {
        let mut permits: Vec<(ListenerId, Arc<Permits>)> = Vec::new();
        let mut doors = Vec::with_capacity(bound.len());
        for (address, listener) in bound {
            let known = permits
                .iter()
                .find(|(id, _)| *id == listener)
                .map(|(_, permits)| Arc::clone(permits));
            let shared = known.unwrap_or_default();
            permits.push((listener.clone(), Arc::clone(&shared)));
            doors.push(Door {
                address,
                listener,
                permits: shared,
            });
        }
        Self {
            gateway,
            mesh,
            metrics,
            open,
            doors,
        }
    }

    /// The listener that a connection to this address came through.
    fn door(&self, local: SocketAddr) -> Option<&Door> {
        let exact = self.doors.iter().find(|door| door.address == local);
        exact.or_else(|| {
            let same_port =
                |door: &&Door| door.address.port() == local.port() && door.address.ip().is_unspecified();
            self.doors.iter().find(same_port)
        })
    }

    /// Serves one accepted connection to its end.
    async fn serve(&self, stream: Stream, shutdown: ShutdownWatch) {
        let Ok(stream) = stream.into_any().downcast::<L4Stream>() else {
            return;
        };
        let Some((peer, local)) = addresses(&stream) else {
            return;
        };
        let Some(door) = self.door(local) else {
            return;
        };
        let snapshot = self.gateway.snapshot();
        let Some(limits) = snapshot.listener(&door.listener).map(|listener| listener.limits) else {
            return;
        };
        let _permit = match door.permits.take(peer.ip(), &limits, Instant::now()) {
            Ok(permit) => permit,
            Err(refused) => {
                self.metrics.connection_refused(&door.listener, refused.as_str());
                return;
            }
        };
        let _counted = self.open.take();
        let _open = self.metrics.connection_opened(&door.listener);
        // Apart, so that a connection does not carry its handshake.
        let place = (&door.listener, peer, local);
        match Box::pin(self.shake_hands(*stream, &snapshot, place, &limits)).await {
            Some((socket, facts, is_h2)) => {
                drop(snapshot);
                let connection = Arc::new(Connection::new(Arc::new(facts), limits, shutdown));
                let requests = exchange::Requests::new(self, &connection);
                // And the protocol's loop apart from the handshake.
                if is_h2 {
                    Box::pin(h2::serve(socket, &connection, &self.metrics, &requests)).await;
                } else {
                    Box::pin(h1::serve(&requests, socket, Arc::clone(&connection))).await;
                }
            }
            None => debug!(%peer, listener = %door.listener, "connection without a handshake"),
        }
    }

    /// The TLS handshake where the listener has TLS, under its deadline.
    async fn shake_hands(
        &self,
        stream: L4Stream,
        snapshot: &Snapshot,
        (listener, peer, local): (&ListenerId, SocketAddr, SocketAddr),
        limits: &ConnectionLimits,
    ) -> Option<(ClientSocket, ConnectionFacts, bool)> {
        let is_tls = snapshot
            .plan
            .listeners
            .iter()
            .any(|plan| plan.id == *listener && plan.tls);
        let listener = listener.clone();
        if !is_tls {
            let facts = ConnectionFacts {
                listener,
                peer,
                local,
                tls: None,
            };
            return Some((ClientSocket::Plain(Box::new(stream)), facts, false));
        }
        let tls = snapshot.identity.listener_tls(&listener)?;
        match timeout(limits.handshake_timeout, tls::terminate(stream, &tls)).await {
            Ok(Ok(done)) => {
                let facts = ConnectionFacts {
                    listener,
                    peer,
                    local,
                    tls: Some(done.facts),
                };
                Some((ClientSocket::Tls(Box::new(done.stream)), facts, done.is_h2))
            }
            Ok(Err(fault)) => {
                self.metrics.handshake_failed(&listener, fault.cause());
                if fault.is_for_the_client_certificate() {
                    refusals::say(&listener, peer, &fault);
                }
                debug!(%peer, %listener, error = %fault, source = ?std::error::Error::source(&fault), "handshake refused");
                None
            }
            Err(_) => {
                self.metrics.handshake_failed(&listener, "timeout");
                None
            }
        }
    }
}

/// Both ends of a TCP connection.
fn addresses(stream: &L4Stream) -> Option<(SocketAddr, SocketAddr)> {
    let digest = stream.get_socket_digest()?;
    let peer = *digest.peer_addr()?.as_inet()?;
    let local = *digest.local_addr()?.as_inet()?;
    Some((peer, local))
}

#[async_trait]
impl ServerApp for Doors {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        self.serve(stream, shutdown.clone()).await;
        None
    }
}
