//! Short ASCII text held in place: ids that every request has, without a piece of the heap each.

use std::fmt;
use std::ops::Deref;

/// Text of at most `N` ASCII bytes, `N` under 256.
#[derive(Clone, Copy)]
pub struct InlineText<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> InlineText<N> {
    /// The text, or `None` when it is too long or not ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let len = u8::try_from(text.len()).ok().filter(|_| text.is_ascii())?;
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, len })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        // Only ASCII was let in.
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl<const N: usize> Default for InlineText<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }
}

impl<const N: usize> Deref for InlineText<N> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> PartialEq for InlineText<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> Eq for InlineText<N> {}

impl<const N: usize> PartialEq<str> for InlineText<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<const N: usize> fmt::Debug for InlineText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for InlineText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_fits_is_kept_as_it_is() {
        let text = InlineText::<8>::new("abc").unwrap();

        assert_eq!(text.as_str(), "abc");
        assert_eq!(format!("{text} {text:?}"), "abc \"abc\"");
        assert_eq!(InlineText::<3>::new("abc").unwrap().len(), 3);
        assert_eq!(InlineText::<3>::new("").unwrap().as_str(), "");
    }

    #[test]
    fn text_that_is_too_long_or_not_ascii_is_none() {
        assert_eq!(InlineText::<3>::new("abcd"), None);
        assert_eq!(InlineText::<8>::new("é"), None);
        assert_eq!(InlineText::<512>::new(&"a".repeat(300)), None);
    }
}
