//! HTTP/1.1 by hand: a request's bytes out, an answer's status and body in.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Wire;
use crate::Result;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A connection that stays open.
pub(crate) struct Connection {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
}

/// A request's bytes.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench/1\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Connection {
    pub(crate) fn new(wire: Box<dyn Wire>) -> Self {
        Self {
            wire,
            buffer: Vec::with_capacity(4096),
        }
    }

    pub(crate) fn wire_mut(&mut self) -> &mut dyn Wire {
        &mut *self.wire
    }

    /// One request, one whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        let failed = |error: std::io::Error| format!("the connection broke: {error}");
        self.wire.write_all(request).await.map_err(failed)?;
        self.wire.flush().await.map_err(failed)?;
        self.buffer.clear();
        let (head, status, length) = loop {
            self.more().await?;
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
                break (end + 4, status(&head)?, length(&head));
            }
        };
        let Some(length) = length else {
            return self.chunked(head, status).await;
        };
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        Ok(Answer {
            status,
            body: self.buffer[head..head + length].to_vec(),
        })
    }

    async fn chunked(&mut self, head: usize, status: u16) -> Result<Answer> {
        let mut body = Vec::new();
        let mut at = head;
        loop {
            let line = loop {
                match self.buffer[at..].windows(2).position(|two| two == b"\r\n") {
                    Some(end) => break at + end,
                    None => self.more().await?,
                }
            };
            let digits = String::from_utf8_lossy(&self.buffer[at..line]).into_owned();
            let size =
                usize::from_str_radix(digits.trim(), 16).map_err(|_| format!("\"{digits}\" is no chunk"))?;
            let end = line + 2 + size + 2;
            while self.buffer.len() < end {
                self.more().await?;
            }
            body.extend_from_slice(&self.buffer[line + 2..line + 2 + size]);
            at = end;
            if size == 0 {
                return Ok(Answer { status, body });
            }
        }
    }

    async fn more(&mut self) -> Result<()> {
        match self.wire.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection was closed before the answer".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the connection broke: {error}")),
        }
    }
}

fn status(head: &str) -> Result<u16> {
    head.split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("no status in \"{head}\""))
}

/// The body's length; `None` for a chunked one.
fn length(head: &str) -> Option<usize> {
    if head.contains("\r\ntransfer-encoding: chunked") {
        return None;
    }
    let value = head
        .split("\r\ncontent-length:")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    Some(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
}
