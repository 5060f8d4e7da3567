//! What a client may ask of a connection without carrying anything useful.
//!
//! The protocol engine counts some of this by itself, over the life of a connection; here all of it is counted, with
//! allowances that refill, so that a long connection of a well-behaved client never ends by them. The figures start
//! from what others let pass by default: nghttp2 1.57+ allows 1000 stream resets and then 33 a second, and the same
//! of every kind of oddity; Envoy allows 100 PRIORITY frames a stream and 10 WINDOW_UPDATE frames a DATA frame sent,
//! and holds at most 1000 acknowledgements of PING and SETTINGS back. Requests themselves are the listener's limits'
//! to count.

use super::budget::{Bucket, Budget};
use super::cause::Cause;
use super::frames::{Frame, flag, kind};

/// An allowance that refills by time and by requests.
const fn budget(burst: u32, per_second: u32, per_stream: u32, per_data_sent: u32) -> Budget {
    Budget {
        burst,
        per_second,
        per_stream,
        per_data_sent,
    }
}

/// gRPC clients measure the path by a PING for every few DATA frames that they receive.
pub(crate) const PINGS: Budget = budget(1000, 33, 0, 1);
/// Clients send one at the start and one or two acknowledgements.
pub(crate) const SETTINGS: Budget = budget(100, 2, 0, 0);
/// Firefox opened with five, older Chrome sent one a stream and one more for each change of mind.
pub(crate) const PRIORITIES: Budget = budget(1000, 33, 10, 0);
/// nghttp2's own figures; browsers that leave a page reset what is under way, a hundred streams at most.
pub(crate) const RESETS: Budget = budget(1000, 33, 0, 0);
/// Errors of the client that cost it a stream each; h2 ends the connection after 1024 in all.
pub(crate) const PROVOKED_RESETS: Budget = budget(100, 5, 0, 0);
/// h2 ends the connection after 100 in all.
pub(crate) const EMPTY_DATA: Budget = budget(50, 2, 0, 0);
/// Envoy's ten for each DATA frame sent, and some for clients that open windows of streams at once.
pub(crate) const WINDOW_UPDATES: Budget = budget(1000, 33, 4, 10);
/// A head of 64 KiB takes four frames of 16 KiB; h2 allows no more than five or so that do not end it.
pub(crate) const CONTINUATIONS: Budget = budget(100, 10, 5, 0);
/// Trailers may be empty, one frame a stream.
pub(crate) const EMPTY_HEADERS: Budget = budget(100, 5, 1, 0);
/// Chrome greases now and then with a frame of a reserved type.
pub(crate) const UNKNOWN_FRAMES: Budget = budget(100, 10, 2, 0);
/// The same in octets.
pub(crate) const UNKNOWN_BYTES: Budget = budget(256 * 1024, 16 * 1024, 0, 0);
/// All frames but those that carry at least [`USEFUL`] octets of a body.
pub(crate) const FRAMES: Budget = budget(10_000, 1000, 20, 10);

/// Octets of DATA from which on a frame is worth its header.
pub(crate) const USEFUL: usize = 16;
/// What was spent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buckets {
    pings: Bucket,
    settings: Bucket,
    priorities: Bucket,
    resets: Bucket,
    provoked: Bucket,
    empty_data: Bucket,
    window_updates: Bucket,
    continuations: Bucket,
    empty_headers: Bucket,
    unknown: Bucket,
    unknown_bytes: Bucket,
    frames: Bucket,
}

