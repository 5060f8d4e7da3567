//! One canonical path, or a refusal.
//!
//! Canonical means: absolute; every byte that RFC 3986 allows in a segment stands as itself and every other one
//! percent-encoded in upper case; UTF-8 once decoded; no dot segments. What endpoints read in more than one way is
//! told beside it as [`PathOddities`], and is refused unless the route allows it (CVE-2021-29492, CVE-2026-26205,
//! CVE-2026-73551 and their kin).

use std::borrow::Cow;

use portcullis_model::Reason;
use portcullis_model::path::hex;

use super::oddity::{PathOddities, PathOddity, treachery};

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The canonical form of a raw path that no endpoint reads in two ways.
///
/// # Errors
/// Returns the reason for which the path is ambiguous or malformed.
pub fn canonical_path(raw: &[u8]) -> Result<Cow<'_, str>, Reason> {
    let (path, oddities) = read_path(raw)?;
    oddities.within(PathOddities::default())?;
    Ok(path)
}

/// The canonical form of a raw path, and what of it a route would have to allow.
///
/// A path that no opt-in makes safe is within none.
///
/// # Errors
/// Returns the reason for which the path is malformed, or ambiguous whatever a route says.
pub fn read_path(raw: &[u8]) -> Result<(Cow<'_, str>, PathOddities), Reason> {
    // Two slashes at the start are read as an authority by some (CVE-2026-26205).
    match raw {
        [b'/', b'/', ..] => return Err(Reason::PathEmptySegment),
        [b'/', ..] => {}
        _ => return Err(Reason::TargetInvalid),
    }
    let mut oddities = PathOddities::default();
    // Most paths need no change, only a look.
    if raw.iter().all(|byte| *byte == b'/' || is_segment_byte(*byte)) {
        let text = std::str::from_utf8(raw).map_err(|_| Reason::PathUtf8)?;
        look_at_segments(text, &mut oddities)?;
        return Ok((Cow::Borrowed(text), oddities));
    }
    let text = rewrite(raw, &mut oddities)?;
    look_at_segments(&text, &mut oddities)?;
    if !oddities.is_empty()
        && let Some(reason) = treachery(&text)
    {
        // Only the route tells whether the refusal is named by the oddity or by this.
        oddities.forbid(reason);
    }
    Ok((Cow::Owned(text), oddities))
}

/// The canonical form of a path that is not canonical, or not plainly so.
fn rewrite(raw: &[u8], oddities: &mut PathOddities) -> Result<String, Reason> {
    let mut text = String::with_capacity(raw.len() + 8);
    let mut decoded: Vec<u8> = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    let mut is_ascii = true;
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let value = bytes
                .next()
                .copied()
                .and_then(hex)
                .zip(bytes.next().copied().and_then(hex));
            let Some((high, low)) = value else {
                return Err(Reason::PathEncoding);
            };
            let value = high * 16 + low;
            look_at_encoded(value, bytes.as_slice(), oddities)?;
            is_ascii &= value.is_ascii();
            decoded.push(value);
            push_canonical(&mut text, value);
        } else {
            look_at_raw(byte, oddities)?;
            decoded.push(byte);
            if byte == b'\\' {
                push_encoded(&mut text, byte);
            } else {
                text.push(char::from(byte));
            }
        }
    }
    if !is_ascii && std::str::from_utf8(&decoded).is_err() {
        return Err(Reason::PathUtf8);
    }
    Ok(text)
}

/// True for the bytes that stand for themselves in a canonical segment.
pub(super) fn is_segment_byte(byte: u8) -> bool {
    SEGMENT_BYTES.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Unreserved characters, sub-delimiters without `;`, `:` and `@` (RFC 3986 section 3.3).
static SEGMENT_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        #[expect(
            clippy::indexing_slicing,
            reason = "256 entries for every byte, and evaluated at compile time"
        )]
        {
            table[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'-' | b'.'
                        | b'_'
                        | b'~'
                        | b'!'
                        | b'$'
                        | b'&'
                        | b'\''
                        | b'('
                        | b')'
                        | b'*'
                        | b'+'
                        | b','
                        | b'='
                        | b':'
                        | b'@'
                );
        }
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

fn push_canonical(text: &mut String, value: u8) {
    if is_segment_byte(value) {
        text.push(char::from(value));
    } else {
        push_encoded(text, value);
    }
}

/// Appends `%XX` in upper case.
pub(super) fn push_encoded(text: &mut String, value: u8) {
    text.push('%');
    for digit in [value >> 4, value & 15] {
        let digit = UPPER_HEX.get(usize::from(digit)).copied().unwrap_or(b'0');
        text.push(char::from(digit));
    }
}

