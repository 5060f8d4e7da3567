//! An endpoint that keeps every byte it is sent, and answers 200 to each whole HTTP/1.1 request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::client::Wire;
use super::endpoint::server_config;
use super::pki::{Authority, Leaf};

/// A running recorder.
pub struct Recorder {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    bytes: Mutex<Vec<u8>>,
    connections: AtomicUsize,
}

impl Recorder {
    /// Plaintext.
    pub async fn start() -> Self {
        Self::bind(None).await
    }

    /// TLS that speaks `alpn`; only what comes after the handshake is kept.
    pub async fn start_tls(leaf: &Leaf, clients: Option<&Authority>, alpn: &[u8]) -> Self {
        let mut config = server_config(leaf, clients);
        config.alpn_protocols = vec![alpn.to_vec()];
        Self::bind(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn bind(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let kept = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    match tls {
                        None => serve(tcp, &shared).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, &shared).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            shared: kept,
            task,
        }
    }

    /// Every byte so far, of all connections in the order of arrival.
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.bytes.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut wire: impl Wire, shared: &Shared) {
    let mut request = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = wire.read(&mut piece).await {
        shared.bytes.lock().unwrap().extend_from_slice(&piece[..count]);
        request.extend_from_slice(&piece[..count]);
        if is_whole(&request) {
            request.clear();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nrecorded";
            if wire.write_all(answer).await.is_err() || wire.flush().await.is_err() {
                return;
            }
        }
    }
}

/// True when the head and as many bytes as it announces are there.
pub fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    if head.contains("\r\ntransfer-encoding: chunked") {
        let has_last_chunk = body.starts_with("0\r\n") || body.contains("\r\n0\r\n");
        return has_last_chunk && body.ends_with("\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.map_or(0, |length| length.trim().parse::<usize>().unwrap()) <= body.len()
}
