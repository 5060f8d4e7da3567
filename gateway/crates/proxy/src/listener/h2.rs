//! The HTTP/2 connection loop: streams become requests of their own tasks; GOAWAY ends a connection gracefully.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, HttpSession, default_h2_options, handshake};
use pingora_core::protocols::{Digest, Stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::Hall;
use super::socket::ClientSocket;
use crate::link::{self, Connection, RequestLink};

/// Streams of one connection at a time.
const MAX_STREAMS: u32 = 100;
/// Receive window of a stream: how much of one body is held for an endpoint that is slower than the client.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Receive window of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer held per stream for a client that is slower than the endpoint.
const SEND_BUFFER: usize = 256 * 1024;
/// Decoded size of a head, whatever the listener says: the bound that keeps a connection's memory in hand.
const MAX_HEAD: u32 = 64 * 1024;
/// Streams that may be malformed before the connection is taken for an attack.
const MAX_REJECTED: u32 = 32;
/// How long the client has to close after the last GOAWAY.
const GOODBYE: Duration = Duration::from_secs(5);

type H2Connection = h2::server::Connection<Stream, Bytes>;

/// Serves a connection to its end.
pub(crate) async fn serve(hall: &Hall<'_>, socket: ClientSocket, connection: Arc<Connection>) {
    let limits = connection.limits;
    let mut options = default_h2_options();
    options
        .max_header_list_size(
            u32::try_from(limits.max_header_bytes)
                .unwrap_or(MAX_HEAD)
                .min(MAX_HEAD),
        )
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    let Ok(Ok(wire)) = timeout(limits.header_timeout, handshake(Box::new(socket), Some(options))).await
    else {
        return;
    };
    let mut loop_ = StreamLoop {
        streams: Arc::default(),
        rejected: 0,
        is_leaving: false,
    };
    loop_.run(hall, wire, &connection).await;
}

struct StreamLoop {
    streams: Arc<Streams>,
    rejected: u32,
    is_leaving: bool,
}

/// The streams of a connection that are under way.
#[derive(Default)]
struct Streams {
    open: AtomicUsize,
    closed: Notify,
}

/// One of them; counted until dropped.
struct StreamGuard(Arc<Streams>);

impl StreamLoop {
    async fn run(&mut self, hall: &Hall<'_>, mut wire: H2Connection, connection: &Arc<Connection>) {
        let digest = Arc::new(Digest::default());
        let mut idle_since = Instant::now();
        loop {
            let until = self.deadline(idle_since, connection);
            tokio::select! {
                accepted = HttpSession::from_h2_conn(&mut wire, Arc::clone(&digest)) => match accepted {
                    Ok(Some(H2Accept::Session(session))) => self.start(hall, session, connection),
                    Ok(Some(H2Accept::Rejected)) => {
                        self.rejected += 1;
                        if self.rejected >= MAX_REJECTED {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return,
                },
                () = connection.drained(), if !self.is_leaving => self.leave(&mut wire),
                () = self.streams.closed.notified() => idle_since = Instant::now(),
                () = sleep_until(until) => {
                    if self.is_leaving && self.streams.open.load(Ordering::Acquire) == 0 {
                        return;
                    }
                    self.leave(&mut wire);
                    idle_since = Instant::now();
                }
            }
            if connection.is_ending() && !self.is_leaving {
                self.leave(&mut wire);
                idle_since = Instant::now();
            }
        }
    }

    /// When there is something to do without the client: it was idle too long, or it is too old, or it does not
    /// close after the last GOAWAY.
    fn deadline(&self, idle_since: Instant, connection: &Connection) -> Instant {
        let far = Instant::now() + connection.limits.connection_age;
        let is_idle = self.streams.open.load(Ordering::Acquire) == 0;
        match (self.is_leaving, is_idle) {
            (true, true) => idle_since + GOODBYE,
            (true, false) => far,
            (false, true) => (idle_since + connection.limits.idle_timeout).min(connection.end_of_age()),
            (false, false) => connection.end_of_age(),
        }
    }

    /// GOAWAY: streams under way finish, new ones go elsewhere.
    fn leave(&mut self, wire: &mut H2Connection) {
        self.is_leaving = true;
        wire.graceful_shutdown();
    }

    fn start(&self, hall: &Hall<'_>, session: HttpSession, connection: &Arc<Connection>) {
        connection.count_request();
        let link = Arc::new(RequestLink::new(Arc::clone(connection)));
        self.streams.open.fetch_add(1, Ordering::AcqRel);
        let guard = StreamGuard(Arc::clone(&self.streams));
        let engine = Arc::clone(hall.engine);
        let shutdown = hall.shutdown.clone();
        tokio::spawn(async move {
            let _guard = guard;
            let request = engine.process_new_http(ServerSession::new_http2(session), &shutdown);
            link::scoped(link, request).await;
        });
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.closed.notify_one();
        }
    }
}
