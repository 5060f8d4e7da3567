//! How a request ends whose lease is over after its answer began: as its protocol ends what is cut off by decision.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use portcullis_framing::FrameTracker;
use portcullis_framing::websocket::close_frame;
use portcullis_model::Reason;
use tokio::time::Instant;

use super::{Answer, Relay};
use crate::lease;
use crate::message::Piece;

/// For the frame under way to become whole and for the close frame to leave.
const TIME: Duration = Duration::from_secs(1);

/// Both directions of a WebSocket, so that a close frame can stand between two frames.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    pub(super) to_client: FrameTracker,
    pub(super) to_endpoint: FrameTracker,
}

/// How far a farewell has come.
#[derive(Clone, Copy)]
enum Step {
    /// The frame under way goes on.
    Frame,
    /// Everything is queued.
    Flush,
}

impl Relay<'_, '_> {
    /// Ends what was begun; an answer that was not is the caller's to give.
    pub(super) async fn say_farewell(&mut self, reason: Reason) {
        if matches!(self.answer, Answer::Awaited) {
            return;
        }
        let Some(tunnel) = self.tunnel.take() else {
            let is_grpc = lease::is_grpc(&self.client.head().headers);
            self.client.cancel(is_grpc.then(|| lease::grpc_trailers(reason)));
            return;
        };
        let due = Instant::now() + TIME;
        let mut tunnel = *tunnel;
        let mut step = Step::Frame;
        std::future::poll_fn(|context| {
            if self
                .poll_farewell(&mut tunnel, &mut step, reason, context)
                .is_ready()
            {
                return Poll::Ready(());
            }
            self.timer.poll_due(due, Instant::now(), context)
        })
        .await;
    }

    fn poll_farewell(
        &mut self,
        tunnel: &mut Tunnel,
        step: &mut Step,
        reason: Reason,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        if matches!(step, Step::Frame) {
            if self.poll_frame(&mut tunnel.to_client, context).is_pending() {
                // What of the frame has come leaves, so that there is room for its rest.
                // Whether that works is found out by whoever passes more.
                let _ = self.client.poll_flush(context);
                return Poll::Pending;
            }
            self.close(tunnel, reason);
            *step = Step::Flush;
        }
        // Best effort: an endpoint that takes no more is closed.
        let _ = self.upstream.poll_flush(context);
        self.client.poll_flush(context).map(drop)
    }

    /// Passes the rest of the frame under way toward the client; ready when it is whole, or will never be.
    fn poll_frame(&mut self, frames: &mut FrameTracker, context: &mut Context<'_>) -> Poll<()> {
        while !frames.is_between() && matches!(self.answer, Answer::Body) {
            if ready!(self.client.poll_room(context)).is_err() {
                return Poll::Ready(());
            }
            let Ok(Piece::Data(mut data)) = ready!(self.upstream.poll_piece(context)) else {
                return Poll::Ready(());
            };
            data.truncate(frames.finish(&data));
            self.told.bytes += data.len() as u64;
            if self.client.push(data).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Ready(())
    }

    /// Queues a close frame for each side that may still get one, and the end.
    fn close(&mut self, tunnel: &Tunnel, reason: Reason) {
        let status = lease::close_status(reason);
        let may_close = |frames: &FrameTracker| frames.is_between() && !frames.has_closed();
        if may_close(&tunnel.to_client) {
            let frame = Bytes::from(close_frame(status, reason.code(), None));
            self.told.bytes += frame.len() as u64;
            // Whoever left in between needs no close frame.
            let _ = self.client.push(frame);
        }
        let _ = self.client.finish(None);
        if may_close(&tunnel.to_endpoint) && !self.is_sent {
            let [a, b, c, d, ..] = self.exchange.random().to_be_bytes();
            let frame = close_frame(status, reason.code(), Some([a, b, c, d]));
            self.upstream.push(Bytes::from(frame));
        }
        self.upstream.finish(None);
    }
}
