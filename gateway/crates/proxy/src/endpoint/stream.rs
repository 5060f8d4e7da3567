//! A connection to an endpoint, owned by one exchange or by the pool.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// A connection to an endpoint.
#[derive(Debug)]
pub(crate) enum UpstreamStream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS, verified.
    Tls(Box<Verified>),
}

/// A connection whose endpoint proved who it is.
#[derive(Debug)]
pub(crate) struct Verified {
    stream: TlsStream<TcpStream>,
    /// From then on what the endpoint showed is too old to rely on unasked; `None`: never.
    until: Option<Instant>,
}

/// What an endpoint does on a connection on which it has nothing to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Calm {
    /// It is silent: another request may use the connection.
    Quiet,
    /// It closed.
    Closed,
    /// It talks out of turn: whatever it says would be taken for the answer to the next request.
    Talking,
}

impl UpstreamStream {
    /// A connection after its handshake, whose chain can be relied on for so long; `None`: for ever.
    pub(crate) fn tls(stream: TlsStream<TcpStream>, left: Option<Duration>) -> Self {
        let until = left.and_then(|left| Instant::now().checked_add(left));
        Self::Tls(Box::new(Verified { stream, until }))
    }

    /// From when on no further request may rely on what the endpoint showed; `None`: never.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(verified) => verified.until,
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(verified) => verified.stream.get_ref().0,
        }
    }

    /// The chain that the endpoint showed, leaf first; none in plaintext.
    pub(crate) fn shown(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(verified) => {
                let session = verified.stream.get_ref().1;
                session.peer_certificates().unwrap_or_default()
            }
        }
    }

    /// What the runtime knows of an idle connection: without a system call where nothing arrived, because a short
    /// read clears the runtime's readiness and only a new event sets it again.
    pub(crate) fn calm(&mut self) -> Calm {
        if let Self::Tls(verified) = self {
            // What was decrypted already and not read yet.
            match verified.stream.get_mut().1.reader().read(&mut [0]) {
                Ok(0) => return Calm::Closed,
                Ok(_) => return Calm::Talking,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Calm::Closed,
            }
        }
        let has_event = self.socket().try_io(Interest::READABLE, || Ok(())).is_ok();
        if has_event {
            self.read_out_of_turn()
        } else {
            Calm::Quiet
        }
    }

    /// What the kernel knows, one system call: the runtime hears of a goodbye only when it next asks the kernel.
    pub(crate) fn calm_in_kernel(&mut self) -> Calm {
        let mut byte = [MaybeUninit::uninit(); 1];
        match SockRef::from(self.socket()).peek(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Calm::Quiet,
            Ok(0) | Err(_) => Calm::Closed,
            Ok(_) if matches!(self, Self::Plain(_)) => Calm::Talking,
            // Perhaps a session ticket; not worth a second call to find out.
            Ok(_) => Calm::Closed,
        }
    }

    /// Something arrived. In plaintext it is the goodbye or a word too much; under TLS it may be a session ticket.
    fn read_out_of_turn(&mut self) -> Calm {
        let mut byte = [0];
        let read = match self {
            Self::Plain(stream) => stream.try_read(&mut byte),
            Self::Tls(verified) => {
                let (socket, session) = verified.stream.get_mut();
                loop {
                    match session.read_tls(&mut Direct(socket)) {
                        Ok(0) => break Ok(0),
                        Ok(_) if session.process_new_packets().is_err() => break Ok(0),
                        Ok(_) => match session.reader().read(&mut byte) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            read => break read,
                        },
                        Err(error) => break Err(error),
                    }
                }
            }
        };
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Calm::Quiet,
            Ok(0) | Err(_) => Calm::Closed,
            Ok(_) => Calm::Talking,
        }
    }
}

/// A socket read without waiting.
struct Direct<'a>(&'a TcpStream);

impl Read for Direct<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(verified) => Pin::new(&mut verified.stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(verified) => Pin::new(&mut verified.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(verified) => Pin::new(&mut verified.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(verified) => Pin::new(&mut verified.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(verified) => Pin::new(&mut verified.stream).poll_shutdown(context),
        }
    }
}
