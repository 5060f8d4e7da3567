//! Lines, while they arrive.

use crate::class;
use crate::fault::Fault;
use crate::span::Span;

/// No scanner looks farther than this, so that places fit in a [`Span`].
const FARTHEST: usize = 1 << 30;

/// Cuts lines out of a buffer that grows; every byte is looked at once.
///
/// A fault is reported for the first byte that makes the bytes unacceptable, whatever follows it, which is what
/// makes the verdict independent of how the bytes were cut into reads.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Where the line starts that is not whole yet.
    line: usize,
    /// Up to here it holds text.
    seen: usize,
}

impl Lines {
    /// The next whole line without its end; `None` while the end is missing. `limit` is how far the lines may reach.
    pub(crate) fn next(&mut self, bytes: &[u8], limit: usize) -> Result<Option<Span>, Fault> {
        let limit = limit.min(FARTHEST);
        let window = bytes.get(..limit).unwrap_or(bytes);
        let fresh = window.get(self.seen..).unwrap_or_default();
        let length = class::first_control(fresh).unwrap_or(fresh.len());
        self.seen += length;
        match fresh.get(length..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                let line = Span::new(self.line, self.seen);
                self.seen += 2;
                self.line = self.seen;
                Ok(Some(line))
            }
            // A carriage return at the very end may still become the end of the line.
            [] | [b'\r'] if bytes.len() <= limit => Ok(None),
            [] | [b'\r'] => Err(Fault::too_large("head too large")),
            // RFC 9112 section 2.2 lets a recipient take it for the end of a line; not every recipient does.
            [b'\n', ..] => Err(Fault::malformed("bare line feed")),
            [b'\r', ..] => Err(Fault::malformed("bare carriage return")),
            [..] => Err(Fault::malformed("control byte")),
        }
    }

    /// Where the next line starts.
    pub(crate) const fn position(&self) -> usize {
        self.line
    }
}
