//! An HTTP/1.1 exchange with an endpoint: Pingora's parser reads, we write, and the head waits for the body's
//! verdict where there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, StatusCode};
use pingora_core::protocols::http::custom::BodyWrite;
use pingora_core::protocols::http::v1::client::{HttpSession, http_req_header_to_wire};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use tokio::time::timeout;

use super::Attempt;
use super::pool::IDLE_TIME;
use super::stream::{ReadSide, SharedStream};
use crate::link::RequestLink;

/// The two sides agree on whether the connection can be used again.
#[derive(Debug, Default)]
struct Outgoing {
    has_left: AtomicBool,
    is_whole: AtomicBool,
    is_broken: AtomicBool,
}

/// One exchange.
pub(crate) struct H1Exchange {
    pub(crate) parser: HttpSession,
    stream: SharedStream,
    outgoing: Arc<Outgoing>,
    writer: Option<H1Writer>,
    /// True once a final head was read: before, the parser panics when it is asked about the body.
    is_head_read: bool,
}

impl H1Exchange {
    /// An exchange on a connection nobody else uses.
    pub(crate) fn new(stream: SharedStream) -> Self {
        let parser = HttpSession::new(Box::new(ReadSide(stream.clone())));
        Self {
            parser,
            stream,
            outgoing: Arc::default(),
            writer: None,
            is_head_read: false,
        }
    }

    /// Sends the head, or keeps it where it must wait for the body.
    pub(crate) async fn send_head(
        &mut self,
        mut head: Box<RequestHeader>,
        is_end: bool,
        link: &Arc<RequestLink>,
        attempt: &Arc<Attempt>,
    ) -> Result<()> {
        // Only HTTP/2 carries trailers here.
        head.remove_header(&http::header::TE);
        let mut bytes = http_req_header_to_wire(&head).ok_or_else(|| {
            Error::explain(
                ErrorType::InvalidHTTPHeader,
                "the outgoing head cannot be written",
            )
        })?;
        // The blank line comes after the framing field, and that field only when the body is known.
        bytes.truncate(bytes.len().saturating_sub(2));
        let expects_body = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
        let is_upgrade = attempt.facts.is_upgrade;
        let length = attempt.facts.length;
        // The parser needs the request only to understand the answer; what it writes is dropped.
        self.parser.write_request_header(head).await?;
        let mut writer = H1Writer {
            stream: self.stream.clone(),
            pending: bytes,
            framing: Framing::Corked,
            outgoing: Arc::clone(&self.outgoing),
            link: Arc::clone(link),
            attempt: Arc::clone(attempt),
        };
        if is_end {
            writer.open(if expects_body && !is_upgrade {
                Framing::Length(0)
            } else {
                Framing::Nothing
            });
            writer.send(&[]).await;
            self.outgoing.is_whole.store(true, Ordering::Release);
        } else if !attempt.facts.is_corked {
            writer.open(length.map_or(Framing::Chunked, Framing::Length));
            writer.send(&[]).await;
        }
        self.writer = Some(writer);
        Ok(())
    }

    /// The writing side, once.
    pub(crate) fn take_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        self.writer
            .take()
            .map(|writer| Box::new(writer) as Box<dyn BodyWrite>)
    }

    /// The connection, when another request may use it, and for how long it may wait.
    pub(crate) async fn into_idle(mut self) -> Option<(SharedStream, Duration)> {
        if !self.outgoing.has_left.load(Ordering::Acquire) {
            // A refused body: the connection is as clean as it was.
            return Some((self.stream, IDLE_TIME));
        }
        if !self.is_head_read {
            return None;
        }
        let is_whole = self.outgoing.is_whole.load(Ordering::Acquire);
        if !is_whole || self.outgoing.is_broken.load(Ordering::Acquire) || !self.parser.is_body_done() {
            return None;
        }
        self.parser.respect_keepalive();
        let time = endpoint_patience(self.parser.get_header_bytes("keep-alive"));
        self.parser.reuse().await.map(|_| (self.stream, time))
    }

    /// Reads the next response head, an interim one or the final one.
    pub(crate) async fn read_head(&mut self) -> Result<StatusCode> {
        self.parser.read_response().await?;
        let status = self.parser.resp_header().map(|head| head.status);
        let status =
            status.ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "no response head"))?;
        self.is_head_read = true;
        Ok(status)
    }

    /// Reads a piece of the body; `None` at its end.
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>> {
        self.parser.read_body_bytes().await
    }

    /// True when nothing follows.
    pub(crate) fn is_over(&mut self) -> bool {
        self.is_head_read && self.parser.is_body_done()
    }
}

