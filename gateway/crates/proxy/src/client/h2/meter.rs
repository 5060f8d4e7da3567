//! The frame meter: reads the frames of both directions, pure: bytes and the time in, verdict out.
//!
//! What it counts stands in [`super::allowances`]. Beside that it knows what the loop cannot see of h2: whether the
//! client owes the rest of a head, which streams h2 answered by itself, which windows were opened too wide, and
//! which paths were cut.

use super::allowances::Buckets;
use super::cause::Cause;
use super::fragment;
use super::frames::{Frame, FrameScanner, PREFACE, flag, kind};
use super::settings::MAX_FRAME;
use super::windows::Windows;

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
                self.buckets.charge_reset(now, code)?;
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

#[cfg(test)]
mod tests;
