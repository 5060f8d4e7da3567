//! A gateway without sockets: plans built by hand, records kept in memory.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use portcullis_admission::limit::LimitTable;
use portcullis_admission::plan::{
    AdmissionPlan, AuthorizePlan, ContractPlan, GuardRef, KeyPart, LimitPlan, PolicyPlan, PolicySource,
    RegoModule, RulePlan, UnknownOperations,
};
use portcullis_identity::KeyFetch;
use portcullis_model::{Guard, ListenerId, Origin, PoolId, Reason, RegionId, Rejection, RouteId};
use portcullis_pipeline::plan::{
    ActionPlan, Class, ConnectionLimits, FieldsPlan, GatewayPlan, ListenerPlan, ListenerRole, PathOddities,
    RewritePlan, RoutePlan, RouteTimeouts,
};
use portcullis_pipeline::{
    Admission, Boards, ConnectionFacts, DecisionRecord, Exchange, Gateway, HeldBodies, LocalAnswer, Now,
    RawHead, RecordSink, SnapshotStore, compile,
};
use portcullis_routing::plan::{
    EndpointAddress, EndpointPlan, HealthPlan, MatchPlan, PathPattern, PoolLimits, PoolPlan, Protocol,
    RegionPlan, RetryBudgetPlan, RetryPlan, RoutingPlan, SegmentPattern, SitePlan,
};

/// Keeps every record.
#[derive(Default)]
pub struct Kept(pub Mutex<Vec<DecisionRecord>>);

impl RecordSink for Kept {
    fn record(&self, record: &DecisionRecord) {
        self.0.lock().unwrap().push(record.clone());
    }
}

struct NoFetch;

#[async_trait::async_trait]
impl KeyFetch for NoFetch {
    async fn fetch(&self, _url: &str) -> Result<Bytes, portcullis_identity::FetchFault> {
        std::future::pending().await
    }
}

/// A gateway under test.
pub struct Hall {
    pub gateway: Arc<Gateway>,
    pub records: Arc<Kept>,
}

pub fn now() -> Now {
    Now {
        wall: SystemTime::now(),
        mono: Instant::now(),
    }
}

pub fn boards() -> Boards {
    Boards {
        identity: portcullis_identity::Boards::new(
            Arc::new(NoFetch),
            portcullis_identity::Clock::new(Instant::now, SystemTime::now),
        ),
        routing: portcullis_routing::Boards::new(&prometheus::Registry::new()).unwrap(),
        limits: Arc::new(LimitTable::new()),
        held: Arc::new(HeldBodies::new()),
    }
}

impl Hall {
    pub fn new(plan: GatewayPlan) -> Self {
        Self::with_boards(plan, boards())
    }

    pub fn with_boards(plan: GatewayPlan, boards: Boards) -> Self {
        let (snapshot, _) = compile(Arc::new(plan), None, &boards, "test".to_owned()).unwrap();
        let records = Arc::new(Kept::default());
        let store = Arc::new(SnapshotStore::new(snapshot));
        let gateway = Gateway::new(store, Arc::new(boards), Arc::clone(&records) as _, now, || 7);
        Self {
            gateway: Arc::new(gateway),
            records,
        }
    }

    pub fn begin(&self) -> Exchange {
        self.gateway.begin(Arc::new(ConnectionFacts {
            listener: ListenerId::from("public"),
            peer: "192.0.2.1:5000".parse().unwrap(),
            local: "192.0.2.2:443".parse().unwrap(),
            tls: None,
        }))
    }

    /// Sends a head through all guards.
    pub async fn ask(
        &self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
    ) -> (Exchange, Result<Admission, Rejection>) {
        let mut exchange = self.begin();
        let headers = headers(fields);
        let has_body = headers.contains_key("content-length");
        let raw = RawHead {
            method: &method,
            target: target.as_bytes(),
            authority: None,
            headers: &headers,
            version: Version::HTTP_11,
            upgrade: headers.get("upgrade").and_then(|value| value.to_str().ok()),
            has_body,
        };
        let outcome = exchange.admit(raw).await;
        (exchange, outcome)
    }

    pub async fn refused(&self, method: Method, target: &str, fields: &[(&str, &str)]) -> Reason {
        self.ask(method, target, fields).await.1.unwrap_err().reason
    }

    pub async fn answered(&self, method: Method, target: &str, fields: &[(&str, &str)]) -> LocalAnswer {
        match self.ask(method, target, fields).await.1.unwrap() {
            Admission::Answer(answer) => answer,
            other => panic!("expected an answer, got {other:?}"),
        }
    }
}

