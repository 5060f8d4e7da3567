//! What leases are held on: endpoints that go on for ever, each piece with a number that grows with time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::Leaf;
use crate::support::client::Wire;
use crate::support::endpoint::server_config;

/// Between two pieces.
const PACE: Duration = Duration::from_millis(20);
/// What a download promises.
const SIZE: u64 = 1 << 40;

/// An HTTP endpoint and a WebSocket endpoint.
pub struct Source {
    pub http: SocketAddr,
    pub socket: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    now: AtomicU64,
    /// What the WebSocket endpoint was told at the end.
    closed: Mutex<Vec<Option<CloseFrame>>>,
}

impl Source {
    pub async fn start() -> Self {
        Self::bind(None).await
    }

    /// The same under TLS.
    pub async fn start_tls(leaf: &Leaf) -> Self {
        Self::bind(Some(TlsAcceptor::from(Arc::new(server_config(leaf, None))))).await
    }

    async fn bind(tls: Option<TlsAcceptor>) -> Self {
        let shared = Arc::new(Shared::default());
        let clock = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(PACE);
            loop {
                ticks.tick().await;
                clock.now.fetch_add(1, Ordering::SeqCst);
            }
        });
        let (http, socket) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let source = Self {
            http: http.local_addr().unwrap(),
            socket: socket.local_addr().unwrap(),
            shared,
        };
        tokio::spawn(serve(http, tls.clone(), Arc::clone(&source.shared), serve_http));
        tokio::spawn(serve(socket, tls, Arc::clone(&source.shared), serve_socket));
        source
    }

    /// The number of a piece that would be sent now.
    pub fn now(&self) -> u64 {
        self.shared.now.load(Ordering::SeqCst)
    }

    /// The close frames that the WebSocket endpoint got, `None` for an end without one.
    pub fn closed(&self) -> Vec<Option<CloseFrame>> {
        self.shared.closed.lock().unwrap().clone()
    }
}

async fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    connection: fn(Box<dyn Wire>, Arc<Shared>) -> F,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let wire: Box<dyn Wire> = match tls {
                None => Box::new(tcp),
                Some(tls) => match tls.accept(tcp).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => return,
                },
            };
            connection(wire, shared).await;
        });
    }
}

async fn serve_http(tcp: Box<dyn Wire>, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    let server = auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(tcp), service).await;
}

/// Takes an upload whole; gives everything else pieces without end.
async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let media = request.headers().get("content-type").cloned();
    if path.ends_with("/upload") {
        request.into_body().collect().await?;
    }
    let mut response = Response::builder();
    if path.ends_with("/download") {
        response = response.header("content-length", SIZE);
    }
    if let Some(media) = media {
        response = response.header("content-type", media);
    }
    let pieces = futures_util::stream::unfold(tokio::time::interval(PACE), move |mut ticks| {
        let shared = Arc::clone(&shared);
        async move {
            ticks.tick().await;
            let piece = format!("{}\n", shared.now.load(Ordering::SeqCst));
            Some((Ok(Frame::data(Bytes::from(piece))), ticks))
        }
    });
    Ok(response.body(BodyExt::boxed(StreamBody::new(pieces))).unwrap())
}

async fn serve_socket(tcp: Box<dyn Wire>, shared: Arc<Shared>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else {
        return;
    };
    let mut ticks = tokio::time::interval(PACE);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let piece = Message::text(format!("{}\n", shared.now.load(Ordering::SeqCst)));
                if socket.send(piece).await.is_err() {
                    break;
                }
            }
            said = socket.next() => match said {
                Some(Ok(Message::Close(frame))) => {
                    return shared.closed.lock().unwrap().push(frame);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    shared.closed.lock().unwrap().push(None);
}
