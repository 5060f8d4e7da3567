//! Lines, while they arrive.

use crate::class::{self, TEXT};
use crate::fault::Fault;
use crate::span::Span;

/// No scanner looks farther than this, so that places fit in a [`Span`].
const FARTHEST: usize = 1 << 30;

/// Bytes that are checked at once, whatever lines they hold.
const BLOCK: usize = 512;

/// Cuts lines out of a buffer that grows; every byte is looked at once.
///
/// A fault is reported for the first byte that makes the bytes unacceptable, whatever follows it, which is what
/// makes the verdict independent of how the bytes were cut into reads.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Where the line starts that is not whole yet.
    line: usize,
    /// Up to here no line ends.
    seen: usize,
    /// Up to here no byte is a control byte, apart from line ends; may be ahead of `seen`.
    clean: usize,
}

impl Lines {
    /// The next whole line without its end; `None` while the end is missing. `limit` is how far the lines may reach.
    pub(crate) fn next(&mut self, bytes: &[u8], limit: usize) -> Result<Option<Span>, Fault> {
        let limit = limit.min(FARTHEST);
        let window = bytes.get(..limit).unwrap_or(bytes);
        let fresh = window.get(self.seen..).unwrap_or_default();
        let length = memchr::memchr2(b'\r', b'\n', fresh).unwrap_or(fresh.len());
        let end = self.seen + length;
        self.check(window, end)?;
        self.seen = end;
        match fresh.get(length..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                let line = Span::new(self.line, end);
                self.seen += 2;
                self.line = self.seen;
                Ok(Some(line))
            }
            // A carriage return at the very end may still become the end of the line.
            [] | [b'\r'] if bytes.len() <= limit => Ok(None),
            [] | [b'\r'] => Err(Fault::too_large("head too large")),
            // RFC 9112 section 2.2 lets a recipient take it for the end of a line; not every recipient does.
            [b'\n', ..] => Err(Fault::malformed("bare line feed")),
            [..] => Err(Fault::malformed("bare carriage return")),
        }
    }

    /// Where the next line starts.
    pub(crate) const fn position(&self) -> usize {
        self.line
    }

    /// Checks that there is no control byte up to `end`. Looks at whole blocks first, and only where one holds a
    /// control byte, perhaps beyond the head, at the line by itself.
    fn check(&mut self, window: &[u8], end: usize) -> Result<(), Fault> {
        self.clean = self.clean.max(self.seen);
        while self.clean < end {
            let last = window.len().min(self.clean + BLOCK);
            let block = window.get(self.clean..last).unwrap_or_default();
            if class::is_free_of_controls(block) {
                self.clean = last;
            } else if class::all(window.get(self.clean..end).unwrap_or_default(), TEXT) {
                self.clean = end;
            } else {
                return Err(Fault::malformed("control byte"));
            }
        }
        Ok(())
    }
}
