//! Connections kept for the next request, by address and by everything that was verified about it.
//!
//! A request finds its [`Lane`] once, by hashing the address, and carries it: giving a connection back takes no
//! further look-up. A lane is a stack: what was used last is used next, so that a quiet time leaves the surplus
//! at the bottom, where [`Pool::sweep`] finds it expired.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use portcullis_identity::EndpointProof;
use portcullis_model::PoolId;
use prometheus::IntCounter;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::stream::{Calm, UpstreamStream};
use crate::lock;
use crate::metrics::Metrics;

/// What two requests must have in common to share a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolKey<'a> {
    /// The pool: its connections are counted under its name.
    pub(crate) pool: &'a PoolId,
    /// The endpoint.
    pub(crate) address: SocketAddr,
    /// The generation of trust, our SVID and the expected identity. `None` in plaintext.
    pub(crate) trust: Option<u64>,
    /// The DNS name of the endpoint, from which TLS takes the name to ask for.
    pub(crate) dns: Option<&'a Arc<str>>,
}

/// Idle HTTP/1.1 connections of one endpoint: the requests that 16 full HTTP/2 clients have under way, and as
/// many again.
const MAX_IDLE_PER_LANE: usize = 1024;
/// Idle HTTP/1.1 connections in all, within an ordinary descriptor limit; beyond it connections are closed.
const MAX_IDLE: usize = 8192;
/// How long a connection is kept without a request.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(30);
/// Streams of ours on one HTTP/2 connection, whatever the endpoint allows.
const MAX_STREAMS: usize = 100;

/// Every connection that is kept.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    lanes: RwLock<HashMap<SocketAddr, Vec<Arc<Lane>>>>,
    idle: Arc<AtomicUsize>,
}

/// The connections to one endpoint under one key.
#[derive(Debug)]
pub(crate) struct Lane {
    pool: PoolId,
    trust: Option<u64>,
    dns: Option<Arc<str>>,
    h1: Mutex<Vec<IdleH1>>,
    h2: Mutex<Vec<Arc<H2Connection>>>,
    /// Of all lanes together.
    idle: Arc<AtomicUsize>,
    reused: IntCounter,
    dialled: IntCounter,
    talked: IntCounter,
}

/// An HTTP/1.1 connection between two requests.
#[derive(Debug)]
pub(crate) struct IdleH1 {
    /// The connection.
    pub(crate) stream: UpstreamStream,
    /// How long the endpoint keeps it open without a request.
    pub(crate) patience: Duration,
    since: Instant,
}

impl IdleH1 {
    fn is_expired(&self, now: Instant) -> bool {
        let has_aged = self.stream.until().is_some_and(|until| until <= now);
        has_aged || now.duration_since(self.since) >= self.patience.min(IDLE_TIME)
    }
}

/// An HTTP/2 connection that many requests share.
#[derive(Debug)]
pub(crate) struct H2Connection {
    sender: SendRequest<Bytes>,
    /// What the endpoint showed, because h2 owns the stream now; `None` in plaintext.
    shown: Option<Shown>,
    streams: AtomicUsize,
    is_closed: AtomicBool,
    idle_since: Mutex<Instant>,
}

/// What an endpoint showed in the handshake of a connection that many requests share.
#[derive(Debug)]
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    until: Option<Instant>,
    trust: u64,
    dns: Option<Arc<str>>,
}

/// A place on an HTTP/2 connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace(pub(crate) Arc<H2Connection>);

impl H2Connection {
    /// A connection after its handshake.
    pub(crate) fn new(sender: SendRequest<Bytes>, shown: Option<Shown>) -> Self {
        Self {
            sender,
            shown,
            streams: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        }
    }

    /// What the endpoint proved; `None` in plaintext.
    pub(crate) fn proof(&self) -> Option<EndpointProof<'_>> {
        let shown = self.shown.as_ref()?;
        Some(EndpointProof {
            generation: shown.trust,
            chain: &shown.chain,
            until: shown.until.map(Instant::into_std),
            dns: shown.dns.as_deref(),
        })
    }

    /// A handle to send one request with.
    pub(crate) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// No further request may use it.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Takes a place when there is one.
    pub(crate) fn place(self: &Arc<Self>) -> Option<StreamPlace> {
        if self.is_closed.load(Ordering::Acquire) {
            return None;
        }
        if self.has_aged(Instant::now) {
            self.close();
            return None;
        }
        let room = self.sender.current_max_send_streams().min(MAX_STREAMS);
        let taken = self
            .streams
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < room).then_some(open + 1)
            });
        taken.ok().map(|_| StreamPlace(Arc::clone(self)))
    }

    /// True when a certificate that the endpoint showed has ended: a new handshake says whether that matters.
    fn has_aged(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.shown.as_ref().and_then(|shown| shown.until);
        until.is_some_and(|until| until <= now())
    }

    fn is_kept(&self, now: Instant) -> bool {
        if self.is_closed.load(Ordering::Acquire) || self.has_aged(|| now) {
            return false;
        }
        self.streams.load(Ordering::Acquire) > 0 || *lock(&self.idle_since) + IDLE_TIME >= now
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        if self.0.streams.load(Ordering::Acquire) == 1 {
            *lock(&self.0.idle_since) = Instant::now();
        }
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pool {
    /// The lane of this key; a new one when there was none.
    pub(crate) fn lane(&self, key: &PoolKey<'_>, metrics: &Metrics) -> Arc<Lane> {
        let find = |lanes: &Vec<Arc<Lane>>| lanes.iter().find(|lane| lane.is_for(key)).cloned();
        let known = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = known.get(&key.address).and_then(find) {
            return lane;
        }
        drop(known);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let lanes = lanes.entry(key.address).or_default();
        find(lanes).unwrap_or_else(|| {
            let lane = Arc::new(Lane::new(key, Arc::clone(&self.idle), metrics));
            lanes.push(Arc::clone(&lane));
            lane
        })
    }

    /// Drops what was idle too long or closed meanwhile, and lanes that nobody uses.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let lanes: Vec<_> = self.all();
        lanes.iter().for_each(|lane| lane.sweep(now));
        drop(lanes);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, lanes| {
            // Lanes are handed out under this lock only: the last handle is ours, and stays so.
            lanes.retain(|lane| Arc::strong_count(lane) > 1 || !lane.is_empty());
            !lanes.is_empty()
        });
    }

    /// Idle HTTP/1.1 connections and shared HTTP/2 ones.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let h2 = self.all().iter().map(|lane| lock(&lane.h2).len()).sum();
        (self.idle.load(Ordering::Relaxed), h2)
    }

    fn all(&self) -> Vec<Arc<Lane>> {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.values().flatten().cloned().collect()
    }
}