pub fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("api.example.com"));
    for (name, value) in fields {
        headers.append(
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

pub fn origin(path: &str) -> Origin {
    Origin::of(path)
}

pub fn prefix(path: &str) -> PathPattern {
    let segments = path.split('/').filter(|part| !part.is_empty());
    PathPattern::Segments {
        segments: segments
            .map(|part| SegmentPattern::Literal(part.to_owned()))
            .collect(),
        prefix: true,
    }
}

pub fn route(name: &str, path: &str) -> RoutePlan {
    RoutePlan {
        id: RouteId::from(name),
        origin: origin(&format!("routes.{name}")),
        matches: MatchPlan {
            origin: origin(&format!("routes.{name}.match")),
            hosts: Vec::new(),
            path: prefix(path),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        },
        listeners: vec![ListenerId::from("public")],
        public: true,
        authenticate: Vec::new(),
        rate_limits: Vec::new(),
        contract: None,
        authorize: Vec::new(),
        action: ActionPlan::Pool(PoolId::from("orders")),
        class: Class::Default,
        residency: None,
        timeouts: RouteTimeouts::default(),
        body_max: None,
        retry: RetryPlan::default(),
        websocket: false,
        cors: None,
        path_allow: PathOddities::default(),
        rewrite: RewritePlan::default(),
        request_fields: FieldsPlan::default(),
        response_fields: FieldsPlan::default(),
    }
}

pub fn site(region: &str, address: &str) -> SitePlan {
    SitePlan {
        region: RegionId::from(region),
        origin: origin("site"),
        endpoints: vec![EndpointPlan {
            origin: origin("endpoint"),
            address: EndpointAddress::Socket(address.parse::<SocketAddr>().unwrap()),
            weight: 100,
        }],
        capacity_per_second: None,
    }
}

pub fn pool(name: &str, sites: Vec<SitePlan>) -> PoolPlan {
    PoolPlan {
        id: PoolId::from(name),
        origin: origin(&format!("pools.{name}")),
        sites,
        protocol: Protocol::Auto,
        tls: false,
        health: HealthPlan::default(),
        limits: PoolLimits::default(),
        retry: RetryBudgetPlan::default(),
    }
}

pub fn plan(routes: Vec<RoutePlan>) -> GatewayPlan {
    let regions = [
        ("eu-west", vec!["eu-central", "us-east"]),
        ("eu-central", vec![]),
        ("us-east", vec![]),
    ];
    GatewayPlan {
        identity: portcullis_identity::plan::IdentityPlan::default(),
        admission: AdmissionPlan::default(),
        routing: RoutingPlan {
            local: RegionId::from("eu-west"),
            regions: regions
                .into_iter()
                .map(|(name, failover)| {
                    let failover = failover.into_iter().map(RegionId::from).collect();
                    (
                        RegionId::from(name),
                        RegionPlan {
                            origin: origin("regions"),
                            failover,
                        },
                    )
                })
                .collect(),
            jurisdictions: BTreeMap::from([
                (
                    "EU".into(),
                    vec![RegionId::from("eu-west"), RegionId::from("eu-central")],
                ),
                ("US".into(), vec![RegionId::from("us-east")]),
            ]),
            pools: vec![pool(
                "orders",
                vec![
                    site("eu-west", "127.0.0.1:3001"),
                    site("us-east", "127.0.0.1:3003"),
                ],
            )],
        },
        listeners: vec![ListenerPlan {
            id: ListenerId::from("public"),
            origin: origin("listeners.public"),
            role: ListenerRole::Serve,
            tls: false,
            limits: ConnectionLimits::default(),
            rate_limits: Vec::new(),
        }],
        routes,
        trusted_proxies: Vec::new(),
        held_bodies: 1024 * 1024,
        deny_list: None,
    }
}

/// Trust in a trust domain whose bundle a Workload API would deliver.
pub fn trust(name: &str) -> portcullis_identity::plan::TrustPlan {
    portcullis_identity::plan::TrustPlan {
        id: name.into(),
        origin: origin(&format!("trust.{name}")),
        anchors: portcullis_identity::plan::TrustAnchors::TrustDomain(
            "corp.example".try_into().unwrap(),
            None,
        ),
        revocation: None,
    }
}

pub fn limit(name: &str, key: KeyPart, count: u32) -> LimitPlan {
    LimitPlan {
        id: name.into(),
        origin: origin(&format!("rate_limits.{name}")),
        key: vec![key],
        count: NonZeroU32::new(count).unwrap(),
        per: Duration::from_secs(3600),
        burst: NonZeroU32::new(count).unwrap(),
        guard: Guard::ENFORCE,
    }
}

pub fn reference<Id>(id: Id, guard: Option<Guard>) -> GuardRef<Id> {
    GuardRef {
        id,
        origin: origin("reference"),
        guard,
    }
}

pub fn policy(name: &str, rego: &str, reads_body: bool) -> PolicyPlan {
    PolicyPlan {
        id: name.into(),
        origin: origin(&format!("policies.{name}")),
        source: PolicySource::Rego {
            modules: vec![RegoModule {
                file: "test.rego".into(),
                text: rego.into(),
            }],
            data: Arc::new(serde_json::json!({})),
        },
        decision: "data.test.decision".into(),
        budget: Duration::from_millis(500),
        headers: Vec::new(),
        reads_body,
        remember: true,
        guard: Guard::ENFORCE,
    }
}

pub fn ask_policy(name: &str, guard: Option<Guard>) -> AuthorizePlan {
    AuthorizePlan {
        origin: origin("authorize"),
        rule: RulePlan::Policy(name.into()),
        methods: Vec::new(),
        guard,
    }
}

pub fn contract(name: &str, document: serde_json::Value) -> ContractPlan {
    ContractPlan {
        id: name.into(),
        origin: origin(&format!("contracts.{name}")),
        file: "orders.yaml".into(),
        document: Arc::new(document),
        guard: Guard::ENFORCE,
        unknown_operations: UnknownOperations::Deny,
    }
}
