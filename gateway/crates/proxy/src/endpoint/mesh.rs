//! A way to an endpoint: a kept connection, or a new one that is verified before its first request.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::client::Builder;
use portcullis_routing::plan::Protocol;
use tokio::time::timeout;
use tracing::{debug, error};

use super::Upstream;
use super::attempt::AttemptFacts;
use super::dial::{Destination, DialFault, Offer, dial};
use super::h1::H1Exchange;
use super::h2::H2Exchange;
use super::pool::{H2Connection, IDLE_TIME, Lane, Pool, PoolKey, StreamPlace};
use super::stream::UpstreamStream;
use crate::metrics::Metrics;

/// Receive window of one answer: how much of it is held for a client that is slower than the endpoint.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Receive window of a connection.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Decoded size of a response head.
const MAX_HEAD: u32 = 64 * 1024;

/// Every connection to every endpoint; cheap to clone.
#[derive(Clone)]
pub(crate) struct Mesh {
    pool: Arc<Pool>,
    metrics: Arc<Metrics>,
}

impl Mesh {
    /// Without any connection yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            pool: Arc::default(),
            metrics,
        }
    }

    /// Drops what was idle too long.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
        let (h1, h2) = self.pool.counts();
        self.metrics.kept(h1, h2);
    }

    /// An exchange on a kept connection to the attempt's endpoint, when there is one.
    pub(crate) fn take(&self, attempt: &AttemptFacts) -> Option<Upstream> {
        take(&self.lane_of(attempt), offer_for(attempt))
    }

    /// An exchange on a kept or new connection to the attempt's endpoint.
    ///
    /// # Errors
    /// When there is no connection; nothing of the request has left then.
    pub(crate) async fn open(&self, attempt: &AttemptFacts) -> Result<Upstream, DialFault> {
        let lane = self.lane_of(attempt);
        let offer = offer_for(attempt);
        if let Some(kept) = take(&lane, offer) {
            return Ok(kept);
        }
        // A dial is rare and its future is big: apart, so that a request does not carry it.
        Box::pin(connect(attempt, offer, lane)).await.inspect_err(|fault| {
            let endpoint = &attempt.target.endpoint;
            debug!(%endpoint, error = %fault, source = ?std::error::Error::source(fault), "no connection");
            self.metrics.dial_failed(&endpoint.pool, fault.cause());
            self.tell_of_lack(fault);
        })
    }

    /// What the gateway itself lacks fails every pool alike: one line a second says it, whatever is asked for.
    fn tell_of_lack(&self, fault: &DialFault) {
        let Some(advice) = fault.advice() else {
            return;
        };
        if let Some(unsaid) = self.metrics.lacks().take() {
            let cause = std::error::Error::source(fault).map(ToString::to_string);
            error!(
                cause,
                unsaid, "no connection to an endpoint, for a lack of the gateway's own: {advice}"
            );
        }
    }

    fn lane_of(&self, attempt: &AttemptFacts) -> Arc<Lane> {
        self.pool.lane(&key_of(attempt), &self.metrics)
    }
}

fn take(lane: &Arc<Lane>, offer: Offer) -> Option<Upstream> {
    if offer != Offer::H1 {
        while let Some(place) = lane.take_h2() {
            if let Some(exchange) = open_stream(place) {
                lane.count_reused();
                return Some(Upstream::H2(exchange));
            }
        }
    }
    if offer == Offer::H2 {
        return None;
    }
    let idle = lane.take_h1()?;
    lane.count_reused();
    let exchange = H1Exchange::on_lane(idle.stream, Arc::clone(lane), idle.patience);
    Some(Upstream::H1(exchange))
}

async fn connect(attempt: &AttemptFacts, offer: Offer, lane: Arc<Lane>) -> Result<Upstream, DialFault> {
    let target = &attempt.target;
    let to = Destination {
        address: target.endpoint.address,
        dns: target.dns.as_deref(),
        tls: target.tls.as_ref(),
    };
    let (stream, is_h2) = dial(&to, offer, target.connect_timeout).await?;
    lane.count_dialled();
    if !is_h2 {
        return Ok(Upstream::H1(H1Exchange::on_lane(stream, lane, IDLE_TIME)));
    }
    let connection = start_h2(stream, &lane, target.connect_timeout).await?;
    let place = connection.place().ok_or(DialFault::Protocol)?;
    lane.keep_h2(connection);
    open_stream(place).map(Upstream::H2).ok_or(DialFault::Protocol)
}

/// What two requests must have in common to share a connection to this endpoint. TLS asks for a name that follows
/// from the generation, the DNS name and the address, so these stand for it.
fn key_of(attempt: &AttemptFacts) -> PoolKey<'_> {
    let target = &attempt.target;
    PoolKey {
        pool: &target.endpoint.pool,
        address: target.endpoint.address,
        trust: target.tls.as_ref().map(|tls| tls.generation_key()),
        dns: target.dns.as_ref().filter(|_| target.tls.is_some()),
    }
}

/// HTTP/1.1 clients get HTTP/1.1 and HTTP/2 clients HTTP/2 as far as the endpoint lets them.
const fn offer_for(attempt: &AttemptFacts) -> Offer {
    let target = &attempt.target;
    match target.protocol {
        Protocol::H1 => Offer::H1,
        Protocol::Auto | Protocol::H2 if attempt.is_upgrade => Offer::H1,
        Protocol::H2 => Offer::H2,
        Protocol::Auto if target.tls.is_some() && attempt.is_h2_client => Offer::Either,
        Protocol::Auto => Offer::H1,
    }
}

/// The HTTP/2 handshake; the connection then lives in a task of its own until nobody holds it.
async fn start_h2(
    stream: UpstreamStream,
    lane: &Lane,
    limit: Duration,
) -> Result<Arc<H2Connection>, DialFault> {
    let shown = lane.shown(&stream);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD);
    let handshake = timeout(limit, builder.handshake::<_, bytes::Bytes>(stream)).await;
    let (sender, connection) = handshake
        .map_err(|_| DialFault::Late)?
        .map_err(|_| DialFault::Protocol)?;
    let shared = Arc::new(H2Connection::new(sender, shown));
    let driven = Arc::downgrade(&shared);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "connection to an endpoint ended");
        }
        if let Some(shared) = driven.upgrade() {
            shared.close();
        }
    });
    Ok(shared)
}

/// A stream on a shared connection; `None` when the connection turned out to be closed.
fn open_stream(place: StreamPlace) -> Option<H2Exchange> {
    let mut sender = place.0.sender();
    // A fresh handle has nothing to wait for: it is ready, or the connection is over.
    match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Some(H2Exchange::new(sender, place)),
        Poll::Ready(Err(_)) | Poll::Pending => {
            place.0.close();
            None
        }
    }
}
