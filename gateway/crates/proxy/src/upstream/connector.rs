//! Pingora's custom connector: a kept connection, or a new one that is verified before its first request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use h2::client::Builder;
use pingora_core::connectors::http::custom::{Connection, Connector};
use pingora_core::upstreams::peer::Peer;
use pingora_error::{Error, ErrorType, Result};
use portcullis_routing::attempt::Outcome;
use portcullis_routing::plan::Protocol;
use tokio::time::timeout;
use tracing::debug;

use super::attempt::Attempt;
use super::dial::{Destination, DialFault, Offer, dial};
use super::h1::H1Exchange;
use super::h2::H2Exchange;
use super::pool::{H2Connection, Pool, PoolKey, StreamPlace};
use super::session::{Exchange, UpstreamSession};
use super::stream::{SharedStream, UpstreamStream};
use crate::link::{self, RequestLink};
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

    async fn connect(&self, attempt: &Attempt) -> std::result::Result<(Exchange, PoolKey, bool), DialFault> {
        let target = &attempt.facts.target;
        let to = Destination {
            address: target.endpoint.address,
            dns: target.dns.as_deref(),
            tls: target.tls.as_ref(),
        };
        let key = key_of(&to);
        let offer = offer_for(attempt);
        if offer != Offer::H1 {
            while let Some(place) = self.pool.take_h2(&key) {
                if let Some(exchange) = open_stream(place, target.connect_timeout).await {
                    self.metrics.reused(&target.endpoint.pool);
                    return Ok((exchange, key, true));
                }
            }
        }
        if offer != Offer::H2
            && let Some(stream) = self.pool.take_h1(&key)
        {
            self.metrics.reused(&target.endpoint.pool);
            return Ok((Exchange::H1(Box::new(H1Exchange::new(stream))), key, true));
        }
        let (stream, is_h2) = dial(&to, offer, target.connect_timeout).await?;
        self.metrics.dialled(&target.endpoint.pool);
        if !is_h2 {
            return Ok((
                Exchange::H1(Box::new(H1Exchange::new(SharedStream::new(stream)))),
                key,
                false,
            ));
        }
        let connection = start_h2(stream, target.connect_timeout).await?;
        self.pool.keep_h2(key.clone(), Arc::clone(&connection));
        let place = connection.place().ok_or(DialFault::Protocol)?;
        let exchange = open_stream(place, target.connect_timeout)
            .await
            .ok_or(DialFault::Protocol)?;
        Ok((exchange, key, false))
    }
}

/// What two requests must have in common to share a connection to this endpoint.
fn key_of(to: &Destination<'_>) -> PoolKey {
    let tls = to
        .tls
        .map(|tls| (tls.generation_key(), tls.server_name(to.dns, to.address)));
    PoolKey {
        address: to.address,
        tls,
    }
}

/// HTTP/1.1 clients get HTTP/1.1 and HTTP/2 clients HTTP/2 as far as the endpoint lets them.
fn offer_for(attempt: &Attempt) -> Offer {
    let facts = &attempt.facts;
    match facts.target.protocol {
        Protocol::H1 => Offer::H1,
        Protocol::Auto | Protocol::H2 if facts.is_upgrade => Offer::H1,
        Protocol::H2 => Offer::H2,
        Protocol::Auto if facts.target.tls.is_some() && facts.is_h2_client => Offer::Either,
        Protocol::Auto => Offer::H1,
    }
}

/// The HTTP/2 handshake; the connection then lives in a task of its own until nobody holds it.
async fn start_h2(
    stream: UpstreamStream,
    limit: Duration,
) -> std::result::Result<Arc<H2Connection>, DialFault> {
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
    let shared = Arc::new(H2Connection::new(sender));
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
async fn open_stream(place: StreamPlace, limit: Duration) -> Option<Exchange> {
    match timeout(limit, place.0.sender().ready()).await {
        Ok(Ok(sender)) => Some(Exchange::H2(Box::new(H2Exchange::new(sender, place)))),
        Ok(Err(_)) | Err(_) => {
            place.0.close();
            None
        }
    }
}

/// The request that runs in this task.
fn request() -> Result<(Arc<RequestLink>, Arc<Attempt>)> {
    let link = link::current();
    let attempt = link.as_ref().and_then(|link| link.attempt());
    link.zip(attempt)
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "no attempt is under way"))
}

#[async_trait]
impl Connector for Mesh {
    type Session = UpstreamSession;

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        _: &P,
    ) -> Result<(Connection<Self::Session>, bool)> {
        let (link, attempt) = request()?;
        match self.connect(&attempt).await {
            Ok((exchange, key, is_reused)) => Ok((
                Connection::Session(UpstreamSession::new(exchange, key, link, attempt)),
                is_reused,
            )),
            Err(fault) => {
                let endpoint = &attempt.facts.target.endpoint;
                debug!(%endpoint, error = %fault, source = ?std::error::Error::source(&fault), "no connection");
                self.metrics
                    .dial_failed(&endpoint.pool, Outcome::Transport(fault.kind()).as_str());
                attempt.fail_transport(fault.kind());
                Err(Error::because(
                    ErrorType::ConnectError,
                    "no connection to the endpoint",
                    fault,
                ))
            }
        }
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, _: &P) -> Option<Self::Session> {
        // Kept connections are looked for together with new ones.
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        session: Self::Session,
        _: &P,
        _: Option<Duration>,
    ) {
        let UpstreamSession { exchange, key, .. } = session;
        if let Exchange::H1(exchange) = exchange
            && let Some((stream, time)) = exchange.into_idle().await
        {
            self.pool.keep_h1(&key, stream, time);
        }
    }
}
