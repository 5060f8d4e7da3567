//! What the parts of one request's journey through Pingora tell each other: the connection loop, the callbacks and
//! the upstream session.
//!
//! Pingora makes a request's context without arguments and hands our connector nothing but its own peer type, so the
//! link travels as a task-local around each request; connection and request live in one task.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::ConnectionFacts;
use portcullis_pipeline::plan::ConnectionLimits;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::upstream::Attempt;

tokio::task_local! {
    /// The link of the request that runs in this task.
    static LINK: Arc<RequestLink>;
}

/// Runs a request with its link in reach.
pub(crate) async fn scoped<F: Future>(link: Arc<RequestLink>, request: F) -> F::Output {
    LINK.scope(link, request).await
}

/// The link of the request that runs in this task.
pub(crate) fn current() -> Option<Arc<RequestLink>> {
    LINK.try_with(Arc::clone).ok()
}

/// One client connection.
pub(crate) struct Connection {
    /// What is known of it.
    pub(crate) facts: Arc<ConnectionFacts>,
    /// Its bounds.
    pub(crate) limits: ConnectionLimits,
    drain: watch::Receiver<bool>,
    opened: Instant,
    requests: AtomicU32,
}

impl Connection {
    /// A connection whose handshake is over.
    pub(crate) fn new(
        facts: Arc<ConnectionFacts>,
        limits: ConnectionLimits,
        drain: watch::Receiver<bool>,
    ) -> Self {
        Self {
            facts,
            limits,
            drain,
            opened: Instant::now(),
            requests: AtomicU32::new(0),
        }
    }

    /// Counts one more request.
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// True when no further request should come: draining, too old, or its share of requests is used.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_draining()
            || self.requests() >= self.limits.requests_per_connection
            || self.opened.elapsed() >= self.limits.connection_age
    }

    /// True when the gateway is going.
    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// When it is too old.
    pub(crate) fn end_of_age(&self) -> Instant {
        self.opened + self.limits.connection_age
    }

    /// Waits until the gateway is going.
    pub(crate) async fn drained(&self) {
        let mut drain = self.drain.clone();
        if drain.wait_for(|is_draining| *is_draining).await.is_err() {
            // The sender is gone with the whole proxy; there is nothing left to wait for.
            std::future::pending::<()>().await;
        }
    }
}

/// One request.
pub(crate) struct RequestLink {
    /// Its connection.
    pub(crate) connection: Arc<Connection>,
    is_begun: AtomicBool,
    is_answered: AtomicBool,
    is_tunnel: AtomicBool,
    is_tunnel_over: AtomicBool,
    tunnel_reader: Mutex<Option<Waker>>,
    refusal: Mutex<Option<Rejection>>,
    attempt: Mutex<Option<Arc<Attempt>>>,
    aborted: Notify,
    body: BodyMeter,
}

