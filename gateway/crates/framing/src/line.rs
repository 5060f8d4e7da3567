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
    /// Up to here its bytes were checked.
    seen: usize,
}

impl Lines {
    /// The next whole line without its end; `None` while the end is missing. `limit` is how far the lines may reach.
    pub(crate) fn next(&mut self, bytes: &[u8], limit: usize) -> Result<Option<Span>, Fault> {
        let limit = limit.min(FARTHEST);
        let window = bytes.get(..limit).unwrap_or(bytes);
        let fresh = window.get(self.seen..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'\n', fresh) else {
            // A carriage return at the very end may still become the end of the line.
            let fresh = fresh.strip_suffix(b"\r").unwrap_or(fresh);
            check(fresh)?;
            self.seen += fresh.len();
            if bytes.len() > limit {
                return Err(Fault::too_large("head too large"));
            }
            return Ok(None);
        };
        let content = fresh.get(..length).unwrap_or_default();
        let text = content.strip_suffix(b"\r");
        check(text.unwrap_or(content))?;
        if text.is_none() {
            // RFC 9112 section 2.2 lets a recipient take it for the end of a line; not every recipient does.
            return Err(Fault::malformed("bare line feed"));
        }
        let line = Span::new(self.line, self.seen + length - 1);
        self.seen += length + 1;
        self.line = self.seen;
        Ok(Some(line))
    }

    /// Where the next line starts.
    pub(crate) const fn position(&self) -> usize {
        self.line
    }
}

fn check(text: &[u8]) -> Result<(), Fault> {
    match class::first_control(text).and_then(|index| text.get(index)) {
        None => Ok(()),
        Some(b'\r') => Err(Fault::malformed("bare carriage return")),
        Some(_) => Err(Fault::malformed("control byte")),
    }
}
