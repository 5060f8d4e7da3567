//! The words in which the two halves of a request speak: a head, then pieces, then an end.

use bytes::Bytes;
use http::HeaderMap;

/// A part of a body, in the order of arrival.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Content; never empty.
    Data(Bytes),
    /// The message is over, with its trailers where it has some.
    End(Option<HeaderMap>),
}

/// What is known of a body's length when its head leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Length {
    /// There is no body.
    None,
    /// So many bytes, more than none.
    Known(u64),
    /// It ends when it ends.
    Unknown,
}

impl Length {
    /// The length of a body that is wholly here.
    pub(crate) const fn of(bytes: usize) -> Self {
        match bytes {
            0 => Self::None,
            bytes => Self::Known(bytes as u64),
        }
    }
}
