//! Connections kept for the next request, by address and by everything that was verified about it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use rustls_pki_types::ServerName;
use tokio::time::Instant;

use super::stream::SharedStream;
use crate::link::lock;

/// What two requests must have in common to share a connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PoolKey {
    /// The endpoint.
    pub(crate) address: SocketAddr,
    /// The generation of trust, our SVID and the expected identity; and the name. `None` in plaintext.
    pub(crate) tls: Option<(u64, ServerName<'static>)>,
}

/// Idle HTTP/1.1 connections of one key.
const MAX_IDLE_PER_KEY: usize = 64;
/// Idle HTTP/1.1 connections of all keys; beyond it connections are closed rather than kept.
const MAX_IDLE: usize = 4096;
/// How long a connection is kept without a request.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(30);
/// Streams of ours on one HTTP/2 connection, whatever the endpoint allows.
const MAX_STREAMS: usize = 100;

/// Every connection that is kept.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    h1: HashMap<PoolKey, Vec<IdleH1>>,
    h2: HashMap<PoolKey, Vec<Arc<H2Connection>>>,
    idle: usize,
}

#[derive(Debug)]
struct IdleH1 {
    stream: SharedStream,
    until: Instant,
}

/// An HTTP/2 connection that many requests share.
#[derive(Debug)]
pub(crate) struct H2Connection {
    sender: SendRequest<Bytes>,
    streams: AtomicUsize,
    is_closed: AtomicBool,
    idle_since: Mutex<Instant>,
}

/// A place on an HTTP/2 connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace(pub(crate) Arc<H2Connection>);

impl H2Connection {
    /// A connection after its handshake.
    pub(crate) fn new(sender: SendRequest<Bytes>) -> Self {
        Self {
            sender,
            streams: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        }
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
        let room = self.sender.current_max_send_streams().min(MAX_STREAMS);
        let taken = self
            .streams
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < room).then_some(open + 1)
            });
        taken.ok().map(|_| StreamPlace(Arc::clone(self)))
    }

    fn is_kept(&self, now: Instant) -> bool {
        if self.is_closed.load(Ordering::Acquire) {
            return false;
        }
        self.streams.load(Ordering::Acquire) > 0 || *lock(&self.idle_since) + IDLE_TIME >= now
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        *lock(&self.0.idle_since) = Instant::now();
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pool {
    /// An idle HTTP/1.1 connection that is still quiet.
    pub(crate) fn take_h1(&self, key: &PoolKey) -> Option<SharedStream> {
        loop {
            let idle = {
                let mut kept = lock(&self.kept);
                let idle = kept.h1.get_mut(key)?.pop()?;
                kept.idle = kept.idle.saturating_sub(1);
                idle
            };
            if idle.until > Instant::now() && idle.stream.is_quiet() {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps an HTTP/1.1 connection for at most `time`, while there is room.
    pub(crate) fn keep_h1(&self, key: &PoolKey, stream: SharedStream, time: Duration) {
        let until = Instant::now() + time.min(IDLE_TIME);
        let mut kept = lock(&self.kept);
        if kept.idle >= MAX_IDLE {
            return;
        }
        let idle = kept.h1.entry(key.clone()).or_default();
        if idle.len() < MAX_IDLE_PER_KEY {
            idle.push(IdleH1 { stream, until });
            kept.idle += 1;
        }
    }

    /// A place on an HTTP/2 connection.
    pub(crate) fn take_h2(&self, key: &PoolKey) -> Option<StreamPlace> {
        let kept = lock(&self.kept);
        kept.h2.get(key)?.iter().find_map(H2Connection::place)
    }

    /// Shares an HTTP/2 connection.
    pub(crate) fn keep_h2(&self, key: PoolKey, connection: Arc<H2Connection>) {
        let mut kept = lock(&self.kept);
        let shared = kept.h2.entry(key).or_default();
        shared.retain(|one| !one.is_closed.load(Ordering::Acquire));
        shared.push(connection);
    }

    /// Drops what was idle too long or closed meanwhile.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut kept = lock(&self.kept);
        kept.h1.retain(|_, idle| {
            idle.retain(|one| one.until > now && one.stream.is_quiet());
            !idle.is_empty()
        });
        kept.h2.retain(|_, shared| {
            shared.retain(|one| one.is_kept(now));
            !shared.is_empty()
        });
        kept.idle = kept.h1.values().map(Vec::len).sum();
    }

    /// Idle HTTP/1.1 connections and shared HTTP/2 ones.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let kept = lock(&self.kept);
        (kept.idle, kept.h2.values().map(Vec::len).sum())
    }
}
