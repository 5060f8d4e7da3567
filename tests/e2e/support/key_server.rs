//! An issuer's web server: what it publishes, how often it was asked, and how it fails.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A running server.
pub struct KeyServer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    documents: Mutex<BTreeMap<String, Publication>>,
    asked: Mutex<Vec<String>>,
}

#[derive(Clone)]
enum Publication {
    Document(u16, String),
    Nothing,
}

impl KeyServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&served);
                let service =
                    service_fn(move |request: Request<Incoming>| answer(Arc::clone(&shared), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on this is what stands there.
    pub fn publish(&self, path: &str, document: &str) {
        self.put(path, Publication::Document(200, document.to_owned()));
    }

    pub fn fail(&self, path: &str, status: u16) {
        self.put(path, Publication::Document(status, "no".to_owned()));
    }

    /// From now on requests wait for ever.
    pub fn hang(&self, path: &str) {
        self.put(path, Publication::Nothing);
    }

    /// How often the path was asked for.
    pub fn count(&self, path: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == path).count()
    }

    fn put(&self, path: &str, publication: Publication) {
        let mut documents = self.shared.documents.lock().unwrap();
        documents.insert(path.to_owned(), publication);
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    shared.asked.lock().unwrap().push(path.clone());
    let publication = shared.documents.lock().unwrap().get(&path).cloned();
    let (status, body) = match publication {
        Some(Publication::Document(status, body)) => (status, body),
        Some(Publication::Nothing) => std::future::pending().await,
        None => (404, String::new()),
    };
    Ok(Response::builder()
        .status(status)
        .body(Full::new(Bytes::from(body)))
        .unwrap())
}
