//! A byte stream cut into HTTP/2 frames (RFC 9113 section 4.1), whatever pieces it arrives in; payloads are skipped.

/// Octets of a frame's header.
const HEAD: usize = 9;
/// Octets of the client's connection preface (RFC 9113 section 3.4); the protocol engine compares them.
pub(crate) const PREFACE: usize = 24;
/// Octets of a payload that anybody here looks at: an increment or a code.
const PEEK: usize = 4;

/// Types of frames (RFC 9113 section 6, RFC 9218 section 7.1).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const PRIORITY_UPDATE: u8 = 16;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// A frame as soon as what is looked at of it is here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Frame {
    /// Its type.
    pub(crate) kind: u8,
    /// Its flags.
    pub(crate) flags: u8,
    /// Its stream.
    pub(crate) stream: u32,
    /// Octets of its payload.
    pub(crate) len: usize,
    /// The start of the payload, zero where it is shorter.
    pub(crate) peek: [u8; PEEK],
}

impl Frame {
    /// True when the flag is set.
    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The first four octets of the payload.
    pub(crate) const fn word(&self) -> u32 {
        u32::from_be_bytes(self.peek)
    }

    /// How much of the payload must be here before the frame is told.
    fn wanted(&self) -> usize {
        let wanted = match self.kind {
            kind::DATA if self.has(flag::PADDED) => 1,
            kind::RST_STREAM | kind::WINDOW_UPDATE => 4,
            _ => 0,
        };
        wanted.min(self.len)
    }
}

/// Where in the stream we are.
#[derive(Clone, Debug)]
pub(crate) struct FrameScanner {
    preface_left: usize,
    head: [u8; HEAD],
    head_len: usize,
    frame: Frame,
    peek_len: usize,
    is_told: bool,
    /// Octets of the payload that are still to come.
    left: usize,
}

impl FrameScanner {
    /// A scanner that skips so many octets first.
    pub(crate) const fn new(preface: usize) -> Self {
        Self {
            preface_left: preface,
            head: [0; HEAD],
            head_len: 0,
            frame: Frame {
                kind: 0,
                flags: 0,
                stream: 0,
                len: 0,
                peek: [0; PEEK],
            },
            peek_len: 0,
            is_told: true,
            left: 0,
        }
    }

    /// The frame whose octets are incomplete; `None` between frames. Its type is unknown while its header is.
    pub(crate) const fn unfinished(&self) -> Option<Option<u8>> {
        if self.head_len > 0 && self.head_len < HEAD {
            return Some(None);
        }
        if self.left > 0 {
            return Some(Some(self.frame.kind));
        }
        None
    }

    /// The next frame of these bytes, which are shortened by what was looked at; `None` when they are used up.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        take(bytes, &mut self.preface_left);
        loop {
            if self.is_told && self.left > 0 {
                take(bytes, &mut self.left);
            }
            if bytes.is_empty() {
                return None;
            }
            if self.is_told {
                self.read_head(bytes)?;
            }
            self.read_peek(bytes);
            if self.peek_len >= self.frame.wanted() {
                self.is_told = true;
                return Some(self.frame);
            }
        }
    }

    /// Collects a frame's header.
    fn read_head(&mut self, bytes: &mut &[u8]) -> Option<()> {
        if self.head_len == HEAD {
            self.head_len = 0;
        }
        while let Some(slot) = self.head.get_mut(self.head_len) {
            let (first, rest) = bytes.split_first()?;
            *slot = *first;
            *bytes = rest;
            self.head_len += 1;
        }
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.head;
        self.frame = Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            len: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            peek: [0; PEEK],
        };
        self.left = self.frame.len;
        self.peek_len = 0;
        self.is_told = false;
        Some(())
    }

    /// Collects the start of its payload.
    fn read_peek(&mut self, bytes: &mut &[u8]) {
        let wanted = self.frame.wanted();
        while self.peek_len < wanted {
            let (Some((first, rest)), Some(slot)) =
                (bytes.split_first(), self.frame.peek.get_mut(self.peek_len))
            else {
                return;
            };
            *slot = *first;
            *bytes = rest;
            self.peek_len += 1;
            self.left -= 1;
        }
    }
}

/// Drops up to `left` bytes from the front.
fn take(bytes: &mut &[u8], left: &mut usize) {
    let count = bytes.len().min(*left);
    *bytes = bytes.get(count..).unwrap_or_default();
    *left -= count;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    /// A frame's bytes.
    fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn scan(scanner: &mut FrameScanner, mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = scanner.next(&mut bytes) {
            frames.push(frame);
        }
        assert!(bytes.is_empty());
        frames
    }

    #[test]
    fn a_window_update_is_told_with_its_increment() {
        let mut scanner = FrameScanner::new(0);

        let frames = scan(&mut scanner, &encode(kind::WINDOW_UPDATE, 0, 5, &[0, 1, 0, 2]));

        assert_eq!(frames.len(), 1);
        assert_eq!((frames[0].stream, frames[0].word()), (5, 0x1_0002));
        assert_eq!(scanner.unfinished(), None);
    }

    #[test]
    fn a_frame_shorter_than_it_must_be_is_told_all_the_same() {
        let mut scanner = FrameScanner::new(0);

        let bytes = [
            encode(kind::WINDOW_UPDATE, 0, 5, &[1]),
            encode(kind::PING, 0, 0, &[]),
        ]
        .concat();

        assert_eq!(scan(&mut scanner, &bytes).len(), 2);
    }

    #[test]
    fn an_unfinished_frame_is_seen_as_such() {
        let bytes = encode(kind::HEADERS, 0, 1, &[0; 20]);
        let mut scanner = FrameScanner::new(0);

        scan(&mut scanner, &bytes[..4]);
        assert_eq!(scanner.unfinished(), Some(None));
        scan(&mut scanner, &bytes[4..12]);
        assert_eq!(scanner.unfinished(), Some(Some(kind::HEADERS)));
        scan(&mut scanner, &bytes[12..]);
        assert_eq!(scanner.unfinished(), None);
    }

    proptest! {
        /// The frames told do not depend on how the bytes are cut, and are those that were encoded.
        #[test]
        fn the_frames_do_not_depend_on_the_cuts(
            frames in prop::collection::vec((0_u8..18, any::<u8>(), 0_u32..1 << 31, prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            cuts in prop::collection::vec(1_usize..30, 1..40),
            preface in prop::sample::select(vec![0_usize, PREFACE]),
        ) {
            let mut bytes = vec![b'P'; preface];
            for (kind, flags, stream, payload) in &frames {
                bytes.extend(encode(*kind, *flags, *stream, payload));
            }
            let mut scanner = FrameScanner::new(preface);
            let (mut seen, mut rest, mut cuts) = (Vec::new(), bytes.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                seen.extend(scan(&mut scanner, piece));
                rest = after;
            }
            let told: Vec<_> = seen.iter().map(|frame| (frame.kind, frame.flags, frame.stream, frame.len)).collect();
            let meant: Vec<_> = frames.iter().map(|(kind, flags, stream, payload)| (*kind, *flags, *stream, payload.len())).collect();
            prop_assert_eq!(told, meant);
            prop_assert_eq!(scanner.unfinished(), None);
        }
    }
}
