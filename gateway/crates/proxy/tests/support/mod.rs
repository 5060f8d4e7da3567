//! A whole door with real sockets: plans built by hand, endpoints that write down every byte.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod endpoint;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use portcullis_admission::limit::LimitTable;
use portcullis_admission::plan::{
    AdmissionPlan, AuthorizePlan, ContractPlan, GuardRef, PolicyPlan, PolicySource, RegoModule, RulePlan,
    UnknownOperations,
};
use portcullis_identity::KeyFetch;
use portcullis_identity::plan::{
    CertifiedKeyPlan, IdentityPlan, ListenerTlsPlan, UpstreamPeer, UpstreamTlsPlan,
};
use portcullis_model::{Guard, ListenerId, Origin, PoolId, Redacted, RegionId, RouteId};
use portcullis_pipeline::plan::{
    ActionPlan, Class, ConnectionLimits, FieldsPlan, GatewayPlan, ListenerPlan, ListenerRole, PathOddities,
    RewritePlan, RoutePlan, RouteTimeouts,
};
use portcullis_pipeline::{
    Boards, DecisionRecord, Gateway, HeldBodies, Now, RecordSink, SnapshotStore, compile,
};
use portcullis_proxy::{BoundListener, Proxy};
use portcullis_routing::plan::{
    EndpointAddress, EndpointPlan, HealthPlan, MatchPlan, PathPattern, PoolLimits, PoolPlan, Protocol,
    RegionPlan, RetryBudgetPlan, RetryPlan, RoutingPlan, SitePlan,
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

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

/// A door under test.
pub struct House {
    pub proxy: Proxy,
    pub address: SocketAddr,
    pub records: Arc<Kept>,
}

impl House {
    pub fn open(plan: GatewayPlan) -> Self {
        let boards = Boards {
            identity: portcullis_identity::Boards::new(
                Arc::new(NoFetch),
                portcullis_identity::Clock::new(Instant::now, SystemTime::now),
            ),
            routing: portcullis_routing::Boards::new(&prometheus::Registry::new()).unwrap(),
            limits: Arc::new(LimitTable::new()),
            held: Arc::new(HeldBodies::new()),
        };
        let (snapshot, _) = compile(Arc::new(plan), None, &boards, "test".to_owned()).unwrap();
        let records = Arc::new(Kept::default());
        let store = Arc::new(SnapshotStore::new(snapshot));
        let now = || Now {
            wall: SystemTime::now(),
            mono: Instant::now(),
        };
        let gateway = Gateway::new(store, Arc::new(boards), Arc::clone(&records) as _, now, || 7);
        let proxy = Proxy::new(2, &prometheus::Registry::new()).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = BoundListener {
            id: ListenerId::from("public"),
            socket,
        };
        proxy.serve(Arc::new(gateway), vec![listener]).unwrap();
        Self {
            proxy,
            address,
            records,
        }
    }

    pub async fn connect(&self) -> Client<TcpStream> {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            read: Vec::new(),
        }
    }

    /// One request on its own connection, and everything that came back.
    pub async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        // A door that refuses the connection may close it before the request is written.
        let _ = client.stream.write_all(request.as_bytes()).await;
        client.rest().await
    }

    /// The reasons and endings of every record so far, once there are so many.
    pub async fn records(&self, count: usize) -> Vec<DecisionRecord> {
        let records = Arc::clone(&self.records);
        until(move || records.0.lock().unwrap().len() >= count).await;
        self.records.0.lock().unwrap().clone()
    }
}

/// Waits for a condition, with a deadline.
pub async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not come true");
        tokio::task::yield_now().await;
    }
}

