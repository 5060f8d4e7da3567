//! The frame meter: what a client may ask of a connection without carrying anything useful.
//!
//! It reads the frames of both directions, pure: bytes and the time in, verdict out. The protocol engine counts some
//! of this by itself, over the life of a connection; the meter counts all of it, with allowances that refill, so that
//! a long connection of a well-behaved client never ends by them. The figures start from what others let pass by
//! default: nghttp2 1.57+ allows 1000 stream resets and then 33 a second, and the same of every kind of oddity; Envoy
//! allows 100 PRIORITY frames a stream and 10 WINDOW_UPDATE frames a DATA frame sent, and holds at most 1000
//! acknowledgements of PING and SETTINGS back; Node.js, Go and HAProxy lie between. Requests themselves are the
//! listener's limits' to count.

use super::budget::{Bucket, Budget};
use super::cause::Cause;
use super::fragment;
use super::frames::{Frame, FrameScanner, PREFACE, flag, kind};
use super::settings::MAX_FRAME;
use super::windows::Windows;

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
const USEFUL: usize = 16;
/// Streams remembered that h2 has not handed over yet: more than it lets be open at once.
const MAX_WAITING: usize = 256;

/// The meter of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    received: FrameScanner,
    sent: FrameScanner,
    buckets: Buckets,
    windows: Windows,
    /// The highest stream the client opened.
    highest: u32,
    has_settings: bool,
    is_acknowledged: bool,
    /// A header block was begun and its END_HEADERS has not come.
    is_block_open: bool,
    /// Octets of header blocks since [`Self::take_header_bytes`].
    header_bytes: usize,
    /// Streams whose head came and that h2 has not handed over, in order, and whether there is a fragment in it.
    waiting: Vec<(u32, bool)>,
    /// The block of a head that is not here as a whole.
    partial: Option<Partial>,
    refused: Vec<Refused>,
    /// A stream whose window was opened too wide, until somebody says so.
    overflowed: Option<u32>,
}

/// The start of a header block, kept until the rest of its frame is here.
#[derive(Clone, Debug)]
struct Partial {
    head: Frame,
    payload: Vec<u8>,
}

/// A stream that h2 answered by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// By a response of its own, which is 431.
    Answered,
    /// By a reset with this code.
    Reset(u32),
}

#[derive(Clone, Debug, Default)]
struct Buckets {
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

impl Default for Meter {
    fn default() -> Self {
        Self {
            received: FrameScanner::new(PREFACE),
            sent: FrameScanner::new(0),
            buckets: Buckets::default(),
            windows: Windows::default(),
            highest: 0,
            has_settings: false,
            is_acknowledged: false,
            is_block_open: false,
            header_bytes: 0,
            waiting: Vec::new(),
            partial: None,
            refused: Vec::new(),
            overflowed: None,
        }
    }
}

impl Meter {
    /// Bytes that came from the client; they go no further when this is an error.
    ///
    /// # Errors
    /// What was spent or broken.
    pub(crate) fn receive(&mut self, now_millis: u64, mut bytes: &[u8]) -> Result<(), Cause> {
        if let Some(partial) = self.partial.take() {
            self.screen(partial, bytes);
        }
        while let Some(frame) = self.received.next(&mut bytes) {
            self.count(now_millis, &frame)?;
            if frame.kind == kind::HEADERS && self.waiting.last().is_some_and(|(id, _)| *id == frame.stream) {
                let partial = Partial {
                    head: frame,
                    payload: Vec::new(),
                };
                self.screen(partial, bytes);
            }
        }
        Ok(())
    }

    /// Looks for a fragment in a head once its frame is here; `bytes` is what follows of it.
    fn screen(&mut self, mut partial: Partial, bytes: &[u8]) {
        let Partial { head, payload } = &mut partial;
        let missing = head.len.saturating_sub(payload.len());
        let (part, is_whole) = match bytes.get(..missing) {
            Some(part) => (part, true),
            None => (bytes, false),
        };
        if !is_whole || !payload.is_empty() {
            payload.extend_from_slice(part);
        }
        if !is_whole {
            // A frame larger than we announced is refused by h2.
            if head.len <= MAX_FRAME {
                self.partial = Some(partial);
            }
            return;
        }
        let payload = if payload.is_empty() {
            part
        } else {
            payload.as_slice()
        };
        let skipped = usize::from(head.has(flag::PADDED)) + if head.has(flag::PRIORITY) { 5 } else { 0 };
        let has_fragment = fragment::is_in_path(payload.get(skipped..).unwrap_or_default());
        let stream = head.stream;
        if let Some((_, is_cut)) = self.waiting.iter_mut().find(|(id, _)| *id == stream) {
            // Trailers may come before the stream is handed over.
            *is_cut |= has_fragment;
        }
    }

