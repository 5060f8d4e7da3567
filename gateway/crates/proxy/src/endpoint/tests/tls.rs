//! The same exchanges over TLS.

use std::sync::Arc;

use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::endpoint::pool::{H2Connection, IDLE_TIME, Lane, Pool, PoolKey};
use crate::endpoint::{H1Exchange, UpstreamStream};

/// Two ends that trust each other.
fn ends() -> (TlsAcceptor, TlsConnector) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certified = rcgen::generate_simple_self_signed(["endpoint.test".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Arc::new(client).into())
}

type Far = tokio_rustls::server::TlsStream<TcpStream>;

/// A connection, its other end, and the lane it belongs to.
async fn connection() -> (UpstreamStream, Far, Arc<Lane>, Way) {
    connection_for(None).await
}

/// One whose chain can be relied on for so long.
async fn connection_for(left: Option<Duration>) -> (UpstreamStream, Far, Arc<Lane>, Way) {
    let (acceptor, connector) = ends();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let near = TcpStream::connect(address).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let name = ServerName::try_from("endpoint.test").unwrap();
    let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    let way = Way::new();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let key = PoolKey {
        pool: &PoolId::from("pool"),
        address,
        trust: Some(1),
        dns: None,
    };
    let lane = Pool::default().lane(&key, &metrics);
    (UpstreamStream::tls(near.unwrap(), left), far.unwrap(), lane, way)
}

/// One request on this connection, answered so; the connection goes back to its lane if it may.
async fn ask(
    stream: UpstreamStream,
    far: &mut Far,
    lane: &Arc<Lane>,
    reply: &[u8],
) -> Result<Answer, EndpointFault> {
    let mut upstream = Upstream::H1(H1Exchange::on_lane(stream, Arc::clone(lane), IDLE_TIME));
    let answering = async {
        let mut buffer = [0; 4096];
        let count = far.read(&mut buffer).await.unwrap();
        assert!(
            buffer[..count].ends_with(b"\r\n\r\nhello"),
            "head and body are one record"
        );
        far.write_all(reply).await.unwrap();
        far.flush().await.unwrap();
    };
    let (answer, ()) = tokio::join!(exchange(&mut upstream, Request::post(&["hello"])), answering);
    upstream.release();
    answer
}

#[tokio::test]
async fn a_kept_tls_connection_serves_the_next_request() {
    let (stream, mut far, lane, _way) = connection().await;

    assert_eq!(ask(stream, &mut far, &lane, HELLO).await.unwrap().body, b"hello");
    let again = lane.take_h1().unwrap();
    assert_eq!(
        ask(again.stream, &mut far, &lane, HELLO).await.unwrap().body,
        b"hello"
    );
}

/// The first is over as soon as it is made, the second is not for a minute.
const LEFT: [(Duration, bool); 2] = [(Duration::ZERO, false), (Duration::from_secs(60), true)];

#[tokio::test]
async fn a_kept_connection_serves_nobody_once_a_certificate_of_its_endpoint_has_ended() {
    for (left, is_kept) in LEFT {
        let (stream, mut far, lane, _way) = connection_for(Some(left)).await;

        ask(stream, &mut far, &lane, HELLO).await.unwrap();

        assert_eq!(lane.take_h1().is_some(), is_kept, "{left:?}");
    }
}

#[tokio::test]
async fn a_shared_connection_takes_no_request_once_a_certificate_of_its_endpoint_has_ended() {
    for (left, is_kept) in LEFT {
        let (stream, far, lane, _way) = connection_for(Some(left)).await;
        let shown = lane.shown(&stream);
        let (near, _far) = tokio::join!(h2::client::handshake(stream), h2::server::handshake(far));
        let (sender, _driver) = near.unwrap();
        let _far: h2::server::Connection<_, Bytes> = _far.unwrap();
        lane.keep_h2(Arc::new(H2Connection::new(sender, shown)));

        assert_eq!(lane.take_h2().is_some(), is_kept, "{left:?}");
        assert_eq!(lane.take_h2().is_some(), is_kept, "{left:?}");
    }
}

#[tokio::test]
async fn a_second_answer_under_tls_is_never_read() {
    let (stream, mut far, lane, _way) = connection().await;

    ask(stream, &mut far, &lane, &[HELLO, HELLO].concat())
        .await
        .unwrap();

    assert!(lane.take_h1().is_none());
}

/// Surplus that the TLS session holds already decrypted, beyond what the exchange read.
#[tokio::test]
async fn surplus_inside_the_tls_session_is_seen() {
    let (stream, mut far, lane, _way) = connection().await;
    let body = vec![b'x'; 8 * 1024 - 64];
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let reply = [head.as_bytes(), &body, HELLO, HELLO, HELLO].concat();

    ask(stream, &mut far, &lane, &reply).await.unwrap();

    assert!(lane.take_h1().is_none());
}

#[tokio::test]
async fn words_and_goodbyes_on_a_kept_tls_connection_end_it() {
    for goodbye in [true, false] {
        let (stream, mut far, lane, _way) = connection().await;
        ask(stream, &mut far, &lane, HELLO).await.unwrap();
        if goodbye {
            far.shutdown().await.unwrap();
        } else {
            far.write_all(b"HTTP/1.1").await.unwrap();
            far.flush().await.unwrap();
        }

        let mut kept = lane.take_h1();
        until(|| {
            if let Some(quiet) = kept.take() {
                lane.keep_h1(quiet.stream, quiet.patience);
            }
            kept = lane.take_h1();
            kept.is_none()
        })
        .await;
    }
}

/// RFC 9112 section 9.8: without the closing alert the end of the connection is no end of the answer.
#[tokio::test]
async fn a_truncated_tls_answer_is_not_whole() {
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nhello";

    let (stream, mut far, lane, _way) = connection().await;
    let mut cut = Upstream::H1(H1Exchange::on_lane(stream, lane, IDLE_TIME));
    let answering = async {
        far.write_all(until_close).await.unwrap();
        far.flush().await.unwrap();
        far.get_mut().0.shutdown().await.unwrap();
    };
    let (answer, ()) = tokio::join!(sent_then(&mut cut), answering);
    assert_eq!(answer.unwrap_err().outcome, RESET);

    let (stream, mut far, lane, _way) = connection().await;
    let mut whole = Upstream::H1(H1Exchange::on_lane(stream, lane, IDLE_TIME));
    let answering = async {
        far.write_all(until_close).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let (answer, ()) = tokio::join!(sent_then(&mut whole), answering);
    assert_eq!(answer.unwrap().body, b"hello");
}

async fn sent_then(upstream: &mut Upstream) -> Result<Answer, EndpointFault> {
    exchange(upstream, Request::get()).await
}