/// The client's end of a connection.
pub struct Client<S> {
    pub stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads until this text was seen, and gives everything up to its end.
    pub async fn until(&mut self, text: &str) -> String {
        loop {
            let found = self
                .read
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(start) = found {
                let rest = self.read.split_off(start + text.len());
                let seen = std::mem::replace(&mut self.read, rest);
                return String::from_utf8_lossy(&seen).into_owned();
            }
            let mut buffer = [0_u8; 4096];
            let read = tokio::time::timeout(Duration::from_secs(10), self.stream.read(&mut buffer)).await;
            let count = read.expect("an answer in time").unwrap();
            assert!(
                count > 0,
                "closed before {text:?}: {:?}",
                String::from_utf8_lossy(&self.read)
            );
            self.read.extend_from_slice(&buffer[..count]);
        }
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> String {
        let mut read = std::mem::take(&mut self.read);
        let end = tokio::time::timeout(Duration::from_secs(10), self.stream.read_to_end(&mut read)).await;
        // A reset after the answer is an end, too.
        let _ = end.expect("the connection ends in time");
        String::from_utf8_lossy(&read).into_owned()
    }
}

pub fn origin(path: &str) -> Origin {
    Origin::of(path)
}

pub fn route(name: &str) -> RoutePlan {
    RoutePlan {
        id: RouteId::from(name),
        origin: origin("routes"),
        matches: MatchPlan {
            origin: origin("match"),
            hosts: Vec::new(),
            path: PathPattern::Segments {
                segments: Vec::new(),
                prefix: true,
            },
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

pub fn site(region: &str, address: SocketAddr) -> SitePlan {
    let endpoint = EndpointPlan {
        origin: origin("endpoint"),
        address: EndpointAddress::Socket(address),
        weight: 100,
    };
    SitePlan {
        region: RegionId::from(region),
        origin: origin("site"),
        endpoints: vec![endpoint],
        capacity_per_second: None,
    }
}

pub fn pool(sites: Vec<SitePlan>) -> PoolPlan {
    PoolPlan {
        id: PoolId::from("orders"),
        origin: origin("pools.orders"),
        sites,
        protocol: Protocol::Auto,
        tls: false,
        health: HealthPlan::default(),
        limits: PoolLimits::default(),
        retry: RetryBudgetPlan::default(),
    }
}

/// A plain listener before one route to these endpoints, in `eu-west` and then `us-east`.
pub fn plan(route: RoutePlan, endpoints: &[SocketAddr]) -> GatewayPlan {
    let region = |failover: &[&str]| RegionPlan {
        origin: origin("regions"),
        failover: failover.iter().map(|name| RegionId::from(*name)).collect(),
    };
    let sites = ["eu-west", "us-east"]
        .iter()
        .zip(endpoints)
        .map(|(name, address)| site(name, *address))
        .collect();
    GatewayPlan {
        identity: IdentityPlan::default(),
        admission: AdmissionPlan::default(),
        routing: RoutingPlan {
            local: RegionId::from("eu-west"),
            regions: BTreeMap::from([
                (RegionId::from("eu-west"), region(&["us-east"])),
                (RegionId::from("us-east"), region(&[])),
            ]),
            jurisdictions: BTreeMap::new(),
            pools: vec![pool(sites)],
        },
        listeners: vec![ListenerPlan {
            id: ListenerId::from("public"),
            origin: origin("listeners.public"),
            role: ListenerRole::Serve,
            tls: false,
            limits: ConnectionLimits::default(),
            rate_limits: Vec::new(),
        }],
        routes: vec![route],
        trusted_proxies: Vec::new(),
        held_bodies: 16 * 1024 * 1024,
        deny_list: None,
    }
}

/// A contract whose `POST /orders` wants `{"item": "at most 8", …}`.
pub fn with_contract(mut plan: GatewayPlan) -> GatewayPlan {
    let document = serde_json::json!({
        "openapi": "3.1.0",
        "info": { "title": "orders", "version": "1" },
        "paths": { "/orders": { "post": {
            "operationId": "createOrder",
            "responses": { "201": { "description": "ok" } },
            "requestBody": { "required": true, "content": { "application/json": { "schema": {
                "type": "object", "required": ["item"],
                "properties": { "item": { "type": "string", "maxLength": 8 }, "note": { "type": "string" } } } } } }
        } } }
    });
    plan.admission.contracts.push(ContractPlan {
        id: "orders".into(),
        origin: origin("contracts.orders"),
        file: "orders.yaml".into(),
        document: Arc::new(document),
        guard: Guard::ENFORCE,
        unknown_operations: UnknownOperations::Deny,
    });
    for route in &mut plan.routes {
        route.contract = Some(GuardRef {
            id: "orders".into(),
            origin: origin("reference"),
            guard: None,
        });
        route.body_max = Some(1024 * 1024);
    }
    plan
}

/// A policy that allows a request whose body says that the item is tea.
pub fn with_body_policy(mut plan: GatewayPlan) -> GatewayPlan {
    let text = "package test\nimport rego.v1\ndefault decision := {\"allow\": false}\ndecision := {\"allow\": true} if input.request.body.item == \"tea\"\n";
    plan.admission.policies.push(PolicyPlan {
        id: "tea".into(),
        origin: origin("policies.tea"),
        source: PolicySource::Rego {
            modules: vec![RegoModule {
                file: "test.rego".into(),
                text: text.into(),
            }],
            data: Arc::new(serde_json::json!({})),
        },
        decision: "data.test.decision".into(),
        budget: Duration::from_millis(500),
        headers: Vec::new(),
        reads_body: true,
        remember: true,
        guard: Guard::ENFORCE,
    });
    for route in &mut plan.routes {
        route.body_max = Some(64 * 1024);
        route.authorize.push(AuthorizePlan {
            origin: origin("authorize"),
            rule: RulePlan::Policy("tea".into()),
            methods: Vec::new(),
            guard: None,
        });
    }
    plan
}

/// A certificate authority that is thrown away.
pub struct Pki {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

/// A certificate and its key.
pub struct Leaf {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: rcgen::KeyPair,
}

impl Pki {
    pub fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test authority");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub fn leaf(&self, name: &str) -> Leaf {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let name = match name.starts_with("spiffe://") {
            true => rcgen::SanType::URI(name.try_into().unwrap()),
            false => rcgen::SanType::DnsName(name.try_into().unwrap()),
        };
        params.subject_alt_names = vec![name];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    /// A client that trusts this authority.
    pub fn client(&self, alpn: &[&[u8]]) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

impl Leaf {
    pub fn plan(&self) -> CertifiedKeyPlan {
        CertifiedKeyPlan {
            origin: origin("certificate"),
            chain: self.chain.clone(),
            key_pem: Redacted::new(self.key.serialize_pem().into()),
        }
    }
}

/// Gives the listener TLS for `api.example.com`.
pub fn with_tls(mut plan: GatewayPlan, leaf: &Leaf) -> GatewayPlan {
    plan.listeners[0].tls = true;
    plan.identity.listeners.push(ListenerTlsPlan {
        listener: ListenerId::from("public"),
        origin: origin("tls"),
        certificates: vec![leaf.plan().into()],
        client: Default::default(),
        hosts: BTreeMap::new(),
        alpn: vec!["h2", "http/1.1"],
    });
    plan
}

/// Reaches the pool over mTLS, expecting this SPIFFE ID.
pub fn with_spiffe_endpoint(mut plan: GatewayPlan, pki: &Pki, expected: &str) -> GatewayPlan {
    plan.routing.pools[0].tls = true;
    plan.identity.svid = Some(pki.leaf("spiffe://corp.example/gateway").plan());
    plan.identity.upstreams.push(UpstreamTlsPlan {
        pool: PoolId::from("orders"),
        origin: origin("pools.orders.tls"),
        peer: UpstreamPeer::Spiffe {
            expected: expected.parse().unwrap(),
            anchors: Some(vec![pki.root()]),
        },
        revocation: None,
    });
    plan
}

/// A TLS connection to the door.
pub async fn tls(
    house: &House,
    pki: &Pki,
    name: &str,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(house.address).await.unwrap();
    pki.client(alpn)
        .connect(ServerName::try_from(name.to_owned()).unwrap(), stream)
        .await
}
