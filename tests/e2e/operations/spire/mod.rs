//! Identities from a real SPIRE: server, agent and the SVIDs they issue.

mod ends;
mod federation;
mod rotation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::Seen;
use crate::support::spire::{Entry, Spire, carries};
use crate::support::{Authority, Dial, Leaf, TestGateway, configure, folder, wait_for, wait_until};

const GATEWAY: &str = "spiffe://example.org/gateway";
const ENDPOINT: &str = "spiffe://example.org/endpoint";
const WEB: &str = "spiffe://example.org/web";

/// What the gateway logs when the Workload API delivered.
const RECEIVED: &str = "workload identity received";

/// The gateway's program, by which SPIRE knows it.
fn gateway_program() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_portcullis"))
}

/// An endpoint that answers only to the gateway's SPIFFE ID; says `stranger` to anybody else of the trust domain.
fn serve_mtls(listener: TcpListener, svid: &Leaf, roots: Arc<RootCertStore>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(svid.chain(), svid.key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(tcp).await else {
                    return;
                };
                let is_gateway = carries(&stream.get_ref().1.peer_certificates().unwrap()[0], GATEWAY);
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let body = if is_gateway { "welcome!" } else { "stranger" };
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
}

/// A mesh of one trust domain in front of one endpoint, and what a test adds.
#[derive(Default)]
struct Text {
    /// More keys of `gateway`.
    gateway: String,
    /// More certificates of the listener.
    shown: &'static str,
    /// More lines of `trust`, and the names that the listener asks for beside `mesh`.
    trust: (String, &'static str),
    /// The lines of `issuers`.
    issuers: &'static str,
    /// More lines of `routes`.
    routes: &'static str,
}

impl Text {
    fn written(&self, spire: &Spire, endpoint: SocketAddr) -> String {
        let Self {
            gateway,
            shown,
            trust: (trust, trusted),
            issuers,
            routes,
        } = self;
        let api = spire.workload_api();
        format!(
            r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }}, workload_api: "{api}"{gateway} }}
listeners:
  public:
    listen: "127.0.0.1:0"
    limits: {{ handshakes_per_address: 10000/s }}
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}{shown}]
      client_certificates: {{ mode: request, trust: [mesh{trusted}] }}
trust:
  mesh: {{ spiffe: example.org }}
{trust}
{issuers}
pools:
  billing: {{ endpoints: [{{ address: "{endpoint}" }}], tls: {{ expect: "{ENDPOINT}" }} }}
  wrong: {{ endpoints: [{{ address: "{endpoint}" }}], tls: {{ expect: "spiffe://example.org/other" }} }}
routes:
  - name: billing
    match: {{ path: "/billing/**" }}
    authenticate: [{{ mtls: mesh }}]
    authorize: [{{ spiffe: ["{WEB}"] }}]
    pool: billing
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: billing }}
  - {{ name: wrong, match: {{ path: "/wrong/**" }}, public: true, pool: wrong }}
  - {{ name: ping, match: {{ path: /ping }}, public: true, respond: {{ status: 200, body: pong }} }}
{routes}
"#
        )
    }
}

/// A gateway in the mesh with its agent and its endpoint, ready.
struct Mesh {
    spire: Spire,
    edge: Authority,
    gateway: TestGateway,
    seen: Seen,
    /// The gateway's entry.
    entry: String,
    /// The client that is let in.
    web: Leaf,
    /// The authorities of the domain.
    roots: Arc<RootCertStore>,
}

impl Mesh {
    /// `svid` are arguments of the gateway's entry; `text` may tell the server more before there is an agent.
    async fn start(tests: usize, svid: &[&str], text: impl FnOnce(&Spire) -> Text) -> Option<Self> {
        let (spire, text, entry) = tokio::task::block_in_place(|| {
            let mut spire = Spire::start_server(tests, "example.org")?;
            let text = text(&spire);
            let entry = spire.register(&Entry {
                id: GATEWAY,
                program: gateway_program(),
                more: svid,
            });
            spire.start_agent("agent");
            Some((spire, text, entry))
        })?;
        let (endpoint_svid, roots) = tokio::task::block_in_place(|| spire.mint(ENDPOINT));
        let (web, _) = tokio::task::block_in_place(|| spire.mint(WEB));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        serve_mtls(listener, &endpoint_svid, Arc::clone(&roots));
        let (folder, edge) = (folder(), Authority::new("edge"));
        edge.leaf(&["api.example.com"], None)
            .write(folder.path(), "server");
        configure(folder.path(), &text.written(&spire, endpoint));
        let gateway = tokio::task::block_in_place(|| TestGateway::start(folder));
        let seen = Seen::of(&gateway);
        Some(Self {
            spire,
            edge,
            gateway,
            seen,
            entry,
            web,
            roots,
        })
    }

    /// A client of the listener's own name with an SVID.
    fn dial(&self, leaf: Option<&Leaf>) -> Dial {
        let address = self.gateway.address("public");
        Dial::tls(address, "api.example.com", self.edge.roots(), leaf)
    }

