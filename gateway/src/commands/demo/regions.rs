//! Three regions of the sample API on loopback: each a TLS server that asks for the gateway's identity, and that
//! can be stopped and started again on the same port.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use portcullis_identity::PeerIdentity;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

use super::pki::Pki;
use super::sample_api::SampleApi;
use super::{DemoFault, TRUST_DOMAIN};

/// The regions, the gateway's own first, with their jurisdictions.
pub(super) const REGIONS: &[(&str, &str)] = &[("eu-west", "EU"), ("eu-central", "EU"), ("us-east", "US")];

/// The sample API's bodies are small.
const MAX_BODY: usize = 256 * 1024;

/// For a handshake on loopback.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// One region of the sample API.
pub(super) struct Region {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    acceptor: TlsAcceptor,
    api: Arc<SampleApi>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Region {
    /// Binds a free port on loopback and serves.
    pub(super) async fn start_on_free_port(name: &'static str, pki: &Pki) -> Result<Self, DemoFault> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let region = Self {
            name,
            address: listener.local_addr()?,
            acceptor: TlsAcceptor::from(Arc::new(server_config(pki)?)),
            api: Arc::new(SampleApi::new(name)),
            running: Mutex::new(None),
        };
        region.serve(listener).await;
        Ok(region)
    }

    /// Serves again on the same port; nothing happens when it runs.
    pub(super) async fn start(&self) -> Result<(), DemoFault> {
        if self.is_running().await {
            return Ok(());
        }
        // Tokio sets SO_REUSEADDR on Unix, so connections in TIME_WAIT do not hold the port.
        let listener = TcpListener::bind(self.address).await?;
        self.serve(listener).await;
        info!(region = self.name, "region started");
        Ok(())
    }

    /// Closes the port and every connection at once, as a power cut would.
    pub(super) async fn stop(&self) {
        let Some(running) = self.running.lock().await.take() else {
            return;
        };
        let _ = running.stop.send(true);
        let _ = running.accepting.await;
        info!(region = self.name, "region stopped");
    }

    /// Whether it serves.
    pub(super) async fn is_running(&self) -> bool {
        self.running.lock().await.is_some()
    }

    async fn serve(&self, listener: TcpListener) {
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(
            listener,
            self.acceptor.clone(),
            Arc::clone(&self.api),
            stopped,
        ));
        *self.running.lock().await = Some(Running { stop, accepting });
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    api: Arc<SampleApi>,
    mut stopped: watch::Receiver<bool>,
) {
    // Dropping the set drops every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(serve_connection(stream, acceptor.clone(), Arc::clone(&api)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, api: Arc<SampleApi>) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "sample API: handshake failed"),
        Err(_) => return,
    };
    let is_gateway = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| PeerIdentity::from_chain(chain).spiffe_id.ok())
        .is_some_and(|id| id.to_string() == format!("spiffe://{TRUST_DOMAIN}/gateway"));
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(&api, is_gateway, request).await) }
    });
    let served = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "sample API: connection ended");
    }
}

async fn answer(api: &SampleApi, is_gateway: bool, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if !is_gateway {
        return api.error(StatusCode::FORBIDDEN, "only the gateway may call this API");
    }
    let (head, body) = request.into_parts();
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => api.answer(&head, &body.to_bytes()),
        Err(_) => api.error(StatusCode::BAD_REQUEST, "the body could not be read"),
    }
}

fn server_config(pki: &Pki) -> Result<rustls::ServerConfig, DemoFault> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.ca.as_bytes())?)?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let chain =
        CertificateDer::pem_slice_iter(pki.endpoint.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(pki.endpoint.key.as_bytes())?;
    let mut config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
