//! The lease of a request under way, as its relay sees to it: when it has to be judged again, and by whom that is told.
//!
//! Most requests are over before any of this begins: one comparison at each wake-up is all they pay. One that lives
//! longer than [`SHORT`] listens to the pulse from then on; while nothing beats and its proof holds, it costs nothing.

use std::task::Context;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis_identity::EndpointProof;
use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::Exchange;
use tokio::time::Instant;

use crate::endpoint::Upstream;
use crate::metrics::{LiveLease, Metrics};

mod beats;

use beats::Beats;

/// How long a request lives before it listens to the pulse.
const SHORT: Duration = Duration::from_millis(500);
/// By how much the judgements after a beat are spread for each that listens: several times what one costs, so that
/// requests have the rest of the time.
const EACH: Duration = Duration::from_micros(50);
/// The longest that a judgement waits for its turn: of the two seconds in which a revocation is promised to bite, a
/// watched file is noticed in half of one, and the rest is for a machine that is busy.
const SPREAD: Duration = Duration::from_millis(500);

/// Between two judgements of one request, however fast the pulse beats.
const REST: Duration = Duration::from_millis(100);
/// Before a policy that gave no answer is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// The lease of one request.
pub(crate) struct Lease<'m> {
    metrics: &'m Metrics,
    /// When it has to be looked at; `None` when only a beat can be the reason.
    due: Option<Instant>,
    live: Option<Box<Live>>,
}

/// What a request that lives long holds.
struct Live {
    beats: Beats,
    /// The generation under which the proof of this attempt's endpoint was accepted last, when it was asked about
    /// again.
    accepted: Option<u64>,
    /// Not judged again before this.
    rests_until: Instant,
    _counted: LiveLease,
}

impl<'m> Lease<'m> {
    /// The lease of a request that was not admitted yet.
    pub(crate) const fn new(metrics: &'m Metrics) -> Self {
        Self {
            metrics,
            due: None,
            live: None,
        }
    }

    /// The request was admitted.
    pub(crate) fn begin(&mut self, exchange: &Exchange) {
        let listens = Instant::from_std(exchange.begun()) + SHORT;
        self.due = Some(end_of_proof(exchange).map_or(listens, |end| end.min(listens)));
    }

    /// When the task has to be woken for it.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Before an attempt begins: what was found out since the request was admitted counts, and what another endpoint
    /// proved does not.
    pub(crate) fn check(&mut self, exchange: &mut Exchange, now: Instant) -> Result<(), Rejection> {
        if let Some(live) = &mut self.live {
            live.accepted = None;
        }
        if (self.live.is_some() || self.is_due(now)) && self.is_news(exchange, now) {
            return self.judge((exchange, None), now);
        }
        Ok(())
    }

    /// Before anything is sent on a connection: the attempt goes by the configuration that the request began with, and
    /// another one that has judged the request since has a say about its endpoint too.
    pub(crate) fn check_endpoint(
        &self,
        exchange: &mut Exchange,
        upstream: &Upstream,
    ) -> Result<(), Rejection> {
        let Some(proof) = upstream.proof().filter(|_| exchange.is_renewed()) else {
            return Ok(());
        };
        let verdict = exchange.judge_endpoint(&proof);
        if let Err(rejection) = &verdict {
            self.metrics.lease_ended(rejection.reason);
        }
        verdict.map(drop)
    }

    /// At every wake-up: judges when that is due.
    pub(crate) fn poll(
        &mut self,
        (exchange, upstream): (&mut Exchange, &Upstream),
        now: Instant,
        context: &mut Context<'_>,
    ) -> Result<(), Rejection> {
        if self.live.is_none() && !self.is_due(now) {
            return Ok(());
        }
        let metrics = self.metrics;
        let live = self
            .live
            .get_or_insert_with(|| Box::new(Live::listen(exchange, metrics, now)));
        if live.beats.have_come(exchange.pulse(), context) {
            let turn = (now + turn(exchange)).max(live.rests_until);
            self.due = Some(self.due.map_or(turn, |due| due.min(turn)));
        }
        if !self.is_due(now) {
            return Ok(());
        }
        if self.is_news(exchange, now) {
            return self.judge((exchange, Some(upstream)), now);
        }
        self.due = next_end(exchange, now);
        Ok(())
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// True when there is anything to judge.
    fn is_news(&self, exchange: &Exchange, now: Instant) -> bool {
        exchange.beats() != exchange.pulse().count() || end_of_proof(exchange).is_some_and(|end| end <= now)
    }

    fn judge(
        &mut self,
        (exchange, upstream): (&mut Exchange, Option<&Upstream>),
        now: Instant,
    ) -> Result<(), Rejection> {
        let mut verdict = exchange.judge_lease();
        if let (Ok(()), Some(live), Some(upstream)) = (&verdict, &mut self.live, upstream) {
            verdict = live.judge_endpoint(exchange, upstream);
        }
        if let Some(live) = &mut self.live {
            live.rests_until = now + REST;
        }
        self.due = next_end(exchange, now);
        if exchange.beats() != exchange.pulse().count() {
            // Unanswered, or it has beaten again meanwhile.
            let again = now + AGAIN;
            self.due = Some(self.due.map_or(again, |due| due.min(again)));
        }
        if let Err(rejection) = &verdict {
            self.metrics.lease_ended(rejection.reason);
        }
        verdict
    }
}

impl Live {
    fn listen(exchange: &Exchange, metrics: &Metrics, now: Instant) -> Self {
        Self {
            accepted: None,
            rests_until: now,
            beats: Beats::of(exchange.pulse()),
            _counted: metrics.lease_lives(),
        }
    }

