//! A door with a little service behind it.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{future::poll_fn, io};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use portcullis_model::Reason;
use portcullis_pipeline::ConnectionFacts;
use portcullis_pipeline::plan::ConnectionLimits;
use prometheus::Registry;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::h2::{Requests, serve};
use crate::client::{Client, ClientFault};
use crate::connection::Connection;
use crate::message::{Length, Piece};
use crate::metrics::Metrics;

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Of the pipe, each way.
const PIPE: usize = 1024 * 1024;

/// A door that serves one connection.
pub(super) struct House {
    pub(super) service: Arc<Service>,
    pub(super) registry: Registry,
    pub(super) drain: watch::Sender<bool>,
    pub(super) writes: Arc<AtomicUsize>,
    pub(super) serving: JoinHandle<()>,
}

/// What the service saw.
#[derive(Default)]
pub(super) struct Service {
    pub(super) gate: Notify,
    pub(super) waiting: AtomicUsize,
    pub(super) served: AtomicUsize,
    pub(super) pushed: AtomicUsize,
    pub(super) refused: Mutex<Vec<(Reason, Option<StatusCode>)>>,
    pub(super) faults: Mutex<Vec<String>>,
}

impl House {
    /// A door with these limits; the client's end of the pipe beside it.
    pub(super) fn with(limits: ConnectionLimits) -> (Self, DuplexStream) {
        let (near, far) = tokio::io::duplex(PIPE);
        let writes = Arc::new(AtomicUsize::new(0));
        let socket = CountingSocket {
            inner: far,
            writes: Arc::clone(&writes),
        };
        let (drain, drained) = watch::channel(false);
        let facts = ConnectionFacts {
            listener: "public".into(),
            peer: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:2".parse().unwrap(),
            tls: None,
        };
        let connection = Connection::new(Arc::new(facts), limits, drained);
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let service = Arc::new(Service::default());
        let served = Arc::clone(&service);
        let serving = tokio::spawn(async move { serve(socket, &connection, &metrics, &*served).await });
        let house = Self {
            service,
            registry,
            drain,
            writes,
            serving,
        };
        (house, near)
    }

    /// How often a connection ended for this cause, or a stream.
    pub(super) fn ended(&self, cause: &str) -> u64 {
        let families = self.registry.gather();
        let all = families
            .iter()
            .flat_map(prometheus::proto::MetricFamily::get_metric);
        all.filter(|metric| metric.get_label().iter().any(|label| label.value() == cause))
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }

    /// Waits for the end of the connection.
    pub(super) async fn end(self) -> Registry {
        timeout(PATIENCE, self.serving).await.expect("ends").unwrap();
        self.registry
    }
}

/// Waits until it is so.
pub(super) async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("becomes true");
}

impl Requests for Service {
    async fn run(&self, client: &mut Client) {
        let path = String::from_utf8_lossy(&client.head().target).into_owned();
        if let Err(fault) = self.answer(client, &path).await {
            self.faults.lock().unwrap().push(format!("{fault:?}"));
        }
        self.served.fetch_add(1, Ordering::SeqCst);
    }

    fn refused(&self, reason: Reason, status: Option<StatusCode>) {
        self.refused.lock().unwrap().push((reason, status));
    }
}

impl Service {
    async fn answer(&self, client: &mut Client, path: &str) -> Result<(), ClientFault> {
        match path {
            "/panic" => panic!("as asked"),
            "/wait" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.gate.notified().await;
                write(client, Bytes::from_static(&[b'w'; 500]), None)
            }
            "/hang" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                poll_fn(|context| client.poll_gone(context)).await;
                Err(ClientFault::Gone)
            }
            "/echo" => {
                client.invite();
                let (body, trailers) = read(client).await?;
                write(client, body, trailers)
            }
            "/short" => {
                client.start(StatusCode::OK, HeaderMap::new(), Length::Known(10))?;
                client.push(Bytes::from_static(b"short"))?;
                client.finish(None)
            }
            "/long" => {
                client.start(StatusCode::OK, HeaderMap::new(), Length::Known(3))?;
                client.push(Bytes::from_static(b"long"))
            }
            "/half" => client.start(StatusCode::OK, HeaderMap::new(), Length::Unknown),
            "/broke" => {
                client.start(StatusCode::OK, HeaderMap::new(), Length::Known(10))?;
                client.push(Bytes::from_static(b"broke"))
            }
            // Gives up as soon as it would have to wait for the client.
            "/tired" => {
                client.start(StatusCode::OK, HeaderMap::new(), Length::Unknown)?;
                let room = poll_fn(|context| Poll::Ready(client.poll_room(context))).await;
                assert!(room.is_pending());
                Ok(())
            }
            "/none" => {
                client.start(StatusCode::NO_CONTENT, HeaderMap::new(), Length::None)?;
                client.finish(None)
            }
            "/big" => self.stream(client, 64).await,
            _ => write(client, Bytes::from_static(b"hello"), None),
        }
    }

    /// Pieces of 16 KiB, each when there is room.
    async fn stream(&self, client: &mut Client, pieces: usize) -> Result<(), ClientFault> {
        client.start(StatusCode::OK, HeaderMap::new(), Length::Unknown)?;
        for _ in 0..pieces {
            poll_fn(|context| client.poll_room(context)).await?;
            client.push(Bytes::from_static(&[b'b'; 16 * 1024]))?;
            self.pushed.fetch_add(1, Ordering::SeqCst);
            poll_fn(|context| client.poll_flush(context)).await?;
        }
        client.finish(None)
    }
}

fn write(client: &mut Client, body: Bytes, trailers: Option<HeaderMap>) -> Result<(), ClientFault> {
    let mut fields = HeaderMap::new();
    fields.insert("keep-alive", "timeout=5".parse().unwrap());
    client.start(StatusCode::OK, fields, Length::of(body.len()))?;
    if !body.is_empty() {
        client.push(body)?;
    }
    client.finish(trailers)
}

async fn read(client: &mut Client) -> Result<(Bytes, Option<HeaderMap>), ClientFault> {
    let mut body = BytesMut::new();
    loop {
        match poll_fn(|context| client.poll_piece(context)).await? {
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::End(trailers) => return Ok((body.freeze(), trailers)),
        }
    }
}

/// A socket whose writes are counted.
struct CountingSocket {
    inner: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for CountingSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for CountingSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if written.is_ready() {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The service on a pipe of the test's own, and a client that has opened windows wide.
pub(super) async fn serve_on(far: DuplexStream, near: DuplexStream) -> (Arc<Service>, super::raw::Raw) {
    let service = Arc::new(Service::default());
    let served = Arc::clone(&service);
    tokio::spawn(async move {
        let (_drain, drained) = watch::channel(false);
        let facts = ConnectionFacts {
            listener: "public".into(),
            peer: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:2".parse().unwrap(),
            tls: None,
        };
        let connection = Connection::new(Arc::new(facts), ConnectionLimits::default(), drained);
        let metrics = Metrics::register(&Registry::new()).unwrap();
        serve(far, &connection, &metrics, &*served).await;
    });
    // SETTINGS_INITIAL_WINDOW_SIZE 2^31-1.
    let raw = super::raw::Raw::greet(near, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    (service, raw)
}
