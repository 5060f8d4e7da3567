//! One connection, one request, close; and connections that wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use super::{connect_tls, h1, open, tls};
use crate::Result;
use crate::load::Outcome;
use crate::origin::ANSWER;
use crate::scenario::{Protocol, Session};

/// Clients that shake hands at the same time.
const CLIENTS: usize = 8;

/// Shakes hands this many times; a client that resumes has a session from before this counts.
pub(crate) async fn run(
    authority: &CertificateDer<'static>,
    session: Session,
    requests: usize,
    address: SocketAddr,
) -> Result<Outcome> {
    let left = Arc::new(AtomicUsize::new(requests));
    let mut clients: JoinSet<Result<Vec<Duration>>> = JoinSet::new();
    let began = Instant::now();
    for _ in 0..CLIENTS {
        let config = tls(authority, session, Protocol::H1)?;
        let left = Arc::clone(&left);
        clients.spawn(async move {
            let mut latencies = Vec::new();
            let mut is_first = session == Session::Resumed;
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
            {
                let began = Instant::now();
                let kind = once(address, &config).await?;
                let expected = if session == Session::Resumed && !is_first {
                    HandshakeKind::Resumed
                } else {
                    HandshakeKind::Full
                };
                if kind != expected {
                    return Err(format!("void: a {kind:?} handshake where {expected:?} was due"));
                }
                is_first = false;
                latencies.push(began.elapsed());
            }
            Ok(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(requests);
    while let Some(client) = clients.join_next().await {
        latencies.extend(client.map_err(|error| format!("a client stopped: {error}"))??);
    }
    Ok(Outcome::new(began.elapsed(), latencies))
}

async fn once(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<HandshakeKind> {
    let stream = connect_tls(address, config).await?;
    let kind = stream
        .get_ref()
        .1
        .handshake_kind()
        .ok_or("a handshake without a kind")?;
    let mut connection = h1::Connection::new(Box::new(stream));
    // The answer comes after the tickets, so reading it takes them too.
    let answer = connection
        .ask(&h1::request("GET", "/", &[("connection", "close")], b""))
        .await?;
    if answer.status != 200 || answer.body.len() != ANSWER {
        return Err(format!(
            "void: answered {} with {} bytes",
            answer.status,
            answer.body.len()
        ));
    }
    connection.close().await;
    Ok(kind)
}

impl h1::Connection {
    /// Says goodbye, as a browser does.
    async fn close(mut self) {
        let _ = self.wire_mut().shutdown().await;
    }
}

/// Connections that did one request each and stay open as long as this lives.
pub(crate) struct Waiting {
    connections: Vec<h1::Connection>,
}

impl Waiting {
    pub(crate) fn none() -> Self {
        Self {
            connections: Vec::new(),
        }
    }

    /// Opens more, one after the other.
    pub(crate) async fn add(
        &mut self,
        count: usize,
        address: SocketAddr,
        config: &Arc<ClientConfig>,
    ) -> Result<()> {
        let request = h1::request("GET", "/", &[], b"");
        for _ in 0..count {
            let mut connection = h1::Connection::new(open(address, Some(config)).await?);
            let answer = connection.ask(&request).await?;
            if answer.status != 200 {
                return Err(format!("void: answered {}", answer.status));
            }
            self.connections.push(connection);
        }
        Ok(())
    }

    /// True when none was closed meanwhile: each answers once more.
    pub(crate) async fn all_answer(&mut self) -> Result<()> {
        let request = h1::request("GET", "/", &[], b"");
        for connection in &mut self.connections {
            let answer = connection.ask(&request).await?;
            if answer.status != 200 {
                return Err(format!("void: answered {}", answer.status));
            }
        }
        Ok(())
    }
}
