//! A client's socket, plain or under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::wire::pingora_stream;

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
    /// Reads some bytes into a buffer that only grows when there is something to read.
    pub(crate) fn poll_read_some(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        chunk: usize,
    ) -> Poll<io::Result<usize>> {
        let mut piece = [0_u8; 4096];
        let mut total = 0;
        while total < chunk {
            let mut window = ReadBuf::new(&mut piece);
            match Pin::new(&mut *self).poll_read(context, &mut window) {
                Poll::Pending if total == 0 => return Poll::Pending,
                Poll::Ready(Err(error)) if total == 0 => return Poll::Ready(Err(error)),
                Poll::Pending | Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) => {}
            }
            let read = window.filled();
            buffer.extend_from_slice(read);
            total += read.len();
            if read.len() < 4096 {
                break;
            }
        }
        Poll::Ready(Ok(total))
    }

    /// Reads some bytes; 0 at the end.
    pub(crate) async fn read_some(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_read_some(context, buffer, 4096)).await
    }

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
}

pingora_stream!(ClientSocket);
