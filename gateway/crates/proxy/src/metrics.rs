//! What the door counts.

use portcullis_model::{ListenerId, PoolId, Reason};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::client::h2::notices::Notices;

/// Open client connections, by listener.
pub const CONNECTIONS: &str = "portcullis_connections";
/// Accepted client connections, by listener.
pub const CONNECTIONS_ACCEPTED: &str = "portcullis_connections_accepted_total";
/// Client connections refused before their handshake, by listener and bound.
pub const CONNECTIONS_REFUSED: &str = "portcullis_connections_refused_total";
/// Handshakes that failed, by listener and cause.
pub const HANDSHAKES_FAILED: &str = "portcullis_handshakes_failed_total";
/// Connections to endpoints, by pool and whether they were new, reused or failed.
pub const ENDPOINT_CONNECTIONS: &str = "portcullis_endpoint_connections_total";
/// Failed connections to endpoints, by pool and cause.
pub const ENDPOINT_CONNECTIONS_FAILED: &str = "portcullis_endpoint_connections_failed_total";
/// Connections to endpoints that are kept, by protocol.
pub const ENDPOINT_CONNECTIONS_KEPT: &str = "portcullis_endpoint_connections_kept";
/// HTTP/2 connections that the gateway ended by an error, by cause.
pub const H2_CONNECTIONS_ENDED: &str = "portcullis_h2_connections_ended_total";
/// HTTP/2 streams that ended before a request of theirs was served, by cause.
pub const H2_STREAMS_ENDED: &str = "portcullis_h2_streams_ended_total";

/// Requests under way that live long enough to be judged again.
pub const LEASES_LIVE: &str = "portcullis_leases_live";
/// Requests that were ended under way because what they rested on ended, by reason.
pub const LEASES_ENDED: &str = "portcullis_leases_ended_total";

/// The door's metrics.
pub struct Metrics {
    open: IntGaugeVec,
    accepted: IntCounterVec,
    refused: IntCounterVec,
    handshakes_failed: IntCounterVec,
    endpoint: IntCounterVec,
    endpoint_failed: IntCounterVec,
    kept: IntGaugeVec,
    h2_connections: IntCounterVec,
    h2_streams: IntCounterVec,
    leases: IntGauge,
    leases_ended: IntCounterVec,
    notices: Notices,
    lacks: Notices,
}

/// An open connection; counted until dropped.
pub(crate) struct OpenConnection(IntGauge);

/// A request that lives long; counted until dropped.
pub(crate) struct LiveLease(IntGauge);

impl Drop for LiveLease {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Fresh metrics, registered.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let leases = IntGauge::new(LEASES_LIVE, "Requests that live long enough to be judged again.")?;
        registry.register(Box::new(leases.clone()))?;
        Ok(Self {
            open: gauge(CONNECTIONS, "Open client connections.", &["listener"])?,
            accepted: counter(
                CONNECTIONS_ACCEPTED,
                "Accepted client connections.",
                &["listener"],
            )?,
            refused: counter(
                CONNECTIONS_REFUSED,
                "Client connections beyond a bound.",
                &["listener", "bound"],
            )?,
            handshakes_failed: counter(
                HANDSHAKES_FAILED,
                "TLS handshakes that failed.",
                &["listener", "cause"],
            )?,
            endpoint: counter(
                ENDPOINT_CONNECTIONS,
                "Connections used for attempts.",
                &["pool", "origin"],
            )?,
            endpoint_failed: counter(
                ENDPOINT_CONNECTIONS_FAILED,
                "Failed connections.",
                &["pool", "cause"],
            )?,
            kept: gauge(
                ENDPOINT_CONNECTIONS_KEPT,
                "Kept connections to endpoints.",
                &["protocol"],
            )?,
            h2_connections: counter(
                H2_CONNECTIONS_ENDED,
                "HTTP/2 connections that the gateway ended by an error.",
                &["cause"],
            )?,
            h2_streams: counter(
                H2_STREAMS_ENDED,
                "HTTP/2 streams that ended before their request was served.",
                &["cause"],
            )?,
            leases,
            leases_ended: counter(
                LEASES_ENDED,
                "Requests ended under way because what they rested on ended.",
                &["reason"],
            )?,
            notices: Notices::default(),
            lacks: Notices::default(),
        })
    }

    pub(crate) fn connection_opened(&self, listener: &ListenerId) -> OpenConnection {
        self.accepted.with_label_values(&[listener.as_str()]).inc();
        let open = self.open.with_label_values(&[listener.as_str()]);
        open.inc();
        OpenConnection(open)
    }

    pub(crate) fn connection_refused(&self, listener: &ListenerId, bound: &str) {
        self.refused.with_label_values(&[listener.as_str(), bound]).inc();
    }

    pub(crate) fn handshake_failed(&self, listener: &ListenerId, cause: &str) {
        self.handshakes_failed
            .with_label_values(&[listener.as_str(), cause])
            .inc();
    }

    pub(crate) fn lease_lives(&self) -> LiveLease {
        self.leases.inc();
        LiveLease(self.leases.clone())
    }

    pub(crate) fn lease_ended(&self, reason: Reason) {
        self.leases_ended.with_label_values(&[reason.code()]).inc();
    }

    pub(crate) fn h2_connection_ended(&self, cause: &str) {
        self.h2_connections.with_label_values(&[cause]).inc();
    }

    pub(crate) fn h2_stream_ended(&self, cause: &str) {
        self.h2_streams.with_label_values(&[cause]).inc();
    }

    /// Who may write a line to the log about an ended connection.
    pub(crate) const fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Who may write a line to the log about what the gateway lacks to make connections with.
    pub(crate) const fn lacks(&self) -> &Notices {
        &self.lacks
    }

    /// The counter of new connections to a pool.
    pub(crate) fn dialled_to(&self, pool: &PoolId) -> IntCounter {
        self.endpoint.with_label_values(&[pool.as_str(), "new"])
    }

    /// The counter of requests on kept connections to a pool.
    pub(crate) fn reused_to(&self, pool: &PoolId) -> IntCounter {
        self.endpoint.with_label_values(&[pool.as_str(), "reused"])
    }

    /// The counter of connections on which an endpoint of a pool said more than it was asked.
    pub(crate) fn out_of_turn_from(&self, pool: &PoolId) -> IntCounter {
        self.endpoint_failed
            .with_label_values(&[pool.as_str(), "out-of-turn"])
    }

    pub(crate) fn dial_failed(&self, pool: &PoolId, cause: &str) {
        self.endpoint_failed
            .with_label_values(&[pool.as_str(), cause])
            .inc();
    }

    pub(crate) fn kept(&self, h1: usize, h2: usize) {
        self.kept
            .with_label_values(&["h1"])
            .set(i64::try_from(h1).unwrap_or(i64::MAX));
        self.kept
            .with_label_values(&["h2"])
            .set(i64::try_from(h2).unwrap_or(i64::MAX));
    }
}
