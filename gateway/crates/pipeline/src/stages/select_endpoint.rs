//! `select_endpoint`: which endpoint gets the next attempt. Only an [`Admitted`] leads here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_identity::UpstreamTls;
use portcullis_model::{EndpointId, Origin, Reason, Rejection};
use portcullis_routing::plan::Protocol;
use portcullis_routing::pool::{SelectQuery, Selection};

use super::retry::Attempts;
use crate::snapshot::Action;
use crate::stages::admitted::Admitted;

/// Where an attempt goes, and how.
#[derive(Debug)]
pub struct Target {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The DNS name it was resolved from.
    pub dns: Option<Arc<str>>,
    /// TLS toward it; `None` in plaintext.
    pub tls: Option<Arc<UpstreamTls>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// For the connection with its handshake.
    pub connect_timeout: Duration,
    /// For the response head.
    pub first_byte_timeout: Duration,
    /// Between bytes after it.
    pub idle_timeout: Duration,
    /// Where the pool is written.
    pub origin: Origin,
    /// Why not the others: `endpoint or region CODE`.
    pub passed_over: Vec<String>,
}

impl Target {
    /// One sentence for `explain`.
    pub(crate) fn describe(&self) -> String {
        let scheme = if self.tls.is_some() { "TLS" } else { "plaintext" };
        let mut text = format!(
            "endpoint {} of pool \"{}\" in region {} over {scheme}",
            self.endpoint.address, self.endpoint.pool, self.endpoint.region
        );
        if !self.passed_over.is_empty() {
            text.push_str("; passed over: ");
            text.push_str(&self.passed_over.join(", "));
        }
        text
    }
}

/// What a selection draws on beside the ticket.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    pub(crate) roll: u64,
    pub(crate) now: Instant,
    pub(crate) assume_healthy: bool,
}

/// Picks an endpoint and takes a place in flight.
pub(crate) fn select_endpoint(
    admitted: &Admitted,
    attempts: &mut Attempts,
    draw: Draw,
) -> Result<Target, Rejection> {
    let Action::Forward { pool, tls, .. } = &admitted.route.action else {
        return Err(Rejection::new(Reason::Internal).with_private("a route without a pool has no endpoint"));
    };
    let selection = pool
        .select(&SelectQuery {
            allowed: &admitted.allowed,
            tried: attempts.tried(),
            reach: attempts.reach(),
            // Every attempt draws anew, from the same seed.
            roll: draw
                .roll
                .rotate_left(17 * (1 + attempts.tried().len() as u32 % 3)),
            now: draw.now,
            assume_healthy: draw.assume_healthy,
        })
        .map_err(|rejection| rejection.decided_by(&pool.plan().origin))?;
    refuse_outside_residency(admitted, &selection)?;
    let timeouts = admitted.route.plan.timeouts;
    let target = Target {
        endpoint: selection.endpoint.clone(),
        dns: selection.dns.clone(),
        tls: tls.clone(),
        protocol: pool.plan().protocol,
        connect_timeout: timeouts.connect,
        first_byte_timeout: timeouts.request,
        idle_timeout: timeouts.idle,
        origin: pool.plan().origin.clone(),
        passed_over: selection.why.iter().map(ToString::to_string).collect(),
    };
    attempts.started(selection);
    Ok(target)
}

/// The filter is `routing`'s; this is the second lock on the same door, and it must never be the one that holds.
fn refuse_outside_residency(admitted: &Admitted, selection: &Selection) -> Result<(), Rejection> {
    if admitted.allowed.contains(&selection.endpoint.region) {
        return Ok(());
    }
    let private = format!("{} lies outside the request's residency", selection.endpoint);
    Err(Rejection::new(Reason::ResidencyUnavailable).with_private(private))
}