/// How long an endpoint says it keeps an idle connection (`Keep-Alive: timeout=5`), less a margin for the way.
fn endpoint_patience(field: &[u8]) -> Duration {
    let text = std::str::from_utf8(field).unwrap_or_default();
    let seconds = text
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout=")?.parse::<u64>().ok());
    seconds.map_or(IDLE_TIME, |seconds| {
        Duration::from_secs(seconds).saturating_sub(Duration::from_secs(1))
    })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// Nothing has left.
    Corked,
    /// There is no body.
    Nothing,
    /// So many bytes are missing.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The connection is a tunnel.
    Raw,
}

/// The writing side. It never fails: an endpoint that stops reading may have answered already, and the reading side
/// decides what that answer is worth.
struct H1Writer {
    stream: SharedStream,
    /// The head without its blank line while corked.
    pending: BytesMut,
    framing: Framing,
    outgoing: Arc<Outgoing>,
    link: Arc<RequestLink>,
    attempt: Arc<Attempt>,
}

impl H1Writer {
    /// Ends the head with its framing field.
    fn open(&mut self, framing: Framing) {
        self.framing = framing;
        match framing {
            Framing::Corked | Framing::Nothing | Framing::Raw => {}
            Framing::Length(length) => self
                .pending
                .put_slice(format!("content-length: {length}\r\n").as_bytes()),
            Framing::Chunked => self.pending.put_slice(b"transfer-encoding: chunked\r\n"),
        }
        self.pending.put_slice(b"\r\n");
    }

    /// Writes the pending bytes and these.
    async fn send(&mut self, bytes: &[u8]) {
        let mut pending = std::mem::take(&mut self.pending);
        if self.outgoing.is_broken.load(Ordering::Acquire) {
            return;
        }
        self.outgoing.has_left.store(true, Ordering::Release);
        self.attempt.head_leaves();
        let limit = self.attempt.facts.target.idle_timeout;
        let work = async {
            if pending.is_empty() {
                return self.stream.send(bytes).await;
            }
            pending.put_slice(bytes);
            self.stream.send(&pending).await
        };
        if !matches!(self.link.body().paused(timeout(limit, work)).await, Ok(Ok(()))) {
            self.outgoing.is_broken.store(true, Ordering::Release);
        }
    }
}

#[async_trait]
impl BodyWrite for H1Writer {
    async fn write_all_buf(&mut self, data: &mut Bytes) -> Result<()> {
        let piece = std::mem::take(data);
        if self.framing == Framing::Corked {
            // Released whole: the length is known now, whatever the client said before.
            self.open(Framing::Length(piece.len() as u64));
        }
        match &mut self.framing {
            Framing::Corked | Framing::Nothing => {}
            Framing::Raw => self.send(&piece).await,
            Framing::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                *left -= taken as u64;
                self.send(piece.get(..taken).unwrap_or_default()).await;
            }
            Framing::Chunked if piece.is_empty() => {}
            Framing::Chunked => {
                self.pending
                    .put_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                self.pending.put_slice(&piece);
                self.pending.put_slice(b"\r\n");
                self.send(&[]).await;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        match self.framing {
            Framing::Corked => {
                self.open(Framing::Length(0));
                self.send(&[]).await;
            }
            Framing::Chunked => self.send(b"0\r\n\r\n").await,
            Framing::Nothing | Framing::Length(_) | Framing::Raw => {}
        }
        let is_whole = matches!(
            self.framing,
            Framing::Nothing | Framing::Length(0) | Framing::Chunked
        );
        self.outgoing.is_whole.store(is_whole, Ordering::Release);
        Ok(())
    }

    async fn cleanup(&mut self) -> Result<()> {
        Ok(())
    }

    fn upgrade_body_writer(&mut self) {
        self.framing = Framing::Raw;
        self.outgoing.is_whole.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoints_own_patience_bounds_ours() {
        assert_eq!(endpoint_patience(b"timeout=5, max=100"), Duration::from_secs(4));
        assert_eq!(endpoint_patience(b"timeout=0"), Duration::ZERO);
        assert_eq!(endpoint_patience(b""), IDLE_TIME);
    }
}
