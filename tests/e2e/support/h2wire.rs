//! HTTP/2 frame by frame: what is sent is what a test says, in any order, however wrong.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};

use super::client::{Dial, Wire};
use super::gateway::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, Default)]
pub struct End {
    /// The code of the last GOAWAY.
    pub goaway: Option<u32>,
    /// Streams that the gateway reset, with their codes.
    pub resets: Vec<(u32, u32)>,
    /// Answers: stream and the first bytes of its head.
    pub answers: Vec<(u32, Vec<u8>)>,
    /// True when the gateway closed.
    pub is_closed: bool,
}

/// One connection's frames, read and written.
pub struct H2Wire {
    reading: Reading,
    writing: WriteHalf<Box<dyn Wire>>,
}

/// The half that reads.
pub struct Reading {
    wire: ReadHalf<Box<dyn Wire>>,
    ahead: Vec<u8>,
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of SETTINGS: numbers and values.
pub fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
    settings.iter().flat_map(one).collect()
}

/// A head in HPACK's plainest form: literals that nobody remembers (RFC 7541 6.2.2).
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

/// A string without Huffman coding.
pub fn string(block: &mut Vec<u8>, text: &[u8]) {
    integer(block, 0, 7, text.len());
    block.extend_from_slice(text);
}

/// An integer with a prefix of so many bits (RFC 7541 5.1).
pub fn integer(block: &mut Vec<u8>, pattern: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        block.push(pattern | u8::try_from(value).unwrap());
        return;
    }
    block.push(pattern | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The pseudo-header fields of a request.
pub fn request<'a>(method: &'a str, target: &'a str, authority: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", authority),
        (":path", target),
    ]
}

/// A whole GET.
pub fn get(stream: u32, target: &str, authority: &str) -> Vec<u8> {
    let block = fields(&request("GET", target, authority));
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

impl H2Wire {
    /// Connects, says the preface with these settings, and acknowledges the gateway's.
    pub async fn open(dial: &Dial, settings: &[(u16, u32)]) -> Self {
        let (reading, writing) = tokio::io::split(dial.wire().await.unwrap());
        let mut wire = Self {
            reading: Reading {
                wire: reading,
                ahead: Vec::new(),
            },
            writing,
        };
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &self::settings(settings)));
        assert!(wire.write(&hello).await);
        loop {
            let said = wire.frame().await.expect("the gateway's settings");
            if said.kind == SETTINGS && said.flags & ACK == 0 {
                break;
            }
        }
        assert!(wire.write(&frame(SETTINGS, ACK, 0, &[])).await);
        wire
    }

    /// False when the gateway no longer takes bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        write(&mut self.writing, bytes).await
    }

    pub async fn frame(&mut self) -> Option<Frame> {
        self.reading.frame().await
    }

    /// Reads until the gateway closes or this time is over.
    pub async fn end(&mut self, within: Duration) -> End {
        self.reading.end(within).await
    }

    /// The first bytes of the head of the answer on this stream; panics when the stream is reset instead.
    pub async fn answer(&mut self, stream: u32) -> Vec<u8> {
        loop {
            let frame = self.frame().await.expect("an answer");
            assert!(
                !(frame.kind == RST_STREAM && frame.stream == stream) && frame.kind != GOAWAY,
                "{frame:?} instead of an answer"
            );
            if frame.kind == HEADERS && frame.stream == stream {
                return frame.payload;
            }
        }
    }

    /// Writes what `next` gives until the gateway ends the connection or nothing is left; both directions at once.
    pub async fn flood(self, mut next: impl FnMut() -> Option<Vec<u8>> + Send + 'static) -> End {
        let Self {
            mut reading,
            mut writing,
        } = self;
        let writer = tokio::spawn(async move {
            while let Some(bytes) = next() {
                if !write(&mut writing, &bytes).await {
                    break;
                }
            }
            writing
        });
        let end = reading.end(PATIENCE).await;
        writer.abort();
        end
    }

    /// The same by somebody who reads nothing until it is over.
    pub async fn flood_unread(mut self, mut next: impl FnMut() -> Option<Vec<u8>>) -> End {
        let deadline = Instant::now() + PATIENCE;
        while let Some(bytes) = next() {
            let is_taken = timeout(Duration::from_secs(2), write(&mut self.writing, &bytes)).await;
            if !matches!(is_taken, Ok(true)) || Instant::now() > deadline {
                break;
            }
        }
        self.reading.end(PATIENCE).await
    }
}

impl Reading {
    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.next()).await.expect("a frame")
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(head) = self.ahead.first_chunk::<9>() {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                if self.ahead.len() >= 9 + length {
                    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
                    let (kind, flags) = (head[3], head[4]);
                    let payload = self.ahead.drain(..9 + length).skip(9).collect();
                    return Some(Frame {
                        kind,
                        flags,
                        stream,
                        payload,
                    });
                }
            }
            if !matches!(self.wire.read_buf(&mut self.ahead).await, Ok(1..)) {
                return None;
            }
        }
    }

    async fn end(&mut self, within: Duration) -> End {
        let mut end = End::default();
        let deadline = Instant::now() + within;
        loop {
            let Ok(next) = tokio::time::timeout_at(deadline, self.next()).await else {
                return end;
            };
            let Some(frame) = next else {
                end.is_closed = true;
                return end;
            };
            let word = |at: usize| {
                let bytes = frame.payload.get(at..at + 4).unwrap();
                u32::from_be_bytes(bytes.try_into().unwrap())
            };
            match frame.kind {
                GOAWAY => end.goaway = Some(word(4)),
                RST_STREAM => end.resets.push((frame.stream, word(0))),
                HEADERS => end.answers.push((frame.stream, frame.payload)),
                _ => {}
            }
        }
    }
}

async fn write(wire: &mut WriteHalf<Box<dyn Wire>>, bytes: &[u8]) -> bool {
    wire.write_all(bytes).await.is_ok() && wire.flush().await.is_ok()
}
