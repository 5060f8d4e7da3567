//! A client's socket, plain or under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::l4::stream::Stream as L4Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

/// A client's socket.
#[derive(Debug)]
pub(crate) enum ClientSocket {
    /// Plain TCP.
    Plain(Box<L4Stream>),
    /// TLS.
    Tls(Box<TlsStream<L4Stream>>),
}

/// Drained at most from a client whose request was refused before its body was read, so that it can read the answer.
const DRAIN_BYTES: usize = 64 * 1024;
/// Drained at most so long.
const DRAIN_TIME: Duration = Duration::from_secs(1);

impl ClientSocket {
    /// Writes what is left, half-closes, drains a bounded amount and closes, so that the last answer arrives.
    pub(crate) async fn close(mut self, unwritten: &[u8]) {
        let closing = async {
            self.write_all(unwritten).await?;
            self.flush().await?;
            self.shutdown().await?;
            let mut drained = 0;
            let mut sink = [0_u8; 4096];
            while drained < DRAIN_BYTES {
                match self.read(&mut sink).await? {
                    0 => break,
                    count => drained += count,
                }
            }
            io::Result::Ok(())
        };
        // Whatever goes wrong here, the connection ends by being dropped.
        let _ = tokio::time::timeout(DRAIN_TIME, closing).await;
    }

    /// Writes what is left of an answer that broke off, and drops the connection without a word of farewell, so that
    /// a client under TLS does not take the end of the connection for the end of the answer (RFC 9112 section 9.8).
    pub(crate) async fn cut(mut self, unwritten: &[u8]) {
        let writing = async {
            self.write_all(unwritten).await?;
            self.flush().await
        };
        // Whatever goes wrong here, the connection ends by being dropped.
        let _ = tokio::time::timeout(DRAIN_TIME, writing).await;
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = match self.get_mut() {
            Self::Plain(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        };
        match ready!(result) {
            // Many clients leave without a close_notify; framing, not the transport's end, delimits what we read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => Poll::Ready(other),
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(&mut **stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(&mut **stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(&mut **stream).poll_write_vectored(context, parts),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