    /// Whoever goes on talking to an endpoint relies on what it proved.
    fn judge_endpoint(&mut self, exchange: &mut Exchange, upstream: &Upstream) -> Result<(), Rejection> {
        let Some(proof) = upstream.proof() else {
            return Ok(());
        };
        let proof = EndpointProof {
            generation: self.accepted.unwrap_or(proof.generation),
            ..proof
        };
        self.accepted = Some(exchange.judge_endpoint(&proof)?);
        Ok(())
    }
}

/// How long this exchange waits with its judgement: all who listen are spread over as much time as they need.
fn turn(exchange: &Exchange) -> Duration {
    let listeners = u32::try_from(exchange.pulse().listeners()).unwrap_or(u32::MAX);
    let spread = EACH.saturating_mul(listeners).min(SPREAD);
    let draw = u32::try_from(exchange.random() % 1024).unwrap_or_default();
    spread * draw / 1024
}

/// An end that has passed and did not count, as of a certificate that nobody asks for any more, is none to wait for.
fn next_end(exchange: &Exchange, now: Instant) -> Option<Instant> {
    end_of_proof(exchange).filter(|end| *end > now)
}

fn end_of_proof(exchange: &Exchange) -> Option<Instant> {
    exchange.end_of_proof().map(Instant::from_std)
}

/// The status of a close frame (RFC 6455 section 7.4.1): 1008 when whoever asks may not, and asking again is of no use
/// as it is; 1012 when the gateway changed, and asking again shows where this is served now.
pub(crate) fn close_status(reason: Reason) -> u16 {
    match reason.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => 1008,
        _ => 1012,
    }
}

/// True for a request whose answer may end with a status of gRPC.
pub(crate) fn is_grpc(head: &HeaderMap) -> bool {
    let media = head
        .get(http::header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    match media.strip_prefix(b"application/grpc") {
        // gRPC-Web says its trailers in the body.
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

/// The trailers that end a gRPC stream.
pub(crate) fn grpc_trailers(reason: Reason) -> HeaderMap {
    let status = match reason.status() {
        StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN => "7",
        // UNAVAILABLE: may be tried again.
        _ => "14",
    };
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("grpc-message", HeaderValue::from_static(reason.title()));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_is_told_so_and_who_may_elsewhere_is_told_to_come_again() {
        assert_eq!(close_status(Reason::TokenExpired), 1008);
        assert_eq!(close_status(Reason::CertificateRevoked), 1008);
        assert_eq!(close_status(Reason::PolicyDenied), 1008);
        assert_eq!(close_status(Reason::RouteNotFound), 1012);
        assert_eq!(close_status(Reason::ResidencyUnavailable), 1012);
        assert_eq!(grpc_trailers(Reason::TokenRevoked)["grpc-status"], "16");
        assert_eq!(grpc_trailers(Reason::PolicyDenied)["grpc-status"], "7");
        assert_eq!(grpc_trailers(Reason::RouteNotFound)["grpc-status"], "14");
    }

    #[test]
    fn grpc_is_known_by_its_media_type_and_grpc_web_is_not_it() {
        let is = |media: &'static str| {
            let field = (http::header::CONTENT_TYPE, HeaderValue::from_static(media));
            is_grpc(&HeaderMap::from_iter([field]))
        };

        assert!(is("application/grpc") && is("application/grpc+proto") && is("application/grpc;v=1"));
        assert!(!is("application/grpc-web") && !is("application/grpc-web+proto") && !is("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
