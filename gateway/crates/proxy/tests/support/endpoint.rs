//! Endpoints that write down every byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Leaf, Pki};

/// What an endpoint does with a request: gets the head, gives the bytes to write; empty: hangs up.
type Script = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A reply that is never sent.
const SILENCE: &[u8] = b"silence";

/// An HTTP/1.1 endpoint.
#[derive(Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Endpoint {
    pub async fn start(script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_tls(None, script).await
    }

    /// An endpoint that says `hello` to everything.
    pub async fn hello() -> Self {
        Self::start(|_| answer("hello")).await
    }

    /// An endpoint that takes everything and says nothing.
    pub async fn silent() -> Self {
        Self::start(|_| SILENCE.to_vec()).await
    }

    pub async fn start_tls(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            connections: Arc::default(),
            closed: Arc::default(),
        };
        let this = endpoint.clone();
        let script: Script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                this.connections.fetch_add(1, Ordering::SeqCst);
                let (this, script, tls) = (this.clone(), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => {
                            this.converse(stream, &script).await;
                            this.closed.fetch_add(1, Ordering::SeqCst);
                        }
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                this.converse(stream, &script).await;
                            }
                        }
                    }
                });
            }
        });
        endpoint
    }

    /// Everything that arrived, on all connections.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections that the endpoint is done with.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }

    async fn converse(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script) {
        let mut pending = Vec::new();
        while let Some(request) = self.request(&mut stream, &mut pending).await {
            let reply = script(&request);
            if reply == SILENCE {
                std::future::pending::<()>().await;
            }
            if reply.is_empty() || stream.write_all(&reply).await.is_err() {
                return;
            }
            let _ = stream.flush().await;
            if reply.starts_with(b"HTTP/1.1 101") {
                self.echo(stream).await;
                return;
            }
            if reply.windows(17).any(|window| window == b"connection: close") {
                return;
            }
        }
    }

    async fn echo(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut buffer = [0_u8; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            self.seen.lock().unwrap().extend_from_slice(&buffer[..count]);
            if stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }

    async fn request(&self, stream: &mut (impl AsyncRead + Unpin), pending: &mut Vec<u8>) -> Option<String> {
        loop {
            if let Some(end) = whole(pending) {
                let rest = pending.split_off(end);
                let request = std::mem::replace(pending, rest);
                return Some(String::from_utf8_lossy(&request).into_owned());
            }
            let mut buffer = [0_u8; 4096];
            let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            self.seen.lock().unwrap().extend_from_slice(&buffer[..count]);
            pending.extend_from_slice(&buffer[..count]);
        }
    }
}

/// The end of a whole request, when there is one.
fn whole(bytes: &[u8]) -> Option<usize> {
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
    let head_end = find(b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return find(b"0\r\n\r\n").map(|at| at + 5);
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let end = head_end + length.unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}

/// A 200 with this body.
pub fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A TLS acceptor for this certificate; client certificates of the authority are asked for.
pub fn acceptor(pki: &Pki, leaf: &Leaf, alpn: &[&[u8]]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pki.root()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(leaf.chain.clone(), key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// An HTTP/2 endpoint in plaintext: answers with the request's body and a trailer.
pub async fn h2_echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    counter.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(async move {
                        let mut body = request.into_body();
                        let mut whole = Vec::new();
                        while let Some(Ok(piece)) = body.data().await {
                            let _ = body.flow_control().release_capacity(piece.len());
                            whole.extend_from_slice(&piece);
                        }
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        stream.send_data(Bytes::from(whole), false).unwrap();
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        stream.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    (address, requests)
}
