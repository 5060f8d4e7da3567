//! A client made of frames.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use super::house::PATIENCE;
use crate::client::h2::frames::{flag, kind};

/// `:method GET`, `:scheme https`, `:authority a`, `:path /`, each a byte or three of HPACK.
pub(super) const HEAD: &[u8] = &[0x82, 0x87, 0x84, 0x01, 0x01, b'a'];
/// The same with `:path /hang`.
pub(super) const HANGING_HEAD: &[u8] = &[
    0x82, 0x87, 0x04, 0x05, b'/', b'h', b'a', b'n', b'g', 0x01, 0x01, b'a',
];
/// The same with `:path /big`.
pub(super) const BIG_HEAD: &[u8] = &[0x82, 0x87, 0x04, 0x04, b'/', b'b', b'i', b'g', 0x01, 0x01, b'a'];
/// The same with `:path /tired`.
pub(super) const TIRED_HEAD: &[u8] = &[
    0x82, 0x87, 0x04, 0x06, b'/', b't', b'i', b'r', b'e', b'd', 0x01, 0x01, b'a',
];

/// A frame that came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Came {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Came {
    /// The code of a RST_STREAM or a GOAWAY.
    pub(super) fn code(&self) -> h2::Reason {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap()).into()
    }
}

/// A client made of frames.
pub(super) struct Raw {
    pub(super) pipe: DuplexStream,
}

/// A frame's bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A request without a body.
pub(super) fn request(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, block)
}

impl Raw {
    /// A client that has greeted with these settings.
    pub(super) async fn greet(pipe: DuplexStream, settings: &[u8]) -> Self {
        let mut raw = Self { pipe };
        raw.pipe
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        raw.send(&frame(kind::SETTINGS, 0, 0, settings)).await;
        raw.send(&frame(kind::SETTINGS, flag::ACK, 0, &[])).await;
        raw
    }

    /// Sends bytes; a connection that was closed takes none.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.pipe.write_all(bytes))
            .await
            .expect("takes bytes");
    }

    /// The next frame; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Came> {
        let mut head = [0; 9];
        let read = timeout(PATIENCE, self.pipe.read_exact(&mut head)).await;
        read.expect("says something").ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        self.pipe.read_exact(&mut payload).await.ok()?;
        Some(Came {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The next frame of this kind.
    pub(super) async fn next_of(&mut self, kind: u8) -> Came {
        loop {
            let came = self.next().await.expect("a frame before the end");
            if came.kind == kind {
                return came;
            }
        }
    }

    /// The connection answers still.
    pub(super) async fn is_alive(&mut self) -> bool {
        let word = *b"areyouup";
        self.send(&frame(kind::PING, 0, 0, &word)).await;
        loop {
            match self.next().await {
                Some(came) if came.kind == kind::PING && came.payload == word => return true,
                Some(came) if came.kind == kind::GOAWAY => return false,
                Some(_) => {}
                None => return false,
            }
        }
    }
}
