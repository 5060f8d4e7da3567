//! Places in the caller's buffer.

/// A part of the bytes that were scanned.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    start: u32,
    end: u32,
}

/// A field's name and value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Field {
    /// The name as it was written.
    pub name: Span,
    /// The value without the blanks around it.
    pub value: Span,
}

impl Span {
    /// From `start` up to but without `end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // No scanner looks past `line::FARTHEST`, so that neither is ever cut.
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
        }
    }

    /// The part of the scanned bytes; empty when these are others and shorter.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }

    /// Where it starts.
    pub(crate) const fn start(self) -> usize {
        self.start as usize
    }

    /// Where it ends.
    pub(crate) const fn end(self) -> usize {
        self.end as usize
    }

    /// The same part seen from `offset` bytes earlier.
    pub(crate) fn shifted(self, offset: usize) -> Self {
        Self::new(self.start() + offset, self.end() + offset)
    }
}

impl Field {
    /// The same field seen from `offset` bytes earlier.
    pub(crate) fn shifted(self, offset: usize) -> Self {
        Self {
            name: self.name.shifted(offset),
            value: self.value.shifted(offset),
        }
    }
}