    /// Ends the gateway and starts another one on the same configuration and state.
    fn restart(&mut self) {
        let folder = std::mem::replace(&mut self.gateway.folder, folder());
        self.gateway.signal("TERM");
        assert!(self.gateway.wait_for_exit().success());
        self.gateway = TestGateway::spawn(folder, &[]);
        self.seen = Seen::of(&self.gateway);
    }
}

/// Whom the gateway lets in: the one workload, and nobody else, however alike.
async fn who_is_let_in(gateway: &TestGateway, edge: &Authority, web: &Leaf, other: &Leaf) {
    let address = gateway.address("public");
    let dial = |leaf| Dial::tls(address, "api.example.com", edge.roots(), leaf);
    let welcome = dial(Some(web)).get("/billing/1", &[]).await;
    assert_eq!(welcome.status, StatusCode::OK, "{welcome:?}");
    assert_eq!(
        welcome.body, "welcome!",
        "the endpoint saw the gateway's SPIFFE ID"
    );
    let line = gateway.access_line(&welcome.request_id());
    assert_eq!(line["principal"], WEB);

    let other = Dial::h2(address, "api.example.com", edge.roots(), Some(other));
    let denied = other.get("/billing/1", &[]).await;
    assert_eq!(
        denied.status,
        StatusCode::FORBIDDEN,
        "another workload of the domain"
    );
    let missing = dial(None).get("/billing/1", &[]).await;
    assert_eq!(missing.status, StatusCode::UNAUTHORIZED);
    assert_eq!(missing.code(), "certificate-missing");
    let forged = Authority::new("forger").leaf(&[], Some(WEB));
    if let Ok(mut client) = dial(Some(&forged)).connect().await {
        // A handshake that the gateway ends shows at the first read.
        if let Ok(answer) = client.send(http::Method::GET, "/billing/1", &[], b"").await {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        }
    }
}

/// An agent that goes takes nothing with it, and the next one is noticed.
async fn another_agent_takes_over(spire: &mut Spire, gateway: &TestGateway, web: &Dial) {
    spire.stop_agent();
    let kept = web.get("/billing/2", &[]).await;
    assert_eq!(kept.body, "welcome!", "what was delivered stays");
    assert!(Seen::of(gateway).is_ready().await);
    let deliveries = || {
        let lines = gateway.log.all();
        lines.iter().filter(|line| line["message"] == RECEIVED).count()
    };
    let (before, began) = (deliveries(), Instant::now());
    tokio::task::block_in_place(|| {
        spire.start_agent("another");
        wait_for("another delivery", || (deliveries() > before).then_some(()));
    });
    let took = began.elapsed();
    println!("delivered again {took:?} after another agent was started");
    assert_eq!(web.get("/billing/3", &[]).await.body, "welcome!");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_lives_on_identities_from_a_real_spire() {
    let Some(mut spire) = tokio::task::block_in_place(|| Spire::start_server(1, "example.org")) else {
        return;
    };
    let (folder, edge) = (folder(), Authority::new("edge"));
    let server = edge.leaf(&["api.example.com"], None);
    server.write(folder.path(), "server");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap();
    configure(folder.path(), &Text::default().written(&spire, endpoint));

    let gateway = TestGateway::spawn(folder, &[]);
    let (address, seen) = (gateway.address("public"), Seen::of(&gateway));
    let plain = Dial::tls(address, "api.example.com", edge.roots(), None);
    assert_eq!(seen.get("/livez").await.status, StatusCode::OK);
    let waiting = seen.get("/readyz").await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE, "no agent yet");
    let why = waiting.json()["waiting_for"].to_string();
    assert!(why.contains("workload API"), "{why}");
    let ping = plain.get("/ping", &[]).await;
    assert_eq!(ping.body, "pong", "what needs no identity works");

    let began = Instant::now();
    tokio::task::block_in_place(|| {
        let agent = spire.agent_program().to_owned();
        for (id, program) in [(GATEWAY, gateway_program()), (ENDPOINT, &agent), (WEB, &agent)] {
            let more = &[];
            spire.register(&Entry { id, program, more });
        }
        spire.start_agent("first");
    });
    wait_until("readiness", || async { seen.is_ready().await.then_some(()) }).await;
    println!("ready {:?} after the agent was started", began.elapsed());
    let received = gateway
        .log
        .wait_for("the identity", |line| line["message"] == RECEIVED);
    assert_eq!(received["spiffe_id"], GATEWAY);
    let (svids, roots) = tokio::task::block_in_place(|| spire.fetch(&[ENDPOINT, WEB]));
    serve_mtls(listener, &svids[0], roots);

    who_is_let_in(&gateway, &edge, &svids[1], &svids[0]).await;
    let wrong = plain.get("/wrong/1", &[]).await;
    assert!(
        wrong.status.is_server_error(),
        "not whom the pool expects: {wrong:?}"
    );
    let failed = "portcullis_endpoint_connections_failed_total";
    assert!(seen.metric(failed, &["pool=\"wrong\""]).await >= 1.0);

    let web = Dial::tls(address, "api.example.com", edge.roots(), Some(&svids[1]));
    another_agent_takes_over(&mut spire, &gateway, &web).await;
}
