//! Endpoints that behave as a test says, and remember what reached them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::pki::{Authority, Leaf};

/// What an endpoint does with a request.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// 200 with its name.
    #[default]
    Answer,
    /// This status with its name.
    Status(StatusCode),
    /// 200 with the request's body, and its trailers.
    Echo,
    /// Never answers.
    Hang,
    /// 200 with a length it does not keep: the connection breaks in the body.
    BreakInBody,
    /// Closes the connection without an answer.
    Close,
    /// 200 with this many bytes.
    Bytes(usize),
    /// 200 with trailers after the body.
    Trailers,
}

/// A request as an endpoint got it.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub target: String,
    pub version: http::Version,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// A running endpoint.
pub struct Endpoint {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
    tls: Option<TlsAcceptor>,
}

struct Shared {
    name: String,
    behaviour: Mutex<Behaviour>,
    health: Mutex<StatusCode>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    requests: AtomicUsize,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Endpoint {
    /// Plaintext: HTTP/1.1, and HTTP/2 with prior knowledge.
    pub async fn start(name: &str) -> Self {
        Self::bind(name, None).await
    }

    /// TLS; with `clients` only for holders of that authority's certificates.
    pub async fn start_tls(name: &str, leaf: &Leaf, clients: Option<&Authority>) -> Self {
        let config = server_config(leaf, clients);
        Self::bind(name, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn bind(name: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            behaviour: Mutex::default(),
            health: Mutex::new(StatusCode::OK),
            received: Mutex::default(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let endpoint = Self {
            address: listener.local_addr().unwrap(),
            shared,
            task: Mutex::new(None),
            tls,
        };
        endpoint.serve(listener);
        endpoint
    }

    fn serve(&self, listener: TcpListener) {
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve_connection(tcp, tls.clone(), Arc::clone(&shared)));
            }
        });
        *self.task.lock().unwrap() = Some(task);
    }

    /// Stops listening and breaks every connection.
    pub fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
    }

    /// Listens again on the same address.
    pub async fn restart(&self) {
        let address = self.address;
        let listener = super::gateway::wait_until("the endpoint's port", || async move {
            TcpListener::bind(address).await.ok()
        })
        .await;
        self.serve(listener);
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// What `/healthz` answers.
    pub fn set_health(&self, status: StatusCode) {
        *self.shared.health.lock().unwrap() = status;
    }

    /// Every request but health probes, in order.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    pub fn last(&self) -> Received {
        self.received()
            .pop()
            .expect("a request to have reached the endpoint")
    }

    /// Forgets every request so far.
    pub fn forget(&self) {
        self.shared.received.lock().unwrap().clear();
        self.shared.requests.store(0, Ordering::SeqCst);
    }

    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

/// TLS that speaks h2 and HTTP/1.1; with `clients` only for holders of that authority's certificates.
pub fn server_config(leaf: &Leaf, clients: Option<&Authority>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authority.roots(), provider)
                .build()
                .unwrap(),
        ),
    };
    let mut config = builder.with_single_cert(leaf.chain(), leaf.key()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn serve_connection(tcp: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let _ = tcp.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    let server = auto::Builder::new(TokioExecutor::new());
    match tls {
        None => drop(
            server
                .serve_connection_with_upgrades(TokioIo::new(tcp), service)
                .await,
        ),
        Some(tls) => {
            if let Ok(stream) = tls.accept(tcp).await {
                drop(
                    server
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await,
                );
            }
        }
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, std::io::Error> {
    if request.uri().path() == "/healthz" {
        let status = *shared.health.lock().unwrap();
        return Ok(Response::builder().status(status).body(full("")).unwrap());
    }
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let collected = body.collect().await.map_err(std::io::Error::other)?;
    let trailers = collected.trailers().cloned();
    let body = collected.to_bytes();
    let received = Received {
        method: parts.method,
        target: parts
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        version: parts.version,
        headers: parts.headers,
        body: body.clone(),
        trailers: trailers.clone(),
    };
    shared.received.lock().unwrap().push(received);
    let behaviour = shared.behaviour.lock().unwrap().clone();
    let response = Response::builder().header("x-endpoint", shared.name.as_str());
    Ok(match behaviour {
        Behaviour::Answer => response.body(full(&shared.name)).unwrap(),
        Behaviour::Status(status) => response.status(status).body(full(&shared.name)).unwrap(),
        Behaviour::Echo => response.body(framed(vec![Frame::data(body)], trailers)).unwrap(),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Close => return Err(std::io::Error::other("closed as the test says")),
        Behaviour::Bytes(count) => response.body(full(&"x".repeat(count))).unwrap(),
        Behaviour::BreakInBody => {
            let half = Ok(Frame::data(Bytes::from_static(b"half")));
            // While the body pauses, what was written leaves; otherwise nothing at all would be answered.
            let broken = futures_util::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("broken as the test says"))
            });
            let frames = futures_util::StreamExt::chain(futures_util::stream::iter([half]), broken);
            response
                .header("content-length", "8")
                .body(BodyExt::boxed(StreamBody::new(frames)))
                .unwrap()
        }
        Behaviour::Trailers => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            response
                .body(framed(
                    vec![Frame::data(Bytes::from_static(b"body"))],
                    Some(trailers),
                ))
                .unwrap()
        }
    })
}

fn full(text: &str) -> Body {
    Full::new(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(|never: Infallible| match never {})
        .boxed()
}

fn framed(mut frames: Vec<Frame<Bytes>>, trailers: Option<HeaderMap>) -> Body {
    frames.extend(trailers.map(Frame::trailers));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(
        frames.into_iter().map(Ok),
    )))
}
