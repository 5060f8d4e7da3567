//! Where the frames of a WebSocket begin and end (RFC 6455 section 5.2), so that a word of ours can stand between two.
//!
//! Nothing is judged here: what an endpoint and its client say to each other passes as it is. A tunnel only has to be
//! able to end like one, with a close frame that neither side takes for a piece of something else.

/// The longest header: two bytes, a length of eight, a mask of four.
const MAX_HEADER: usize = 14;
/// The opcode of a close frame.
const CLOSE: u8 = 0x8;
/// The longest payload of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL: usize = 125;

/// One direction of a WebSocket: told every byte that passes, in any pieces.
#[derive(Clone, Debug, Default)]
pub struct FrameTracker {
    at: At,
    has_closed: bool,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug)]
enum At {
    /// In a header of which so many bytes came; between two frames when none did.
    Header { bytes: [u8; MAX_HEADER], have: usize },
    /// In a payload of which so many bytes are missing; more than none.
    Payload(u64),
    /// Nowhere: a length that the protocol does not have. There is no further boundary.
    Lost,
}

impl Default for At {
    fn default() -> Self {
        Self::Header {
            bytes: [0; MAX_HEADER],
            have: 0,
        }
    }
}

impl FrameTracker {
    /// These bytes passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.take(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Passes the rest of the frame under way and nothing more: how many of these bytes that is.
    pub fn finish(&mut self, bytes: &[u8]) -> usize {
        if self.is_between() {
            return 0;
        }
        self.take(bytes)
    }

    /// True between two frames, and before the first.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        matches!(self.at, At::Header { have: 0, .. })
    }

    /// True once a close frame has begun: nothing may follow it (RFC 6455 section 5.5.1).
    #[must_use]
    pub const fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Takes bytes up to the end of one frame at most; all of them when it does not end in them.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        if let At::Header { bytes: header, have } = &mut self.at {
            while taken < bytes.len() && *have < header_len(header, *have) {
                if let (Some(slot), Some(byte)) = (header.get_mut(*have), bytes.get(taken)) {
                    *slot = *byte;
                }
                *have += 1;
                taken += 1;
            }
            if *have < header_len(header, *have) {
                return taken;
            }
            let [first, ..] = *header;
            self.has_closed |= first & 0x0f == CLOSE;
            self.at = match payload_len(header) {
                Some(0) => At::default(),
                Some(len) => At::Payload(len),
                None => At::Lost,
            };
        }
        let rest = (bytes.len() - taken) as u64;
        match self.at {
            At::Header { .. } => taken,
            At::Payload(missing) if missing > rest => {
                self.at = At::Payload(missing - rest);
                bytes.len()
            }
            At::Payload(missing) => {
                self.at = At::default();
                // It is at most the rest, which is a length in memory.
                taken + usize::try_from(missing).unwrap_or(usize::MAX)
            }
            At::Lost => bytes.len(),
        }
    }
}

/// How long the header is, as far as what came of it tells.
const fn header_len(header: &[u8; MAX_HEADER], have: usize) -> usize {
    if have < 2 {
        return 2;
    }
    let [_, second, ..] = *header;
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

/// The length of the payload; `None` when its first bit is set (RFC 6455 section 5.2).
const fn payload_len(header: &[u8; MAX_HEADER]) -> Option<u64> {
    let [_, second, a, b, c, d, e, f, g, h, ..] = *header;
    match second & 0x7f {
        126 => Some(u16::from_be_bytes([a, b]) as u64),
        127 => {
            let len = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            if len >> 63 == 0 { Some(len) } else { None }
        }
        short => Some(short as u64),
    }
}

/// A close frame with its status and a reason, which is cut where it does not fit; masked toward an endpoint, because
/// there the gateway is the client (RFC 6455 sections 5.3 and 5.5.1).
#[must_use]
pub fn close_frame(status: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut end = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default();
    let status = status.to_be_bytes();
    let payload = status.iter().chain(reason.as_bytes()).copied();
    // At most 125, which is a length of seven bits.
    let len = u8::try_from(2 + reason.len()).unwrap_or(2);
    let mut frame = Vec::with_capacity(6 + usize::from(len));
    frame.push(0x80 | CLOSE);
    match mask {
        None => {
            frame.push(len);
            frame.extend(payload);
        }
        Some(mask) => {
            frame.push(0x80 | len);
            frame.extend_from_slice(&mask);
            frame.extend(payload.zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
    frame
}