impl Lane {
    /// What an endpoint proved when this connection was made; `None` in plaintext.
    pub(crate) fn proof<'a>(&'a self, stream: &'a UpstreamStream) -> Option<EndpointProof<'a>> {
        Some(EndpointProof {
            generation: self.trust?,
            chain: stream.shown(),
            until: stream.until().map(Instant::into_std),
            dns: self.dns.as_deref(),
        })
    }

    /// The same to keep beside a connection of this lane.
    pub(crate) fn shown(&self, stream: &UpstreamStream) -> Option<Shown> {
        Some(Shown {
            chain: stream.shown().to_vec(),
            until: stream.until(),
            trust: self.trust?,
            dns: self.dns.clone(),
        })
    }

    fn new(key: &PoolKey<'_>, idle: Arc<AtomicUsize>, metrics: &Metrics) -> Self {
        Self {
            pool: key.pool.clone(),
            trust: key.trust,
            dns: key.dns.cloned(),
            h1: Mutex::default(),
            h2: Mutex::default(),
            idle,
            reused: metrics.reused_to(key.pool),
            dialled: metrics.dialled_to(key.pool),
            talked: metrics.out_of_turn_from(key.pool),
        }
    }

    fn is_for(&self, key: &PoolKey<'_>) -> bool {
        self.trust == key.trust && self.pool == *key.pool && self.dns.as_ref() == key.dns
    }

    fn is_empty(&self) -> bool {
        lock(&self.h1).is_empty() && lock(&self.h2).is_empty()
    }

    /// A request goes out on a connection that was kept.
    pub(crate) fn count_reused(&self) {
        self.reused.inc();
    }

    /// A request goes out on a new connection.
    pub(crate) fn count_dialled(&self) {
        self.dialled.inc();
    }

    /// The endpoint said more than it was asked: its connection was closed.
    pub(crate) fn count_talked(&self) {
        self.talked.inc();
    }

    /// An idle HTTP/1.1 connection that is still quiet.
    pub(crate) fn take_h1(&self) -> Option<IdleH1> {
        loop {
            let mut idle = lock(&self.h1).pop()?;
            self.idle.fetch_sub(1, Ordering::Relaxed);
            let now = Instant::now();
            if idle.is_expired(now) {
                continue;
            }
            let calm = match idle.stream.calm() {
                // What waits in the kernel would be taken for the answer to the next request.
                Calm::Quiet => idle.stream.calm_in_kernel(),
                calm => calm,
            };
            match calm {
                Calm::Quiet => return Some(idle),
                Calm::Closed => {}
                Calm::Talking => self.count_talked(),
            }
        }
    }

    /// Keeps an HTTP/1.1 connection while there is room and for as long as the endpoint does.
    pub(crate) fn keep_h1(&self, stream: UpstreamStream, patience: Duration) {
        if patience.is_zero() || self.idle.load(Ordering::Relaxed) >= MAX_IDLE {
            return;
        }
        let idle = IdleH1 {
            stream,
            patience,
            since: Instant::now(),
        };
        let mut kept = lock(&self.h1);
        if kept.len() < MAX_IDLE_PER_LANE {
            kept.push(idle);
            self.idle.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A place on an HTTP/2 connection.
    pub(crate) fn take_h2(&self) -> Option<StreamPlace> {
        lock(&self.h2).iter().find_map(H2Connection::place)
    }

    /// Shares an HTTP/2 connection.
    pub(crate) fn keep_h2(&self, connection: Arc<H2Connection>) {
        let mut shared = lock(&self.h2);
        shared.retain(|one| !one.is_closed.load(Ordering::Acquire));
        shared.push(connection);
    }

    fn sweep(&self, now: Instant) {
        let mut dropped = Vec::new();
        let mut kept = lock(&self.h1);
        for mut idle in std::mem::take(&mut *kept) {
            let calm = if idle.is_expired(now) {
                Calm::Closed
            } else {
                idle.stream.calm()
            };
            match calm {
                Calm::Quiet => {
                    kept.push(idle);
                    continue;
                }
                Calm::Closed => {}
                Calm::Talking => self.count_talked(),
            }
            dropped.push(idle);
        }
        drop(kept);
        self.idle.fetch_sub(dropped.len(), Ordering::Relaxed);
        // Closing costs a system call each, and is none of the requests' business that wait for the lock.
        drop(dropped);
        lock(&self.h2).retain(|one| one.is_kept(now));
    }
}
