//! Small facts about canonical paths that every room shares; making a path canonical is `normalize`'s work.
//!
//! A canonical path starts with `/`, has no empty, `.` or `..` segment except possibly one empty segment at its
//! end (a trailing slash), and percent-encodes exactly the bytes that are not unreserved, sub-delimiters, `:` or `@`
//! (RFC 3986 section 3.3), in upper case.

use std::borrow::Cow;

/// The segments of a canonical path, still percent-encoded. A trailing slash gives a last empty segment;
/// the root path gives none.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let count = if rest.is_empty() { 0 } else { usize::MAX };
    rest.split('/').take(count)
}

/// Percent-decodes a canonical segment. Canonical segments are UTF-8 once decoded; anything else is kept as it is.
#[must_use]
pub fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = rest.next().and_then(hex);
            let low = rest.next().and_then(hex);
            let (Some(high), Some(low)) = (high, low) else {
                return Cow::Borrowed(segment);
            };
            bytes.push(high * 16 + low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(segment), Cow::Owned)
}

/// The value of a hexadecimal digit.
#[must_use]
pub const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_no_segments_and_a_trailing_slash_has_an_empty_one() {
        assert_eq!(segments("/").count(), 0);
        assert_eq!(segments("/a/b").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(segments("/a/").collect::<Vec<_>>(), ["a", ""]);
    }

    #[test]
    fn decoding_gives_the_text_that_was_meant() {
        assert_eq!(decode("caf%C3%A9"), "café");
        assert_eq!(decode("plain"), "plain");
        assert_eq!(decode("%zz"), "%zz");
    }
}
