//! Revocation that bites: on fresh, resumed and open connections, for clients and endpoints, by files and by fetch.

mod clients;
mod endpoints;
mod fetched;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rcgen::CertificateRevocationList;
use rustls::{AlertDescription, HandshakeKind, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::handshake;
use crate::support::pki::write;
use crate::support::{Answer, Dial, Endpoint, House, Leaf, TestGateway};

const HOUR: Duration = Duration::from_secs(3600);
const NAME: &str = "api.example.com";

/// Writes a list where a configuration names it.
fn publish(gateway: &TestGateway, name: &str, list: &CertificateRevocationList) {
    write(&gateway.path(name), &list.pem().unwrap());
}

/// A client with this certificate that speaks exactly one version and remembers its sessions.
fn dial(
    house: &House,
    listener: &str,
    leaf: &Leaf,
    version: &'static SupportedProtocolVersion,
    is_h2: bool,
) -> Dial {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(house.edge.roots())
        .with_client_auth_cert(leaf.chain(), leaf.key())
        .unwrap();
    config.alpn_protocols = vec![if is_h2 {
        b"h2".to_vec()
    } else {
        b"http/1.1".to_vec()
    }];
    Dial {
        address: house.gateway.address(listener),
        tls: Some(Arc::new(config)),
        name: NAME.to_owned(),
        is_h2,
    }
}

/// How a handshake and one request over HTTP/1.1 went: the kind of handshake, or the alert that ended it.
async fn shake(dial: &Dial) -> Result<HandshakeKind, Option<AlertDescription>> {
    let alert = |error: std::io::Error| {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?.clone();
        match error {
            rustls::Error::AlertReceived(alert) => Some(alert),
            _ => None,
        }
    };
    let tcp = TcpStream::connect(dial.address).await.unwrap();
    let mut stream = handshake(tcp, dial.tls.as_ref().unwrap(), NAME)
        .await
        .map_err(alert)?;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    if dial.is_h2 {
        // The preface; a client that is not let in gets an alert where an endpoint's SETTINGS would be.
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        stream.write_all(preface).await.map_err(alert)?;
        stream.read_u8().await.map_err(alert)?;
        return Ok(kind);
    }
    // The ticket comes with the answer, and so does an alert of TLS 1.3.
    let request = format!("GET /open/x HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(alert)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(alert)?;
    // A list that changes between handshake and request refuses the request.
    if answer.starts_with(b"HTTP/1.1 200") {
        Ok(kind)
    } else {
        Err(None)
    }
}

/// What came of a request: an answer, or no connection to send it on.
async fn attempt(dial: &Dial, target: &str) -> Option<Answer> {
    let mut client = dial.connect().await.ok()?;
    client.send(Method::GET, target, &[], b"").await.ok()
}

/// A pool `main` with this endpoint.
fn pool(endpoint: &Endpoint) -> String {
    format!(
        "pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\n",
        endpoint.address
    )
}