fn look_at_raw(byte: u8, oddities: &mut PathOddities) -> Result<(), Reason> {
    match byte {
        b'\\' => oddities.insert(PathOddity::Backslash),
        b';' => oddities.insert(PathOddity::Semicolon),
        b'#' => return Err(Reason::PathFragment),
        b'/' => {}
        byte if is_segment_byte(byte) => {}
        _ => return Err(Reason::PathControl),
    }
    Ok(())
}

/// Looks at an encoded byte, which may mean something else once decoded. `rest` is what follows it.
fn look_at_encoded(value: u8, rest: &[u8], oddities: &mut PathOddities) -> Result<(), Reason> {
    match value {
        b'/' => oddities.insert(PathOddity::EncodedSlash),
        b'\\' => oddities.insert(PathOddity::Backslash),
        b';' => oddities.insert(PathOddity::Semicolon),
        0..=0x1f | 0x7f => return Err(Reason::PathControl),
        b'%' if is_layered(rest) => oddities.insert(PathOddity::DoubleEncoding),
        _ => {}
    }
    Ok(())
}

/// Whether what follows an encoded percent sign makes another encoding with it. In `%25%32%66` the digits of the
/// second layer are encoded themselves.
fn is_layered(rest: &[u8]) -> bool {
    let is_digit = |byte: &u8| hex(*byte).is_some();
    // A backslash leaves encoded, and must be read now as it will be then.
    let is_percent = |byte: &u8| matches!(byte, b'%' | b'\\');
    match rest {
        [first, ..] if is_percent(first) => true,
        [first, second, ..] => is_digit(first) && (is_digit(second) || is_percent(second)),
        [] | [_] => false,
    }
}

