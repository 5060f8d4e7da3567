//! The body of a request on its way: from the client as it comes, from memory at another attempt, or whole after its
//! contract let it go.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use portcullis_model::{Reason, Rejection};
use portcullis_pipeline::Exchange;
use tokio::time::Instant;

use crate::client::{Client, ClientFault};
use crate::deadline::BodyClock;
use crate::message::{Length, Piece};

/// Remembered of a streamed body for another attempt; a longer one is sent once.
const MAX_REPLAY: usize = 64 * 1024;

/// Why there is no next piece.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// It may not go on.
    Refused(Rejection),
    /// The client left.
    ClientLeft,
}

impl From<ClientFault> for BodyFault {
    fn from(fault: ClientFault) -> Self {
        match fault {
            ClientFault::Frame(fault) => Self::Refused(fault.into()),
            ClientFault::Gone => Self::ClientLeft,
            ClientFault::Io(error) => {
                tracing::debug!(%error, "a client's connection broke");
                Self::ClientLeft
            }
        }
    }
}

/// The body of one request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// What is known of its length when a head leaves.
    pub(crate) length: Length,
    /// The client's patience.
    pub(crate) clock: BodyClock,
    /// What was streamed so far, copied: a piece would keep the whole buffer alive that it was read into.
    remembered: BytesMut,
    /// The whole body, when it is judged before it leaves.
    whole: Option<Bytes>,
    /// What this attempt gets before anything new.
    again: Option<Bytes>,
    /// The client's end, once it arrived.
    end: Option<Option<HeaderMap>>,
    is_forgotten: bool,
    is_judged: bool,
}

impl RequestBody {
    /// A body of which nothing has arrived.
    pub(crate) fn new(length: Length, clock: BodyClock) -> Self {
        Self {
            length,
            clock,
            remembered: BytesMut::new(),
            whole: None,
            again: None,
            end: (length == Length::None).then_some(None),
            is_forgotten: false,
            is_judged: false,
        }
    }

    /// The whole body is known and allowed: these bytes leave, whatever the client sent them as.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        self.length = Length::of(bytes.len());
        self.whole = Some(bytes);
        self.end.get_or_insert(None);
        self.is_judged = true;
    }

    /// Another attempt starts with the first byte.
    pub(crate) fn rewind(&mut self) {
        let known = match &self.whole {
            Some(whole) => whole.clone(),
            None => Bytes::copy_from_slice(&self.remembered),
        };
        self.again = (!known.is_empty()).then_some(known);
    }

    /// There will be no other attempt.
    pub(crate) fn forget(&mut self) {
        self.is_forgotten = true;
        self.remembered = BytesMut::new();
    }

    /// True when everything that was read can be given out again.
    pub(crate) const fn is_replayable(&self) -> bool {
        !self.is_forgotten
    }

    /// The next piece of this attempt, counted against the route's limit.
    pub(crate) fn poll_next(
        &mut self,
        client: &mut Client,
        exchange: &mut Exchange,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, BodyFault>> {
        if let Some(piece) = self.again.take() {
            if !self.is_judged {
                exchange.stream_push(piece.len()).map_err(BodyFault::Refused)?;
            }
            return Poll::Ready(Ok(Piece::Data(piece)));
        }
        if let Some(trailers) = &self.end {
            return Poll::Ready(Ok(Piece::End(trailers.clone())));
        }
        let piece = std::task::ready!(client.poll_piece(context))?;
        match &piece {
            Piece::Data(data) => {
                self.clock.count(data.len());
                exchange.stream_push(data.len()).map_err(BodyFault::Refused)?;
                self.remember(data);
            }
            Piece::End(trailers) => {
                check_trailers(trailers.as_ref())?;
                self.end = Some(trailers.clone());
            }
        }
        Poll::Ready(Ok(piece))
    }

    fn remember(&mut self, data: &Bytes) {
        if self.is_forgotten {
            return;
        }
        if self.remembered.len() + data.len() > MAX_REPLAY {
            return self.forget();
        }
        self.remembered.extend_from_slice(data);
    }

    /// Gives what is known already to `judge`.
    pub(crate) fn show_known(
        &self,
        judge: impl FnOnce(&Bytes) -> Result<(), Rejection>,
    ) -> Result<(), BodyFault> {
        match &self.whole {
            Some(whole) if !whole.is_empty() => judge(whole).map_err(BodyFault::Refused),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the body whole before anything leaves, giving every piece to `judge`.
    pub(crate) async fn read_whole(
        &mut self,
        client: &mut Client,
        mut judge: impl FnMut(&Bytes) -> Result<(), Rejection>,
    ) -> Result<(), BodyFault> {
        let mut timer = crate::deadline::Timer::default();
        while self.end.is_none() {
            let next = std::future::poll_fn(|context| self.poll_arrival(client, &mut timer, context));
            match next.await? {
                Piece::Data(data) => {
                    self.clock.count(data.len());
                    judge(&data).map_err(BodyFault::Refused)?;
                }
                Piece::End(trailers) => {
                    check_trailers(trailers.as_ref())?;
                    self.end = Some(trailers);
                }
            }
        }
        Ok(())
    }

    fn poll_arrival(
        &mut self,
        client: &mut Client,
        timer: &mut crate::deadline::Timer,
        context: &mut Context<'_>,
    ) -> Poll<Result<Piece, BodyFault>> {
        // What was queued (an invitation to send) must leave first.
        if let Poll::Ready(Err(fault)) = client.poll_flush(context) {
            return Poll::Ready(Err(fault.into()));
        }
        let now = Instant::now();
        if let Poll::Ready(piece) = client.poll_piece(context) {
            self.clock.stand_still(now);
            return Poll::Ready(piece.map_err(BodyFault::from));
        }
        self.clock.wait(now);
        match self.clock.due() {
            Some(due) if timer.poll_due(due, now, context).is_ready() => {
                Poll::Ready(Err(BodyFault::Refused(Rejection::new(Reason::BodyTimeout))))
            }
            Some(_) | None => Poll::Pending,
        }
    }
}

/// A value of HTTP/2 may begin or end with white space that HTTP/1 would not read (RFC 9113 section 8.2.1).
fn check_trailers(trailers: Option<&HeaderMap>) -> Result<(), BodyFault> {
    let is_padded = |value: &http::HeaderValue| value.as_bytes().trim_ascii().len() != value.len();
    match trailers.is_some_and(|fields| fields.values().any(is_padded)) {
        true => Err(BodyFault::Refused(Rejection::new(Reason::FieldInvalid))),
        false => Ok(()),
    }
}

/// Collects a body that a policy reads.
#[derive(Debug)]
pub(crate) struct Collected {
    bytes: BytesMut,
    max: u64,
}

impl Collected {
    /// Nothing yet; at most `max` bytes.
    pub(crate) fn new(max: u64) -> Self {
        Self {
            bytes: BytesMut::new(),
            max,
        }
    }

    /// Takes a piece.
    pub(crate) fn push(&mut self, piece: &Bytes) -> Result<(), Rejection> {
        if (self.bytes.len() + piece.len()) as u64 > self.max {
            return Err(Rejection::new(Reason::BodyTooLarge));
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// All of it.
    pub(crate) fn whole(self) -> Bytes {
        self.bytes.freeze()
    }
}
