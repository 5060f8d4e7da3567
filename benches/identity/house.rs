//! A gateway without sockets, loaded through the operator's door.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use portcullis_config::{LoadOptions, load};
use portcullis_identity::{Clock, DenyList, FetchFault, KeyFetch};
use portcullis_pipeline::{
    Admission, Boards, ConnectionFacts, DecisionRecord, Ending, Gateway, HeldBodies, Now, RawHead,
    RecordSink, Snapshot, SnapshotStore, compile,
};
use tempfile::TempDir;

struct NoFetch;

#[async_trait::async_trait]
impl KeyFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<Bytes, FetchFault> {
        std::future::pending().await
    }
}

struct Nowhere;

impl RecordSink for Nowhere {
    fn record(&self, record: &DecisionRecord) {
        std::hint::black_box(record);
    }
}

/// The gateway and what it was loaded from.
pub struct House {
    pub gateway: Arc<Gateway>,
    pub snapshot: Arc<Snapshot>,
    pub denied: Arc<DenyList>,
    connection: Arc<ConnectionFacts>,
    runtime: tokio::runtime::Runtime,
    _folder: TempDir,
}

fn now() -> Now {
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

impl House {
    /// Of a configuration, beside files that `write` puts into its folder.
    pub fn open(configuration: &str, write: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let file = folder.path().join("portcullis.yaml");
        fs::write(&file, configuration).unwrap();
        let options = LoadOptions {
            offline: false,
            region: None,
            env: &|_| None,
        };
        let loaded = load(&file, &options).unwrap_or_else(|refused| panic!("{refused}"));
        let clock = Clock::new(Instant::now, SystemTime::now);
        let boards = Boards {
            identity: portcullis_identity::Boards::new(Arc::new(NoFetch), clock),
            routing: portcullis_routing::Boards::new(&prometheus::Registry::new()).unwrap(),
            limits: Arc::default(),
            held: Arc::new(HeldBodies::new()),
        };
        let denied = Arc::clone(&boards.identity.denied);
        let (snapshot, _) = compile(loaded.live, None, &boards, loaded.revision).unwrap();
        let store = Arc::new(SnapshotStore::new(snapshot));
        let snapshot = store.load();
        let gateway = Gateway::new(store, Arc::new(boards), Arc::new(Nowhere), now, rand::random);
        Self {
            gateway: Arc::new(gateway),
            snapshot,
            denied,
            connection: Arc::new(ConnectionFacts {
                listener: "plain".into(),
                peer: SocketAddr::from(([192, 0, 2, 1], 5_000)),
                local: SocketAddr::from(([192, 0, 2, 2], 443)),
                tls: None,
            }),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            _folder: folder,
        }
    }

    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A whole request up to its record.
    pub fn journey(&self, target: &str, headers: &HeaderMap) {
        let mut exchange = self.gateway.begin(Arc::clone(&self.connection));
        let raw = RawHead {
            method: &Method::GET,
            target: target.as_bytes(),
            authority: None,
            headers,
            version: Version::HTTP_11,
            upgrade: None,
            has_body: false,
        };
        let admission = self.wait_for(exchange.admit(raw));
        assert!(matches!(admission, Ok(Admission::Forward)), "{admission:?}");
        let endpoint = exchange.select_endpoint().unwrap();
        std::hint::black_box(exchange.prepare_upstream(&endpoint).unwrap());
        exchange.observe(StatusCode::OK, &mut HeaderMap::new(), true);
        exchange.finish(Some(StatusCode::OK), (0, 512), Ending::Complete);
    }
}
