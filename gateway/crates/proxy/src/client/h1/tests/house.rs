//! The smallest hall there is, and an exchange that tells the client what it sent.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use http::StatusCode;
use portcullis_admission::limit::LimitTable;
use portcullis_admission::plan::AdmissionPlan;
use portcullis_identity::plan::IdentityPlan;
use portcullis_model::{Origin, RegionId};
use portcullis_pipeline::plan::GatewayPlan;
use portcullis_pipeline::{
    Boards, DecisionRecord, Gateway, HeldBodies, Now, RecordSink, SnapshotStore, compile,
};
use portcullis_routing::plan::{RegionPlan, RoutingPlan};

use super::*;
use crate::client::Client;
use crate::client::h1::Exchanges;
use crate::message::Length;

/// Keeps every record.
#[derive(Default)]
pub(super) struct Kept(pub(super) Mutex<Vec<DecisionRecord>>);

impl RecordSink for Kept {
    fn record(&self, record: &DecisionRecord) {
        self.0.lock().unwrap().push(record.clone());
    }
}

struct NoFetch;

#[async_trait::async_trait]
impl portcullis_identity::KeyFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<Bytes, portcullis_identity::FetchFault> {
        std::future::pending().await
    }
}

/// Answers every request with its method, target and body.
pub(super) struct Echo {
    gateway: Arc<Gateway>,
    pub(super) records: Arc<Kept>,
}

impl Echo {
    pub(super) fn new() -> Self {
        let boards = Boards {
            identity: portcullis_identity::Boards::new(
                Arc::new(NoFetch),
                portcullis_identity::Clock::new(Instant::now, SystemTime::now),
            ),
            routing: portcullis_routing::Boards::new(&prometheus::Registry::new()).unwrap(),
            limits: Arc::new(LimitTable::new()),
            held: Arc::new(HeldBodies::new()),
        };
        let region = RegionPlan {
            origin: Origin::of("regions.here"),
            failover: Vec::new(),
        };
        let plan = GatewayPlan {
            identity: IdentityPlan::default(),
            admission: AdmissionPlan::default(),
            routing: RoutingPlan {
                local: RegionId::from("here"),
                regions: BTreeMap::from([(RegionId::from("here"), region)]),
                jurisdictions: BTreeMap::new(),
                pools: Vec::new(),
            },
            listeners: Vec::new(),
            routes: Vec::new(),
            trusted_proxies: Vec::new(),
            held_bodies: 1024,
            deny_list: None,
        };
        let (snapshot, _) = compile(Arc::new(plan), None, &boards, "test".to_owned()).unwrap();
        let records = Arc::new(Kept::default());
        let now = || Now {
            wall: SystemTime::now(),
            mono: Instant::now(),
        };
        let store = Arc::new(SnapshotStore::new(snapshot));
        let gateway = Gateway::new(store, Arc::new(boards), Arc::clone(&records) as _, now, || 7);
        Self {
            gateway: Arc::new(gateway),
            records,
        }
    }
}

impl Exchanges for Echo {
    fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    async fn exchange(&self, client: &mut Client, _connection: &Arc<Connection>) {
        let mut seen = format!("{} ", client.head().method).into_bytes();
        seen.extend_from_slice(&client.head().target);
        client.invite();
        loop {
            let next = poll_fn(|context| {
                let _ = client.poll_flush(context);
                client.poll_piece(context)
            });
            match next.await {
                Ok(Piece::Data(data)) => seen.extend_from_slice(&data),
                Ok(Piece::End(_)) => break,
                Err(_) => return,
            }
        }
        // Where the answer ends.
        seen.push(b'!');
        client
            .start(StatusCode::OK, HeaderMap::new(), Length::of(seen.len()))
            .unwrap();
        client.push(Bytes::from(seen)).unwrap();
        client.finish(None).unwrap();
        // A client that cannot be written to shows in `into_next`.
        let _ = poll_fn(|context| client.poll_flush(context)).await;
    }
}