fn look_at_segments(path: &str, oddities: &mut PathOddities) -> Result<(), Reason> {
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => return Err(Reason::PathDotSegment),
            "" if segments.peek().is_some() => oddities.insert(PathOddity::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(raw: &str) -> Option<Reason> {
        canonical_path(raw.as_bytes()).err()
    }

    #[test]
    fn ordinary_paths_stay_as_they_are() {
        for path in ["/", "/a", "/a/", "/a/b.c/d_e~f", "/caf%C3%A9", "/a:b@c/d,e=f"] {
            assert_eq!(canonical_path(path.as_bytes()).unwrap(), path);
        }
    }

    #[test]
    fn equal_paths_get_one_form() {
        assert_eq!(canonical_path(b"/%61%2D%7e").unwrap(), "/a-~");
        assert_eq!(canonical_path(b"/caf%c3%a9").unwrap(), "/caf%C3%A9");
        assert_eq!(canonical_path(b"/a%20b").unwrap(), "/a%20b");
    }

    #[test]
    fn every_ambiguity_has_its_own_reason() {
        let cases = [
            ("", Reason::TargetInvalid),
            ("*", Reason::TargetInvalid),
            ("a/b", Reason::TargetInvalid),
            ("/a/../b", Reason::PathDotSegment),
            ("/a/./b", Reason::PathDotSegment),
            ("/a/%2e%2e/b", Reason::PathDotSegment),
            ("/a/..", Reason::PathDotSegment),
            ("//x/admin", Reason::PathEmptySegment),
            ("/a//b", Reason::PathEmptySegment),
            ("/a%2fb", Reason::PathEncodedSlash),
            ("/a%2Fb", Reason::PathEncodedSlash),
            ("/a%5cb", Reason::PathBackslash),
            ("/a\\b", Reason::PathBackslash),
            ("/a/..;x/b", Reason::PathSemicolon),
            ("/a%3bx", Reason::PathSemicolon),
            ("/a%00", Reason::PathControl),
            ("/a%0d%0ab", Reason::PathControl),
            ("/a b", Reason::PathControl),
            ("/a\u{e9}", Reason::PathControl),
            ("/a%2", Reason::PathEncoding),
            ("/a%zz", Reason::PathEncoding),
            ("/%252e%252e/", Reason::PathDoubleEncoding),
            ("/%25%32%65", Reason::PathDoubleEncoding),
            ("/%252%65", Reason::PathDoubleEncoding),
            ("/%c0%af", Reason::PathUtf8),
            ("/%ff", Reason::PathUtf8),
            ("/%ed%a0%80", Reason::PathUtf8),
            ("/a#b", Reason::PathFragment),
        ];
        for (path, reason) in cases {
            assert_eq!(refused(path), Some(reason), "{path}");
        }
    }

    #[test]
    fn a_percent_sign_that_stays_one_is_kept() {
        assert_eq!(canonical_path(b"/100%25").unwrap(), "/100%25");
        assert_eq!(canonical_path(b"/50%25-off").unwrap(), "/50%25-off");
        assert_eq!(canonical_path(b"/50%25-1").unwrap(), "/50%25-1");
    }

    #[test]
    fn an_oddity_is_told_and_stays_what_it_was() {
        let cases: [(&[u8], &str, &[PathOddity]); 8] = [
            (b"/a%2fb", "/a%2Fb", &[PathOddity::EncodedSlash]),
            (b"/a\\b", "/a%5Cb", &[PathOddity::Backslash]),
            (b"/a%5cb", "/a%5Cb", &[PathOddity::Backslash]),
            (b"/a;b", "/a;b", &[PathOddity::Semicolon]),
            (b"/a%3bb", "/a%3Bb", &[PathOddity::Semicolon]),
            (b"/a//b//", "/a//b//", &[PathOddity::EmptySegment]),
            (b"/a%252fb", "/a%252fb", &[PathOddity::DoubleEncoding]),
            (
                b"/a;b%2Fc",
                "/a;b%2Fc",
                &[PathOddity::Semicolon, PathOddity::EncodedSlash],
            ),
        ];
        for (raw, text, oddities) in cases {
            let (path, found) = read_path(raw).unwrap();
            assert_eq!(path, text);
            assert_eq!(found, oddities.iter().copied().collect(), "{text}");
        }
        assert_eq!(read_path(b"/a/").unwrap().1, PathOddities::default());
    }

    #[test]
    fn an_odd_path_is_read_the_same_again_once_it_is_canonical() {
        for raw in ["/%25\\", "/%252\\", "/%25%5c", "/a;%25b", "/%25//\\%2f"] {
            let (path, found) = read_path(raw.as_bytes()).unwrap();
            let (again, found_again) = read_path(path.as_bytes()).unwrap();

            assert_eq!((&path, found), (&again, found_again), "{raw}");
        }
    }

    #[test]
    fn what_no_route_can_allow_is_named_by_its_oddity_until_that_is_allowed() {
        let cases: [(&str, Reason, Reason); 7] = [
            ("/a/..%2fb", Reason::PathEncodedSlash, Reason::PathDotSegment),
            ("/a/..;x", Reason::PathSemicolon, Reason::PathDotSegment),
            ("/a%5c..%5cb", Reason::PathBackslash, Reason::PathDotSegment),
            ("/%252e%252e/", Reason::PathDoubleEncoding, Reason::PathDotSegment),
            ("/a%2500", Reason::PathDoubleEncoding, Reason::PathControl),
            ("/a%25c0%25ae", Reason::PathDoubleEncoding, Reason::PathUtf8),
            ("/a;/..%2fb", Reason::PathSemicolon, Reason::PathDotSegment),
        ];
        for (raw, plain, allowed) in cases {
            let (_, oddities) = read_path(raw.as_bytes()).unwrap();
            assert_eq!(refused(raw), Some(plain), "{raw}");
            assert_eq!(
                oddities.within(PathOddity::ALL.into_iter().collect()),
                Err(allowed),
                "{raw}"
            );
        }
        // One opt-in of two: the other still names it.
        let (_, oddities) = read_path(b"/a;/..%2fb").unwrap();
        let semicolon = PathOddities::from_iter([PathOddity::Semicolon]);
        assert_eq!(oddities.within(semicolon), Err(Reason::PathEncodedSlash));
        for raw in ["//a", "/a;x/../b", "/a//../b"] {
            assert!(read_path(raw.as_bytes()).is_err(), "{raw}");
        }
    }

    proptest! {
        /// Making a path canonical twice gives the same as once, and never panics.
        #[test]
        fn canonical_is_a_fixed_point(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(once) = canonical_path(&raw) {
                let twice = canonical_path(once.as_bytes());
                prop_assert_eq!(twice.as_deref(), Ok(&*once));
            }
        }

        /// Whatever an endpoint decodes once more, no canonical path climbs, splits or hides a segment.
        #[test]
        fn no_canonical_path_hides_a_separator(raw in "/[a-c./%25efEF;\\\\#]{0,24}") {
            if let Ok(path) = canonical_path(raw.as_bytes()) {
                for segment in portcullis_model::path::segments(&path) {
                    let mut text = segment.to_owned();
                    for _ in 0..3 {
                        text = portcullis_model::path::decode(&text).into_owned();
                        prop_assert!(text != "." && text != "..");
                        prop_assert!(!text.contains(['/', '\\', ';', '\0']));
                    }
                }
            }
        }
    }
}