impl RequestLink {
    /// The link of a request whose head has arrived.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        let patience = connection.limits.header_timeout;
        let rate = connection.limits.body_rate;
        Self {
            connection,
            is_begun: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            is_tunnel: AtomicBool::new(false),
            is_tunnel_over: AtomicBool::new(false),
            tunnel_reader: Mutex::new(None),
            refusal: Mutex::new(None),
            attempt: Mutex::new(None),
            aborted: Notify::new(),
            body: BodyMeter::new(patience, rate),
        }
    }

    /// The callbacks have taken the request: from now on what Pingora writes is ours.
    pub(crate) fn begin(&self) {
        self.is_begun.store(true, Ordering::Release);
    }

    /// True once the callbacks have taken the request.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Acquire)
    }

    /// A whole answer was written although Pingora calls the request failed: the connection may go on.
    pub(crate) fn set_answered(&self) {
        self.is_answered.store(true, Ordering::Release);
    }

    /// True when a whole answer of ours was written.
    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Acquire)
    }

    /// The endpoint switched protocols.
    pub(crate) fn open_tunnel(&self) {
        self.is_tunnel.store(true, Ordering::Release);
    }

    /// True after a switch of protocols.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Ordering::Acquire)
    }

    /// The endpoint left the tunnel: whoever reads from the client is told that nothing more will come.
    pub(crate) fn close_tunnel(&self) {
        self.is_tunnel_over.store(true, Ordering::Release);
        if let Some(reader) = lock(&self.tunnel_reader).take() {
            reader.wake();
        }
    }

    /// True once the endpoint left the tunnel; until then the reader is woken when it does.
    pub(crate) fn is_tunnel_over(&self, context: &Context<'_>) -> bool {
        if !self.is_tunnel() {
            return false;
        }
        *lock(&self.tunnel_reader) = Some(context.waker().clone());
        self.is_tunnel_over.load(Ordering::Acquire)
    }

    /// Remembers why the request ends, unless that is known already.
    pub(crate) fn refuse(&self, rejection: Rejection) {
        lock(&self.refusal).get_or_insert(rejection);
    }

    /// Why the request ends.
    pub(crate) fn refusal(&self) -> Option<Rejection> {
        lock(&self.refusal).clone()
    }

    /// Remembers why the request ends and wakes the upstream session, so that it ends now.
    pub(crate) fn abort(&self, rejection: Rejection) {
        self.refuse(rejection);
        self.aborted.notify_one();
    }

    /// Starts an attempt.
    pub(crate) fn start_attempt(&self, attempt: Arc<Attempt>) {
        *lock(&self.attempt) = Some(attempt);
    }

    /// The attempt under way.
    pub(crate) fn attempt(&self) -> Option<Arc<Attempt>> {
        lock(&self.attempt).clone()
    }

    /// The meter of the request's body.
    pub(crate) const fn body(&self) -> &BodyMeter {
        &self.body
    }

    /// Waits until the request has to end by itself: aborted by a callback, or its body is too slow.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            // The permit is kept for whoever waits next: the end stays the end.
            () = self.aborted.notified() => self.aborted.notify_one(),
            () = self.body.overdue() => self.refuse(Rejection::new(Reason::BodyTimeout)),
        }
    }
}

/// The least average rate of a request body, counting only the time in which the client is waited for.
pub(crate) struct BodyMeter {
    patience: Duration,
    rate: u64,
    started: Mutex<Option<Instant>>,
    bytes: AtomicU64,
    paused_micros: AtomicU64,
    is_paused: AtomicBool,
    is_over: AtomicBool,
}

/// How long a look at the meter may be off while the endpoint, not the client, is waited for.
const PAUSED_LOOK: Duration = Duration::from_millis(500);

impl BodyMeter {
    fn new(patience: Duration, rate: u64) -> Self {
        Self {
            patience,
            rate: rate.max(1),
            started: Mutex::new(None),
            bytes: AtomicU64::new(0),
            paused_micros: AtomicU64::new(0),
            is_paused: AtomicBool::new(false),
            is_over: AtomicBool::new(true),
        }
    }

    /// The client is expected to send a body from now on.
    pub(crate) fn start(&self) {
        lock(&self.started).get_or_insert_with(Instant::now);
        self.is_over.store(false, Ordering::Release);
    }

    /// Bytes of the body arrived.
    pub(crate) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that arrived.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The whole body arrived.
    pub(crate) fn finish(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Runs what is not the client's to hurry.
    pub(crate) async fn paused<F: Future>(&self, work: F) -> F::Output {
        let since = Instant::now();
        self.is_paused.store(true, Ordering::Release);
        let output = work.await;
        self.is_paused.store(false, Ordering::Release);
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.paused_micros.fetch_add(micros, Ordering::Relaxed);
        output
    }

    /// When the body is too slow if no more of it arrives; `None`: it need not be waited for.
    fn due(&self) -> Option<Instant> {
        if self.is_over.load(Ordering::Acquire) {
            return None;
        }
        let started = (*lock(&self.started))?;
        let earned = Duration::from_micros(self.bytes().saturating_mul(1_000_000) / self.rate);
        let paused = Duration::from_micros(self.paused_micros.load(Ordering::Relaxed));
        started
            .checked_add(self.patience)?
            .checked_add(earned)?
            .checked_add(paused)
    }

    /// Waits until the body is too slow; forever when it need not be waited for.
    pub(crate) async fn overdue(&self) {
        while let Some(due) = self.due() {
            let now = Instant::now();
            if self.is_paused.load(Ordering::Acquire) {
                tokio::time::sleep_until(due.max(now + PAUSED_LOOK)).await;
            } else if due <= now {
                return;
            } else {
                tokio::time::sleep_until(due).await;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// A lock whose data is whole at every moment: a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
