//! HTTP/1.1 byte by byte: what is written is what a test says, and answers are read one at a time, so that the next
//! request can follow on the same connection.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::{Answer, Dial, Wire};
use super::gateway::PATIENCE;

/// One connection and what it brought that nobody has looked at yet.
pub struct RawConnection {
    wire: Box<dyn Wire>,
    ahead: Vec<u8>,
}

impl RawConnection {
    pub async fn open(dial: &Dial) -> Self {
        Self::over(dial.wire().await.unwrap())
    }

    /// Speaks over a stream that is there already.
    pub fn over(wire: Box<dyn Wire>) -> Self {
        Self {
            wire,
            ahead: Vec::new(),
        }
    }

    /// Writes; a gateway that stopped listening is no failure, its answer tells.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let is_written = self.wire.write_all(bytes).await.is_ok();
        is_written && self.wire.flush().await.is_ok()
    }

    /// Sends a whole request and reads its answer.
    pub async fn ask(&mut self, bytes: &[u8]) -> Answer {
        self.write(bytes).await;
        self.answer().await
    }

    /// The next answer, with a body where its head says so.
    pub async fn answer(&mut self) -> Answer {
        let (status, headers) = self.head().await;
        let whole = self.body_of(status, &headers).await;
        let (body, trailers) = whole.unwrap_or_else(|| panic!("{status} with a body that broke off"));
        Answer {
            status,
            headers,
            body,
            trailers,
        }
    }

    /// The next answer, when it arrives whole.
    pub async fn maybe_answer(&mut self) -> Option<Answer> {
        self.find(b"\r\n\r\n", 0).await?;
        let (status, headers) = self.head().await;
        let (body, trailers) = self.body_of(status, &headers).await?;
        Some(Answer {
            status,
            headers,
            body,
            trailers,
        })
    }

    /// The body that belongs to a head, and its trailers; `None` when it breaks off.
    pub async fn body_of(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<(Bytes, Option<HeaderMap>)> {
        if status.is_informational() || status == 204 || status == 304 {
            return Some((Bytes::new(), None));
        }
        if headers.contains_key("transfer-encoding") {
            return self.chunks().await;
        }
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        while self.ahead.len() < length {
            if !self.read().await {
                return None;
            }
        }
        Some((self.ahead.drain(..length).collect(), None))
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub async fn half_close(&mut self) {
        self.wire.shutdown().await.unwrap();
    }

    /// The head of the next answer.
    pub async fn head(&mut self) -> (StatusCode, HeaderMap) {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at;
            }
            assert!(
                self.read().await,
                "no whole answer: {:?}",
                String::from_utf8_lossy(&self.ahead)
            );
        };
        let head = String::from_utf8(self.ahead.drain(..end + 4).collect()).unwrap();
        let (line, fields) = head.split_once("\r\n").unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        (status, fields_of(fields))
    }

    async fn chunks(&mut self) -> Option<(Bytes, Option<HeaderMap>)> {
        let mut body = Vec::new();
        loop {
            let end = self.find(b"\r\n", 0).await?;
            let size = usize::from_str_radix(std::str::from_utf8(&self.ahead[..end]).unwrap(), 16).unwrap();
            if size == 0 {
                // The last line break of the section is that of its last field, or the one after the size.
                let section = self.find(b"\r\n\r\n", end).await?;
                let text: Vec<u8> = self.ahead.drain(..section + 4).skip(end + 2).collect();
                let trailers = fields_of(std::str::from_utf8(&text).unwrap());
                return Some((body.into(), (!trailers.is_empty()).then_some(trailers)));
            }
            while self.ahead.len() < end + 2 + size + 2 {
                if !self.read().await {
                    return None;
                }
            }
            body.extend_from_slice(&self.ahead[end + 2..end + 2 + size]);
            self.ahead.drain(..end + 2 + size + 2);
        }
    }

    /// Where these bytes are, from a place on.
    async fn find(&mut self, what: &[u8], from: usize) -> Option<usize> {
        loop {
            if let Some(at) = find(&self.ahead[from..], what) {
                return Some(from + at);
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// True when something came within this time.
    pub async fn peek(&mut self, wait: Duration) -> bool {
        let mut piece = [0; 1024];
        if let Ok(Ok(count @ 1..)) = timeout(wait, self.wire.read(&mut piece)).await {
            self.ahead.extend_from_slice(&piece[..count]);
        }
        !self.ahead.is_empty()
    }

    /// The next so many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.read().await, "only {:?} came", self.ahead);
        }
        self.ahead.drain(..count).collect()
    }

    /// Everything that still comes; `None` when the gateway does not close.
    pub async fn rest(&mut self) -> Option<Vec<u8>> {
        let closed = timeout(PATIENCE, async { while self.read().await {} }).await;
        closed.ok()?;
        Some(std::mem::take(&mut self.ahead))
    }

    /// One read; false at the end.
    async fn read(&mut self) -> bool {
        let mut piece = vec![0; 16 * 1024];
        let read = timeout(PATIENCE, self.wire.read(&mut piece))
            .await
            .expect("an answer");
        let Ok(count @ 1..) = read else { return false };
        self.ahead.extend_from_slice(&piece[..count]);
        true
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The fields of a head or trailer section.
fn fields_of(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            name.parse::<HeaderName>().unwrap(),
            value.trim().parse::<HeaderValue>().unwrap(),
        );
    }
    headers
}
