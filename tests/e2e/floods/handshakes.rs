//! TLS handshakes that are begun and not ended, and ClientHellos in pieces.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::floods::Siege;
use crate::support::client::client_config;
use crate::support::house::HOST;
use crate::support::pki::write;
use crate::support::{Authority, Endpoint, House, PATIENCE, RawConnection, Seen, wait_until};

const LISTENERS: &str = r#"
listeners:
  plain: { listen: "127.0.0.1:0" }
  public:
    listen: "127.0.0.1:0"
    tls: { certificates: [{ chain: server.pem, key: server.key }] }
    limits: { handshake_timeout: 1s, per_address: 100, handshakes_per_address: 100/s }
"#;

/// A stream whose first write, the ClientHello, leaves as records of so many bytes, each in a segment of its own.
struct InPieces {
    tcp: TcpStream,
    size: usize,
    rest: Vec<u8>,
    is_hello: bool,
}

impl InPieces {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let end = self.rest.len().min(self.size + 5);
            match Pin::new(&mut self.tcp).poll_write(cx, &self.rest[..end]) {
                Poll::Ready(Ok(count)) => drop(self.rest.drain(..count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for InPieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for InPieces {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_hello {
            self.is_hello = false;
            // RFC 8446 5.1: a handshake message may be fragmented over records.
            for piece in bytes[5..].chunks(self.size) {
                let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
                let head = [bytes[0], bytes[1], bytes[2], length[0], length[1]];
                self.rest.extend_from_slice(&head);
                self.rest.extend_from_slice(piece);
            }
            let _ = self.poll_rest(cx)?;
            return Poll::Ready(Ok(bytes.len()));
        }
        std::task::ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_rest(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

async fn ask_in_pieces(house: &House, name: &str, size: usize) -> io::Result<u16> {
    let config = client_config(house.edge.roots(), None, b"http/1.1");
    let tcp = TcpStream::connect(house.gateway.address("public")).await?;
    tcp.set_nodelay(true)?;
    let pieces = InPieces {
        tcp,
        size,
        rest: Vec::new(),
        is_hello: true,
    };
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = TlsConnector::from(Arc::clone(&config))
        .connect(server, pieces)
        .await?;
    tls.write_all(format!("GET /open/x HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    text.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// Traefik CVE-2026-32305: a ClientHello in pieces must not lose its name and what the name asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_hello_in_pieces_keeps_its_name_and_what_it_asks() {
    let endpoint = Endpoint::start("one").await;
    let text = format!(
        r#"
listeners:
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}, {{ chain: admin.pem, key: admin.key }}]
      client_certificates: {{ mode: request, trust: [mesh] }}
      hosts: {{ "admin.example.com": {{ client_certificates: {{ mode: require, trust: [mesh] }} }} }}
trust: {{ mesh: {{ pem: mesh.pem }} }}
pools: {{ main: {{ endpoints: [{{ address: "{}" }}] }} }}
routes: [{{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}]
"#,
        endpoint.address
    );
    let house = House::open_with(&text, |folder, edge| {
        edge.leaf(&["admin.example.com"], None).write(folder, "admin");
        write(&folder.join("mesh.pem"), &Authority::new("mesh").pem);
    });

    for size in [1, 2, 7, 100, 10_000] {
        let served = tokio::time::timeout(PATIENCE, ask_in_pieces(&house, HOST, size))
            .await
            .expect("an end");
        assert_eq!(served.unwrap(), 200, "pieces of {size}");
        let seen = endpoint.requests();
        let strict = tokio::time::timeout(PATIENCE, ask_in_pieces(&house, "admin.example.com", size))
            .await
            .expect("an end");
        assert!(
            strict.is_err(),
            "pieces of {size} went past the certificate: {strict:?}"
        );
        assert_eq!(endpoint.requests(), seen);
    }
}

async fn from(source: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0))?;
    socket.connect(to).await
}

/// Handshakes that stay half open hold a place for their deadline only, and only their own address's places.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_handshakes_end_at_their_deadline_beside_a_good_client() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    let address = siege.house.gateway.address("public");
    let failed = siege
        .seen
        .metric("portcullis_handshakes_failed_total", &["cause=\"timeout\""])
        .await;
    let refused = siege
        .seen
        .metric("portcullis_connections_refused_total", &[])
        .await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

    let mut held = Vec::new();
    for source in ["127.0.0.2", "127.0.0.3"] {
        for number in 0..200 {
            let Ok(mut tcp) = from(source, address).await else {
                continue;
            };
            // Nothing, half a record, or a record whose message goes on.
            let said = [&hello[..0], &hello[..3], hello][number % 3];
            let _ = tcp.write_all(said).await;
            held.push(tcp);
        }
    }
    siege.assert_good_is_served().await;

    wait_until("the half-open handshakes to be cut", || async {
        let now = siege
            .seen
            .metric("portcullis_handshakes_failed_total", &["cause=\"timeout\""])
            .await;
        (now >= failed + 100.0).then_some(())
    })
    .await;
    let now = siege
        .seen
        .metric("portcullis_connections_refused_total", &[])
        .await;
    assert!(now > refused, "each address has its share");
    wait_until("their places to be free", || async {
        (siege
            .seen
            .metric("portcullis_connections", &["listener=\"public\""])
            .await
            <= 2.0)
            .then_some(())
    })
    .await;
    siege.assert_good_is_served().await;
}

/// ClientHellos one after another, each left after the gateway's costly answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_client_hellos_is_held_to_its_addresss_share() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    let address = siege.house.gateway.address("public");
    let refused = siege
        .seen
        .metric(
            "portcullis_connections_refused_total",
            &["bound=\"handshakes-per-address\""],
        )
        .await;
    let config = client_config(siege.house.edge.roots(), None, b"h2");
    let server = ServerName::try_from(HOST).unwrap();
    let mut first = rustls::ClientConnection::new(config, server).unwrap();
    let mut hello = Vec::new();
    first.write_tls(&mut hello).unwrap();

    let mut answered = 0;
    for _ in 0..600 {
        let Ok(mut tcp) = from("127.0.0.4", address).await else {
            continue;
        };
        let _ = tcp.write_all(&hello).await;
        let mut byte = [0];
        let answer = tokio::time::timeout(Duration::from_secs(5), tcp.read(&mut byte)).await;
        answered += u32::from(matches!(answer, Ok(Ok(1))));
    }

    println!("{answered} of 600 ClientHellos were answered");
    let now = siege
        .seen
        .metric(
            "portcullis_connections_refused_total",
            &["bound=\"handshakes-per-address\""],
        )
        .await;
    assert!(now > refused || answered < 600, "a flood is held back");
    siege.assert_good_is_served().await;
}

/// A handshake message that says it is 16 MiB long is not waited for, and not kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_hello_without_measure_is_refused() {
    let mut siege = Siege::begin_with(LISTENERS).await;
    let mut tcp = from("127.0.0.5", siege.house.gateway.address("public"))
        .await
        .unwrap();
    let record = |payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0x16, 3, 1, length[0], length[1]][..], payload].concat()
    };
    let mut sent = 0;

    tcp.write_all(&record(&[1, 0xff, 0xff, 0xff, 3, 3]))
        .await
        .unwrap();
    while sent < 16 << 20 && tcp.write_all(&record(&[0; 16_000])).await.is_ok() {
        sent += 16_000;
    }

    println!(
        "{} KiB of one ClientHello were taken, buffers of the system included",
        sent / 1024
    );
    assert!(sent < 8 << 20, "{sent} bytes of one ClientHello were read");
    siege.assert_good_is_served().await;
}

/// What is no TLS at all ends at once, and so does TLS 1.1 and older.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_client_hello_ends_at_once() {
    let siege = Siege::begin_with(LISTENERS).await;
    let seen = Seen::of(&siege.house.gateway);
    let before = seen.metric("portcullis_handshakes_failed_total", &[]).await;
    let plain = crate::support::Dial {
        tls: None,
        ..siege.house.h1()
    };

    for said in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"\x17\x03\x03\x00\x04evil",
        b"\x16\x03\x01\xff\xff",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let mut connection = RawConnection::open(&plain).await;
        connection.write(said).await;
        let rest = connection.rest().await.expect("the gateway to close");
        assert!(rest.is_empty() || rest[0] == 0x15, "at most an alert: {rest:?}");
    }
    wait_until("each to be counted", || async {
        (seen.metric("portcullis_handshakes_failed_total", &[]).await >= before + 5.0).then_some(())
    })
    .await;
}
