//! Over real loopback sockets: every test is one client and the half that serves it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it stands"
)]

mod answers;
mod connections;
mod house;
mod requests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use portcullis_pipeline::ConnectionFacts;
use portcullis_pipeline::plan::ConnectionLimits;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{H1Client, Waits};
use crate::client::ClientFault;
use crate::connection::Connection;
use crate::listener::socket::ClientSocket;
use crate::message::Piece;

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Both ends of a connection.
pub(super) async fn pair() -> (TcpStream, ClientSocket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (accepted, _) = accepted.unwrap();
    accepted.set_nodelay(true).unwrap();
    (peer.unwrap(), ClientSocket::Plain(Box::new(accepted.into())))
}

/// The same under TLS.
pub(super) async fn tls_pair() -> (TlsStream<TcpStream>, ClientSocket) {
    let signed = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
    let (chain, key) = (signed.cert.der().clone(), signed.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain.clone()).unwrap();
    let ours = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    let theirs = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (peer, socket) = pair().await;
    let ClientSocket::Plain(stream) = socket else {
        panic!("a plain socket");
    };
    let (connector, acceptor) = (
        TlsConnector::from(Arc::new(theirs)),
        TlsAcceptor::from(Arc::new(ours)),
    );
    let (peer, accepted) = tokio::join!(
        connector.connect("h".try_into().unwrap(), peer),
        acceptor.accept(*stream)
    );
    (peer.unwrap(), ClientSocket::Tls(Box::new(accepted.unwrap())))
}

/// A connection whose drain is begun by sending `true`.
pub(super) fn connection(limits: ConnectionLimits) -> (Arc<Connection>, watch::Sender<bool>) {
    let (drain, drained) = watch::channel(false);
    let facts = ConnectionFacts {
        listener: "public".into(),
        peer: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:2".parse().unwrap(),
        tls: None,
    };
    (Arc::new(Connection::new(Arc::new(facts), limits, drained)), drain)
}

/// A client that has sent this.
pub(super) async fn client(request: impl AsRef<[u8]>) -> (H1Client, TcpStream) {
    over(pair().await, request).await
}

/// The same over any connection.
pub(super) async fn over<S: AsyncWrite + Unpin>(
    (mut peer, mut socket): (S, ClientSocket),
    request: impl AsRef<[u8]>,
) -> (H1Client, S) {
    peer.write_all(request.as_ref()).await.unwrap();
    peer.flush().await.unwrap();
    let (connection, _drain) = connection(ConnectionLimits::default());
    let mut ahead = BytesMut::new();
    let mut waits = Waits::new(&connection);
    let head = waits.read_head(&mut socket, &mut ahead, &connection).await;
    let head = head.unwrap().expect("a whole head");
    let Ok(client) = H1Client::new(socket, ahead, head, &connection) else {
        panic!("the head was refused");
    };
    (client, peer)
}

/// The next piece.
pub(super) async fn piece(client: &mut H1Client) -> Result<Piece, ClientFault> {
    timeout(PATIENCE, poll_fn(|context| client.poll_piece(context)))
        .await
        .expect("a piece")
}

/// The whole body with its trailers.
pub(super) async fn body(client: &mut H1Client) -> (Vec<u8>, Option<HeaderMap>) {
    let mut body = Vec::new();
    loop {
        match piece(client).await.unwrap() {
            Piece::Data(data) => {
                assert!(!data.is_empty(), "a piece is never empty");
                body.extend_from_slice(&data);
            }
            Piece::End(trailers) => return (body, trailers),
        }
    }
}

/// Writes everything that is queued.
pub(super) async fn flush(client: &mut H1Client) {
    let flushed = timeout(PATIENCE, poll_fn(|context| client.poll_flush(context)));
    flushed.await.expect("the peer to read").unwrap();
}

/// Pushes content as its room allows.
pub(super) async fn push(client: &mut H1Client, data: Bytes) {
    poll_fn(|context| client.poll_room(context)).await.unwrap();
    client.push(data).unwrap();
}

/// What `poll` says now.
pub(super) async fn now<T>(mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(poll(context))).await
}

/// Reads until this text was seen, and gives everything up to its end.
pub(super) async fn until(peer: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(text.as_bytes()) {
        let byte = timeout(PATIENCE, peer.read_u8()).await.expect("an answer");
        read.push(
            byte.unwrap_or_else(|_| panic!("closed before {text:?}: {:?}", String::from_utf8_lossy(&read))),
        );
    }
    String::from_utf8(read).unwrap()
}

/// Everything to the end of the connection.
pub(super) async fn rest(peer: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let end = timeout(PATIENCE, peer.read_to_end(&mut read));
    end.await.expect("the connection ends").unwrap();
    String::from_utf8(read).unwrap()
}