impl Buckets {
    /// A frame that came.
    ///
    /// # Errors
    /// What it was too many of.
    pub(crate) fn charge(&mut self, now: u64, frame: &Frame) -> Result<(), Cause> {
        let is_useful = frame.kind == kind::DATA && content(frame) >= USEFUL;
        if !is_useful && !self.frames.spend(&FRAMES, now, 1) {
            return Err(Cause::Frames);
        }
        let allowed = |bucket: &mut Bucket, budget: &Budget, cause: Cause| {
            if bucket.spend(budget, now, 1) {
                Ok(())
            } else {
                Err(cause)
            }
        };
        match frame.kind {
            kind::DATA if content(frame) == 0 && !frame.has(flag::END_STREAM) => {
                allowed(&mut self.empty_data, &EMPTY_DATA, Cause::EmptyData)
            }
            kind::DATA => Ok(()),
            kind::HEADERS if block(frame) == 0 => {
                allowed(&mut self.empty_headers, &EMPTY_HEADERS, Cause::EmptyHeaders)
            }
            // Requests are counted elsewhere; the other two end the connection by being sent at all.
            kind::HEADERS | kind::PUSH_PROMISE | kind::GOAWAY => Ok(()),
            kind::PRIORITY | kind::PRIORITY_UPDATE => {
                allowed(&mut self.priorities, &PRIORITIES, Cause::Priorities)
            }
            kind::RST_STREAM => allowed(&mut self.resets, &RESETS, Cause::Resets),
            kind::SETTINGS => allowed(&mut self.settings, &SETTINGS, Cause::Settings),
            kind::PING => allowed(&mut self.pings, &PINGS, Cause::Pings),
            kind::WINDOW_UPDATE => allowed(&mut self.window_updates, &WINDOW_UPDATES, Cause::WindowUpdates),
            kind::CONTINUATION => {
                if frame.len == 0 {
                    allowed(&mut self.empty_headers, &EMPTY_HEADERS, Cause::EmptyHeaders)?;
                }
                allowed(&mut self.continuations, &CONTINUATIONS, Cause::Continuations)
            }
            _ => {
                let octets = u32::try_from(frame.len).unwrap_or(u32::MAX);
                if !self.unknown_bytes.spend(&UNKNOWN_BYTES, now, octets) {
                    return Err(Cause::UnknownFrames);
                }
                allowed(&mut self.unknown, &UNKNOWN_FRAMES, Cause::UnknownFrames)
            }
        }
    }

    /// A reset that we sent.
    ///
    /// # Errors
    /// The client made us reset too many streams.
    pub(crate) fn charge_reset(&mut self, now: u64, code: u32) -> Result<(), Cause> {
        if is_provoked(code) && !self.provoked.spend(&PROVOKED_RESETS, now, 1) {
            return Err(Cause::ProvokedResets);
        }
        Ok(())
    }

    /// The client opened a stream.
    pub(crate) const fn opened(&mut self) {
        self.priorities.earn(PRIORITIES.per_stream);
        self.window_updates.earn(WINDOW_UPDATES.per_stream);
        self.continuations.earn(CONTINUATIONS.per_stream);
        self.empty_headers.earn(EMPTY_HEADERS.per_stream);
        self.unknown.earn(UNKNOWN_FRAMES.per_stream);
        self.frames.earn(FRAMES.per_stream);
    }

    /// A DATA frame of ours was sent.
    pub(crate) const fn data_sent(&mut self) {
        self.pings.earn(PINGS.per_data_sent);
        self.window_updates.earn(WINDOW_UPDATES.per_data_sent);
        self.frames.earn(FRAMES.per_data_sent);
    }
}

/// True for the codes with which a stream ends by the client's fault; ours end with NO_ERROR, CANCEL or
/// INTERNAL_ERROR.
fn is_provoked(code: u32) -> bool {
    !matches!(
        h2::Reason::from(code),
        h2::Reason::NO_ERROR | h2::Reason::CANCEL | h2::Reason::INTERNAL_ERROR
    )
}

/// Octets of a DATA frame that are not padding.
fn content(frame: &Frame) -> usize {
    if frame.has(flag::PADDED) {
        let [padding, ..] = frame.peek;
        return frame.len.saturating_sub(1 + usize::from(padding));
    }
    frame.len
}

/// Octets of a HEADERS frame that may be a header block.
fn block(frame: &Frame) -> usize {
    let padding = usize::from(frame.has(flag::PADDED));
    let priority = if frame.has(flag::PRIORITY) { 5 } else { 0 };
    frame.len.saturating_sub(padding + priority)
}
