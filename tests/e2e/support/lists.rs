//! Revocation lists of a throw-away authority, and a server that hands them out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    CertificateRevocationList, CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::pki::{Authority, Leaf, seconds};

/// A list that was issued a minute ago and revokes these leaves.
pub fn list(authority: &Authority, revoked: &[&Leaf], valid_for: Duration) -> CertificateRevocationList {
    let now = SystemTime::now();
    issued(authority, revoked, now - Duration::from_secs(60), now + valid_for)
}

/// A list that has been overdue for a minute.
pub fn overdue(authority: &Authority, revoked: &[&Leaf]) -> CertificateRevocationList {
    let now = SystemTime::now();
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    issued(authority, revoked, now - hour, now - minute)
}

fn issued(
    authority: &Authority,
    revoked: &[&Leaf],
    this_update: SystemTime,
    next_update: SystemTime,
) -> CertificateRevocationList {
    let moment = |time| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds(time));
    let revoked = revoked.iter().map(|leaf| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial(leaf)),
        revocation_time: moment(this_update),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: moment(this_update),
        next_update: moment(next_update),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer).unwrap()
}

/// The octets of a leaf's serial number: the first INTEGER behind the version.
fn serial(leaf: &Leaf) -> Vec<u8> {
    let der = leaf.chain().remove(0);
    let version = [0xa0, 3, 2, 1, 2, 2];
    let position = der.windows(6).position(|window| window == version).unwrap() + 6;
    let length = usize::from(der[position]);
    der[position + 1..=position + length].to_vec()
}

/// A server of lists, by path.
pub struct Lists {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    lists: Mutex<BTreeMap<String, Bytes>>,
    asked: Mutex<Vec<String>>,
}

impl Lists {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let shared = Arc::clone(&served);
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = shared.answer(request.uri().path());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let server = hyper::server::conn::http1::Builder::new();
                connections.spawn(server.serve_connection(TokioIo::new(tcp), service));
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// Hands this list out from now on.
    pub fn serve(&self, path: &str, list: &CertificateRevocationList) {
        let list = Bytes::copy_from_slice(list.der());
        self.shared.lists.lock().unwrap().insert(path.to_owned(), list);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == path).count()
    }
}

impl Shared {
    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        self.asked.lock().unwrap().push(path.to_owned());
        let list = self.lists.lock().unwrap().get(path).cloned();
        let status = if list.is_some() { 200 } else { 404 };
        let body = Full::new(list.unwrap_or_default());
        Response::builder().status(status).body(body).unwrap()
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        self.task.abort();
    }
}
