//! Exchanges with endpoints that write raw bytes over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod attacks;
mod http2;
mod kept;
mod requests;
mod tls;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use portcullis_model::{EndpointId, Origin, PoolId, RegionId};
use portcullis_pipeline::{Target, UpstreamHead};
use portcullis_routing::attempt::{Outcome, TransportKind};
use portcullis_routing::plan::Protocol;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{AttemptFacts, EndpointFault, Mesh, Upstream};
use crate::message::{Length, Piece};
use crate::metrics::Metrics;

/// What ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// An ordinary answer.
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// What an endpoint does after a request.
#[derive(Clone)]
struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// Wait for the next request.
    Wait,
    /// Close.
    Close,
    /// Close so that the other side hears of it by a reset.
    Reset,
}

/// These bytes, then the next request.
fn says(bytes: impl AsRef<[u8]>) -> Reply {
    Reply {
        bytes: bytes.as_ref().to_vec(),
        then: Then::Wait,
    }
}

/// These bytes, then the end.
fn says_and(bytes: impl AsRef<[u8]>, then: Then) -> Reply {
    Reply {
        bytes: bytes.as_ref().to_vec(),
        then,
    }
}

/// An endpoint that plays a script: the reply to the n-th request on the m-th connection, both from 0.
struct Endpoint {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Every read that returned something, in order.
    reads: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Endpoint {
    async fn start(script: impl Fn(usize, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            reads: Arc::default(),
        };
        let (connections, reads) = (Arc::clone(&endpoint.connections), Arc::clone(&endpoint.reads));
        let script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (script, reads) = (Arc::clone(&script), Arc::clone(&reads));
                tokio::spawn(async move {
                    converse(stream, |request| script(number, request), &reads).await;
                });
            }
        });
        endpoint
    }

    /// The first connection says this to its first request; every later request is answered with [`HELLO`].
    async fn first_says(first: Reply) -> Self {
        Self::start(move |connection, request| match (connection, request) {
            (0, 0) => first.clone(),
            _ => says(HELLO),
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Everything that arrived.
    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.reads.lock().unwrap().concat()).into_owned()
    }
}

