//! A client that speaks exactly what a test says: h1 or h2, plain or TLS, with or without a certificate; or raw bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::gateway::PATIENCE;
use super::pki::Leaf;

/// Any byte stream.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How to connect.
#[derive(Clone)]
pub struct Dial {
    pub address: SocketAddr,
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub name: String,
    pub is_h2: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// The `code` of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn request_id(&self) -> String {
        self.headers["x-request-id"].to_str().unwrap().to_owned()
    }
}

impl Dial {
    /// Plain HTTP/1.1.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            tls: None,
            name: "localhost".to_owned(),
            is_h2: false,
        }
    }

    /// TLS with SNI `name`, HTTP/1.1.
    pub fn tls(
        address: SocketAddr,
        name: &str,
        roots: Arc<RootCertStore>,
        certificate: Option<&Leaf>,
    ) -> Self {
        Self {
            address,
            tls: Some(client_config(roots, certificate, b"http/1.1")),
            name: name.to_owned(),
            is_h2: false,
        }
    }

    /// TLS with SNI `name`, HTTP/2.
    pub fn h2(
        address: SocketAddr,
        name: &str,
        roots: Arc<RootCertStore>,
        certificate: Option<&Leaf>,
    ) -> Self {
        Self {
            address,
            tls: Some(client_config(roots, certificate, b"h2")),
            name: name.to_owned(),
            is_h2: true,
        }
    }

    pub async fn wire(&self) -> std::io::Result<Box<dyn Wire>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some(config) => Ok(Box::new(handshake(tcp, config, &self.name).await?)),
        }
    }

    pub async fn connect(&self) -> std::io::Result<Client> {
        let io = TokioIo::new(self.wire().await?);
        if self.is_h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            return Ok(Client {
                sender: Sender::H2(sender),
                name: self.name.clone(),
                scheme: "https",
            });
        }
        let (sender, connection) = http1::handshake(io).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection.with_upgrades());
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(Client {
            sender: Sender::H1(sender),
            name: self.name.clone(),
            scheme,
        })
    }

    /// One request on a connection of its own.
    pub async fn send(&self, method: Method, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut client = self.connect().await.unwrap();
        client.send(method, target, fields, body).await.unwrap()
    }

    pub async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, target, fields, b"").await
    }

    /// Sends bytes as they are and reads until the gateway closes.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut wire = self.wire().await.unwrap();
        wire.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, wire.read_to_end(&mut answer))
            .await
            .expect("the gateway to close");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A TLS handshake alone.
pub async fn handshake(
    tcp: TcpStream,
    config: &Arc<rustls::ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await
}

/// A client configuration that offers one protocol.
pub fn client_config(
    roots: Arc<RootCertStore>,
    certificate: Option<&Leaf>,
    alpn: &[u8],
) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        Some(leaf) => builder.with_client_auth_cert(leaf.chain(), leaf.key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

/// A request's body.
pub type Body = BoxBody<Bytes, Infallible>;

/// A body without an announced length, perhaps with trailers.
pub fn pieces(frames: Vec<Frame<Bytes>>) -> Body {
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(
        frames.into_iter().map(Ok),
    )))
}

/// One connection.
pub struct Client {
    sender: Sender,
    name: String,
    scheme: &'static str,
}

enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

impl Client {
    /// Sends a request and reads the whole answer.
    pub async fn send(
        &mut self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, hyper::Error> {
        let whole = Full::new(Bytes::copy_from_slice(body)).boxed();
        self.send_body(method, target, fields, whole).await
    }

    /// The same with any body.
    pub async fn send_body(
        &mut self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> Result<Answer, hyper::Error> {
        let answer = self.start_body(method, target, fields, body);
        let response = tokio::time::timeout(PATIENCE, answer).await.expect("an answer")?;
        let (parts, body) = response.into_parts();
        let collected = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .expect("a whole body")?;
        let trailers = collected.trailers().cloned();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: collected.to_bytes(),
            trailers,
        })
    }

    /// Sends a request and gives the answer as it comes.
    pub async fn start(
        &mut self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<hyper::body::Incoming>, hyper::Error> {
        let whole = Full::new(Bytes::copy_from_slice(body)).boxed();
        self.start_body(method, target, fields, whole).await
    }

    /// The same with any body.
    pub async fn start_body(
        &mut self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> Result<Response<hyper::body::Incoming>, hyper::Error> {
        let host = fields
            .iter()
            .find(|(name, _)| *name == "host")
            .map_or(self.name.as_str(), |(_, value)| *value);
        let mut request = Request::builder().method(method);
        request = match &self.sender {
            Sender::H1(_) => request.uri(target).header("host", host),
            Sender::H2(_) => {
                let uri = Uri::builder()
                    .scheme(self.scheme)
                    .authority(host)
                    .path_and_query(target)
                    .build()
                    .unwrap();
                request.uri(uri)
            }
        };
        for (name, value) in fields.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// True when the gateway closed the connection.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::H1(sender) => sender.is_closed(),
            Sender::H2(sender) => sender.is_closed(),
        }
    }

    /// Another handle on the same h2 connection.
    pub fn same_connection(&self) -> Option<Self> {
        match &self.sender {
            Sender::H1(_) => None,
            Sender::H2(sender) => Some(Self {
                sender: Sender::H2(sender.clone()),
                name: self.name.clone(),
                scheme: self.scheme,
            }),
        }
    }
}
