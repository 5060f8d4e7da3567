//! What a path may hold although endpoints read it in more than one way: refused, unless the route that is asked
//! says that its endpoint reads exactly that the way we do.
//!
//! What no reading can make safe is not offered: a dot segment in whatever layer or notation, control bytes, text
//! that is not UTF-8, two slashes at the start.

use portcullis_model::Reason;

/// One way in which a path can be read twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathOddity {
    /// `%2F`: part of a segment, or a separator.
    EncodedSlash,
    /// `%5C`, or `\` written as itself, which leaves as `%5C`: a letter, or a separator.
    Backslash,
    /// `;`, as itself or as `%3B`: a letter, or the start of parameters that are cut off.
    Semicolon,
    /// `//` after the first segment: an empty segment, or one slash.
    EmptySegment,
    /// `%25` before two digits: a percent sign, or another layer of encoding.
    DoubleEncoding,
}

impl PathOddity {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::EncodedSlash,
        Self::Backslash,
        Self::Semicolon,
        Self::EmptySegment,
        Self::DoubleEncoding,
    ];

    /// As it is written in a configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EncodedSlash => "encoded-slash",
            Self::Backslash => "backslash",
            Self::Semicolon => "semicolon",
            Self::EmptySegment => "empty-segment",
            Self::DoubleEncoding => "double-encoding",
        }
    }

    /// Why a request is refused whose route does not allow it.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::EncodedSlash => Reason::PathEncodedSlash,
            Self::Backslash => Reason::PathBackslash,
            Self::Semicolon => Reason::PathSemicolon,
            Self::EmptySegment => Reason::PathEmptySegment,
            Self::DoubleEncoding => Reason::PathDoubleEncoding,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PathOddities {
    bits: u8,
    /// The one that came first, which names the refusal.
    first: Option<PathOddity>,
    /// Why it is refused whatever is allowed, once nothing else is the matter.
    never: Option<Reason>,
}

impl PathOddities {
    /// Adds one.
    pub const fn insert(&mut self, oddity: PathOddity) {
        self.bits |= oddity.bit();
        if self.first.is_none() {
            self.first = Some(oddity);
        }
    }

    /// Lets no opt-in make them safe.
    pub(super) const fn forbid(&mut self, reason: Reason) {
        self.never = Some(reason);
    }

    /// Whether one is among them.
    #[must_use]
    pub const fn contains(self, oddity: PathOddity) -> bool {
        self.bits & oddity.bit() != 0
    }

    /// True for nearly every path.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Whether all of them are allowed, and may be.
    ///
    /// # Errors
    /// The reason of the first that is not allowed, the one that came first in the path before all others; where all
    /// are, why no opt-in makes this path safe.
    pub fn within(self, allowed: Self) -> Result<(), Reason> {
        let outside = |oddity: &PathOddity| self.contains(*oddity) && !allowed.contains(*oddity);
        match self.first.into_iter().chain(PathOddity::ALL).find(outside) {
            Some(oddity) => Err(oddity.reason()),
            None => self.never.map_or(Ok(()), Err),
        }
    }
}

impl FromIterator<PathOddity> for PathOddities {
    fn from_iter<I: IntoIterator<Item = PathOddity>>(oddities: I) -> Self {
        let mut set = Self::default();
        oddities.into_iter().for_each(|oddity| set.insert(oddity));
        set
    }
}

/// How many layers of encoding are looked through; a path with more is refused for that alone.
const LAYERS: usize = 4;

/// Why no opt-in makes an odd path safe: some reading of it climbs, or ends in what no path may hold, whatever layers
/// are decoded, whichever of the separators is taken for one, and parameters cut off or not.
pub(super) fn treachery(path: &str) -> Option<Reason> {
    let mut layer = path.as_bytes().to_vec();
    for _ in 0..LAYERS {
        if layer.iter().any(u8::is_ascii_control) {
            return Some(Reason::PathControl);
        }
        if std::str::from_utf8(&layer).is_err() {
            return Some(Reason::PathUtf8);
        }
        let mut segments = layer.split(|byte| matches!(byte, b'/' | b'\\'));
        if segments.any(|segment| {
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            matches!(name, b"." | b"..")
        }) {
            return Some(Reason::PathDotSegment);
        }
        let decoded = decode(&layer);
        if decoded == layer {
            return None;
        }
        layer = decoded;
    }
    Some(Reason::PathDoubleEncoding)
}

/// Takes one layer of encoding away; what is no encoding stays.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let value = match (byte, after) {
            (b'%', [high, low, ..]) => {
                portcullis_model::path::hex(*high).zip(portcullis_model::path::hex(*low))
            }
            _ => None,
        };
        match value {
            Some((high, low)) => {
                decoded.push(high * 16 + low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_named_by_what_came_first() {
        let found = PathOddities::from_iter([PathOddity::Semicolon, PathOddity::EncodedSlash]);

        assert_eq!(found.within(PathOddities::default()), Err(Reason::PathSemicolon));
        assert_eq!(
            found.within([PathOddity::Semicolon].into_iter().collect()),
            Err(Reason::PathEncodedSlash)
        );
        assert_eq!(found.within(found), Ok(()));
        assert_eq!(PathOddities::default().within(PathOddities::default()), Ok(()));
    }

    #[test]
    fn allowing_one_allows_no_other() {
        for allowed in PathOddity::ALL {
            for found in PathOddity::ALL {
                let verdict = PathOddities::from_iter([found]).within(PathOddities::from_iter([allowed]));
                assert_eq!(verdict.is_ok(), found == allowed, "{found:?} {allowed:?}");
            }
        }
    }

    #[test]
    fn every_reading_that_climbs_is_found() {
        for path in [
            "/a/..%2Fb",
            "/a%2F..%2Fb",
            "/a%5C..",
            "/a/..;x/b",
            "/a/.;x",
            "/a/%252E%252E/b",
            "/a/..%253Bx",
            "/a%252F..%252Fb",
        ] {
            assert_eq!(treachery(path), Some(Reason::PathDotSegment), "{path}");
        }
        for path in [
            "/a%2Fb",
            "/a;x=1/b",
            "/a%5Cb",
            "/a//b",
            "/a/..b%2Fc",
            "/100%2525",
            "/a%252Fb",
            "/a;..",
            "/%252",
        ] {
            assert_eq!(treachery(path), None, "{path}");
        }
    }

    #[test]
    fn what_a_layer_hides_is_named() {
        let cases = [
            ("/a%2500", Reason::PathControl),
            ("/a%250A", Reason::PathControl),
            ("/a%25FF", Reason::PathUtf8),
            ("/a%25C0%25AE", Reason::PathUtf8),
            // More layers than are looked through.
            ("/a/%2525252E", Reason::PathDoubleEncoding),
            ("/a%2525252525252525", Reason::PathDoubleEncoding),
        ];
        for (path, reason) in cases {
            assert_eq!(treachery(path), Some(reason), "{path}");
        }
    }
}