    /// Bytes that go to the client.
    ///
    /// # Errors
    /// The client made us reset too many streams.
    pub(crate) fn send(&mut self, now_millis: u64, mut bytes: &[u8]) -> Result<(), Cause> {
        let mut verdict = Ok(());
        while let Some(frame) = self.sent.next(&mut bytes) {
            verdict = verdict.and(self.note(now_millis, &frame));
        }
        verdict
    }

    /// True once preface and SETTINGS came.
    pub(crate) const fn is_greeted(&self) -> bool {
        self.has_settings
    }

    /// True once the client acknowledged our SETTINGS.
    pub(crate) const fn is_acknowledged(&self) -> bool {
        self.is_acknowledged
    }

    /// True while the client owes the rest of a head or of any other frame that is not DATA.
    pub(crate) fn is_amid(&self) -> bool {
        self.is_block_open
            || self
                .received
                .unfinished()
                .is_some_and(|unfinished| unfinished != Some(kind::DATA))
    }

    /// The octets of header blocks since the last look.
    pub(crate) const fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Starts counting header blocks anew.
    pub(crate) const fn clear_header_bytes(&mut self) {
        self.header_bytes = 0;
    }

    /// A stream was handed over; true when there was a fragment in its path.
    pub(crate) fn accepted(&mut self, stream: u32) -> bool {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == stream);
        at.is_some_and(|at| self.waiting.remove(at).1)
    }

    /// Streams that h2 answered by itself since the last look.
    pub(crate) fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// A stream whose window was opened too wide and of which h2 knows nothing any more; only between two frames
    /// that are sent, where another one may stand.
    pub(crate) fn take_overflowed(&mut self) -> Option<u32> {
        if self.sent.unfinished().is_some() {
            return None;
        }
        self.overflowed.take()
    }

    /// Gives memory back.
    pub(crate) fn shrink(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }

    fn count(&mut self, now: u64, frame: &Frame) -> Result<(), Cause> {
        if !self.has_settings {
            if frame.kind != kind::SETTINGS || frame.has(flag::ACK) {
                return Err(Cause::FirstFrame);
            }
            self.has_settings = true;
        }
        if matches!(frame.kind, kind::HEADERS | kind::CONTINUATION) {
            self.is_block_open = !frame.has(flag::END_HEADERS);
            self.header_bytes = self.header_bytes.saturating_add(frame.len);
            if frame.kind == kind::HEADERS {
                self.opened(frame.stream);
            }
        }
        if frame.kind == kind::SETTINGS && frame.has(flag::ACK) {
            self.is_acknowledged = true;
        }
        if frame.kind == kind::WINDOW_UPDATE && !self.windows.widen(frame.stream, frame.word() & 0x7fff_ffff)
        {
            self.overflowed = Some(frame.stream);
        }
        self.buckets.charge(now, frame)
    }

    /// A HEADERS frame that may open a stream.
    fn opened(&mut self, stream: u32) {
        if stream <= self.highest {
            return;
        }
        self.highest = stream;
        self.buckets.opened();
        if self.waiting.len() == MAX_WAITING {
            self.waiting.remove(0);
        }
        self.waiting.push((stream, false));
    }

    fn note(&mut self, now: u64, frame: &Frame) -> Result<(), Cause> {
        match frame.kind {
            kind::DATA => {
                self.windows.narrow(frame.stream, frame.len);
                self.buckets.data_sent();
            }
            kind::HEADERS => self.answered(frame.stream, Refused::Answered),
            kind::RST_STREAM => {
                let code = frame.word();
                if self.overflowed == Some(frame.stream) {
                    self.overflowed = None;
                }
                self.answered(frame.stream, Refused::Reset(code));
                let is_provoked = is_provoked(code);
                if is_provoked && !self.buckets.provoked.spend(&PROVOKED_RESETS, now, 1) {
                    return Err(Cause::ProvokedResets);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Something was said on a stream: when nobody of ours has it yet, h2 said it.
    fn answered(&mut self, stream: u32, refused: Refused) {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == stream) else {
            return;
        };
        self.waiting.remove(at);
        if self.refused.len() < MAX_WAITING {
            self.refused.push(refused);
        }
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

impl Buckets {
    fn charge(&mut self, now: u64, frame: &Frame) -> Result<(), Cause> {
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

    const fn opened(&mut self) {
        self.priorities.earn(PRIORITIES.per_stream);
        self.window_updates.earn(WINDOW_UPDATES.per_stream);
        self.continuations.earn(CONTINUATIONS.per_stream);
        self.empty_headers.earn(EMPTY_HEADERS.per_stream);
        self.unknown.earn(UNKNOWN_FRAMES.per_stream);
        self.frames.earn(FRAMES.per_stream);
    }

    const fn data_sent(&mut self) {
        self.pings.earn(PINGS.per_data_sent);
        self.window_updates.earn(WINDOW_UPDATES.per_data_sent);
        self.frames.earn(FRAMES.per_data_sent);
    }
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

#[cfg(test)]
mod tests;