async fn converse(mut stream: TcpStream, script: impl Fn(usize) -> Reply, reads: &Mutex<Vec<Vec<u8>>>) {
    let mut pending = Vec::new();
    for request in 0.. {
        while whole(&pending).is_none() {
            let mut buffer = vec![0; 256 * 1024];
            let Ok(count @ 1..) = stream.read(&mut buffer).await else {
                return;
            };
            pending.extend_from_slice(&buffer[..count]);
            reads.lock().unwrap().push(buffer[..count].to_vec());
        }
        pending.drain(..whole(&pending).unwrap());
        let reply = script(request);
        let _ = stream.write_all(&reply.bytes).await;
        match reply.then {
            Then::Wait => {}
            Then::Close => return,
            Then::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

/// The end of a whole request, when there is one.
fn whole(bytes: &[u8]) -> Option<usize> {
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
    let head_end = find(b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    if head.contains("transfer-encoding: chunked") {
        // The last chunk, then trailers up to an empty line.
        let last = find(b"\r\n0\r\n")? + 3;
        let end = bytes[last..]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?;
        return Some(last + end + 4);
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let end = head_end + length.unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}

/// Connections under test, and what they count.
struct Way {
    mesh: Mesh,
    registry: Registry,
}

impl Way {
    fn new() -> Self {
        let registry = Registry::new();
        let mesh = Mesh::new(Arc::new(Metrics::register(&registry).unwrap()));
        Self { mesh, registry }
    }

    async fn open(&self, endpoint: &Endpoint) -> Upstream {
        self.mesh
            .open(&facts(endpoint.address, Protocol::H1))
            .await
            .unwrap()
    }

    /// A whole exchange; the connection is given back if it may be.
    async fn ask(&self, endpoint: &Endpoint, request: Request) -> Result<Answer, EndpointFault> {
        let mut upstream = self.open(endpoint).await;
        let answer = exchange(&mut upstream, request).await;
        upstream.release();
        answer
    }

    async fn get(&self, endpoint: &Endpoint) -> Result<Answer, EndpointFault> {
        self.ask(endpoint, Request::get()).await
    }

    /// Kept connections, as of the last sweep.
    fn counted_kept(&self, protocol: &str) -> i64 {
        let families = self.registry.gather();
        let name = crate::metrics::ENDPOINT_CONNECTIONS_KEPT;
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let is_asked = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == protocol;
        family
            .get_metric()
            .iter()
            .find(is_asked)
            .unwrap()
            .get_gauge()
            .get_value() as i64
    }

    /// The value of a counter with this label.
    fn counted(&self, name: &str, label: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let has_label =
            |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|pair| pair.value() == label);
        let metric = family.get_metric().iter().find(has_label);
        metric.map_or(0, |metric| metric.get_counter().get_value() as u64)
    }
}

fn facts(address: SocketAddr, protocol: Protocol) -> AttemptFacts {
    AttemptFacts {
        target: Target {
            endpoint: EndpointId {
                pool: PoolId::from("pool"),
                region: RegionId::from("here"),
                address,
            },
            dns: None,
            tls: None,
            protocol,
            connect_timeout: PATIENCE,
            first_byte_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            origin: Origin::default(),
            passed_over: Vec::new(),
        },
        is_h2_client: protocol == Protocol::H2,
        is_upgrade: false,
    }
}

/// A request on its way.
struct Request {
    head: UpstreamHead,
    length: Length,
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Request {
    fn new(method: Method) -> Self {
        Self {
            head: UpstreamHead {
                method,
                path_and_query: "/a?b=c".to_owned(),
                authority: HeaderValue::from_static("api.test"),
                is_tls: false,
                headers: HeaderMap::new(),
                is_websocket: false,
            },
            length: Length::None,
            pieces: Vec::new(),
            trailers: None,
        }
    }

    fn get() -> Self {
        Self::new(Method::GET)
    }

    /// A body of these pieces whose length is known.
    fn post(pieces: &[&'static str]) -> Self {
        let length = Length::of(pieces.iter().map(|piece| piece.len()).sum());
        Self::new(Method::POST).with(length, pieces)
    }

    fn with(mut self, length: Length, pieces: &[&'static str]) -> Self {
        self.length = length;
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes()));
        self.pieces = pieces.collect();
        self
    }

    fn field(mut self, name: &'static str, value: &'static str) -> Self {
        let name = HeaderName::from_static(name);
        self.head.headers.append(name, HeaderValue::from_static(value));
        self
    }
}

/// What came back.
#[derive(Debug, Default)]
struct Answer {
    interim: Vec<StatusCode>,
    status: StatusCode,
    headers: HeaderMap,
    length: Option<Length>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// Drives an exchange as a request's task does: both directions, from one poll.
async fn exchange(upstream: &mut Upstream, request: Request) -> Result<Answer, EndpointFault> {
    upstream.send_head(&request.head, request.length)?;
    let mut pieces = request.pieces.into_iter();
    let mut ending = Some(request.trailers);
    let mut answer = Answer::default();
    let work = poll_fn(|context| {
        loop {
            let mut has_moved = false;
            while ending.is_some() && upstream.poll_room(context)?.is_ready() {
                has_moved = true;
                match pieces.next() {
                    Some(piece) => upstream.push(piece),
                    None => upstream.finish(ending.take().flatten()),
                }
            }
            let _ = upstream.poll_flush(context)?;
            if answer.length.is_none() {
                if let Poll::Ready(head) = upstream.poll_head(context)? {
                    has_moved = true;
                    if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
                        answer.interim.push(head.status);
                    } else {
                        answer.status = head.status;
                        answer.headers = head.headers;
                        answer.length = Some(head.length);
                    }
                }
            } else if let Poll::Ready(piece) = upstream.poll_piece(context)? {
                match piece {
                    Piece::End(trailers) => {
                        answer.trailers = trailers;
                        return Poll::Ready(Ok(()));
                    }
                    Piece::Data(data) => {
                        has_moved = true;
                        assert!(!data.is_empty(), "a piece is never empty");
                        answer.body.extend_from_slice(&data);
                    }
                }
            }
            if !has_moved {
                return Poll::Pending;
            }
        }
    });
    timeout(PATIENCE, work).await.unwrap()?;
    Ok(answer)
}

/// Waits for a condition that another task brings about.
async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

const PROTOCOL: Outcome = Outcome::Transport(TransportKind::Protocol);
const RESET: Outcome = Outcome::Transport(TransportKind::Reset);
