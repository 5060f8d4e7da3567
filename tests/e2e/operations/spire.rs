//! Identities from a real SPIRE: server, agent and the SVIDs they issue.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::Seen;
use crate::support::tools::find;
use crate::support::{Authority, Dial, Leaf, TestGateway, configure, folder, wait_for, wait_until};

const GATEWAY: &str = "spiffe://example.org/gateway";
const ENDPOINT: &str = "spiffe://example.org/endpoint";
const WEB: &str = "spiffe://example.org/web";

/// What the gateway logs when the Workload API delivered.
const RECEIVED: &str = "workload identity received";

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A SPIRE server and, once started, its agent.
struct Spire {
    folder: TempDir,
    programs: (PathBuf, PathBuf),
    server_port: u16,
    running: Vec<Running>,
}

impl Spire {
    /// The server alone; `None`, said loudly, where SPIRE is not installed.
    fn start_server(tests: usize) -> Option<Self> {
        let (Some(server), Some(agent)) = (find("spire-server"), find("spire-agent")) else {
            eprintln!("SKIPPED: {tests} test with a real SPIRE; spire-server and spire-agent were not found");
            return None;
        };
        let folder = folder();
        // SPIRE cannot be given a socket; the port is free a moment before.
        let server_port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut spire = Self {
            folder,
            programs: (server, agent),
            server_port,
            running: Vec::new(),
        };
        let data = spire.folder.path().display().to_string();
        let text = format!(
            r#"server {{ bind_address = "127.0.0.1" bind_port = "{server_port}" trust_domain = "example.org" data_dir = "{data}"
                         socket_path = "{data}/server.sock" default_x509_svid_ttl = "2m" ca_ttl = "24h" }}
               plugins {{
                 DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{data}/ds.sqlite3" }} }}
                 KeyManager "memory" {{ plugin_data {{}} }}
                 NodeAttestor "join_token" {{ plugin_data {{}} }}
               }}"#
        );
        fs::write(spire.path("server.conf"), text).unwrap();
        spire.run(
            &spire.programs.0.clone(),
            &["run", "-config", &spire.text("server.conf")],
        );
        Some(spire)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&mut self, program: &Path, arguments: &[&str]) {
        let log = fs::File::create(self.path(&format!("{}.log", self.running.len()))).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push(Running(child));
    }

    /// A command of the server, when it succeeds.
    fn server(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new(&self.programs.0)
            .args(arguments)
            .args(["-socketPath", &self.text("server.sock")])
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Who is who: by the program that asks.
    fn register(&self) {
        let gateway = fs::canonicalize(env!("CARGO_BIN_EXE_portcullis")).unwrap();
        for (id, program) in [
            (GATEWAY, &gateway),
            (ENDPOINT, &self.programs.1),
            (WEB, &self.programs.1),
        ] {
            let selector = format!("unix:path:{}", program.display());
            let arguments = [
                "entry",
                "create",
                "-parentID",
                "spiffe://example.org/node",
                "-spiffeID",
                id,
                "-selector",
                &selector,
            ];
            wait_for("the entry to be made", || self.server(&arguments));
        }
    }

    fn stop_agent(&mut self) {
        self.running.truncate(1);
        let _ = fs::remove_file(self.path("agent.sock"));
    }

    /// Starts an agent, or another one in its place.
    fn start_agent(&mut self, number: usize) {
        let token = wait_for("a join token", || {
            let answer = self.server(&["token", "generate", "-spiffeID", "spiffe://example.org/node"])?;
            answer
                .lines()
                .find_map(|line| line.strip_prefix("Token: ").map(str::to_owned))
        });
        let agent = self.programs.1.clone();
        let data = self.text(&format!("agent-{number}"));
        fs::create_dir(&data).unwrap();
        let text = format!(
            r#"agent {{ data_dir = "{data}" server_address = "127.0.0.1" server_port = "{}" socket_path = "{}"
                        trust_domain = "example.org" insecure_bootstrap = true }}
               plugins {{
                 KeyManager "memory" {{ plugin_data {{}} }}
                 NodeAttestor "join_token" {{ plugin_data {{}} }}
                 WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true }} }}
               }}"#,
            self.server_port,
            self.text("agent.sock")
        );
        fs::write(self.path("agent.conf"), text).unwrap();
        self.run(
            &agent,
            &["run", "-config", &self.text("agent.conf"), "-joinToken", &token],
        );
    }

    /// Fetches the SVIDs of a workload that is not the gateway: of every ID asked for, and the bundle.
    fn fetch(&self, ids: &[&str]) -> (Vec<Leaf>, Arc<RootCertStore>) {
        let written = self.path("svids");
        fs::create_dir(&written).unwrap();
        wait_for("SVIDs for the endpoint and the client", || {
            let arguments = [
                "api",
                "fetch",
                "x509",
                "-silent",
                "-socketPath",
                &self.text("agent.sock"),
                "-write",
            ];
            let output = Command::new(&self.programs.1)
                .args(arguments)
                .arg(&written)
                .output()
                .unwrap();
            (output.status.success() && written.join(format!("svid.{}.pem", ids.len() - 1)).exists())
                .then_some(())
        });
        let leaves: Vec<Leaf> = (0..ids.len())
            .map(|index| Leaf {
                chain_pem: fs::read_to_string(written.join(format!("svid.{index}.pem"))).unwrap(),
                key_pem: fs::read_to_string(written.join(format!("svid.{index}.key"))).unwrap(),
            })
            .collect();
        let mut roots = RootCertStore::empty();
        for anchor in CertificateDer::pem_file_iter(written.join("bundle.0.pem")).unwrap() {
            roots.add(anchor.unwrap()).unwrap();
        }
        let of = |id: &&str| {
            leaves
                .iter()
                .find(|leaf| carries(&leaf.chain()[0], id))
                .expect("an SVID of each ID")
                .clone()
        };
        (ids.iter().map(of).collect(), Arc::new(roots))
    }
}

/// Whether a certificate carries an ID; it stands there as plain bytes.
fn carries(certificate: &CertificateDer<'_>, id: &str) -> bool {
    certificate
        .windows(id.len())
        .any(|window| window == id.as_bytes())
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

fn text(socket: &str, endpoint: SocketAddr) -> String {
    format!(
        r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }}, workload_api: "unix://{socket}" }}
listeners:
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}]
      client_certificates: {{ mode: request, trust: [mesh] }}
trust:
  mesh: {{ spiffe: example.org }}
pools:
  billing: {{ endpoints: [{{ address: "{endpoint}" }}], tls: {{ expect: "{ENDPOINT}" }} }}
  wrong: {{ endpoints: [{{ address: "{endpoint}" }}], tls: {{ expect: "spiffe://example.org/other" }} }}
routes:
  - name: billing
    match: {{ path: "/billing/**" }}
    authenticate: [{{ mtls: mesh }}]
    authorize: [{{ spiffe: ["{WEB}"] }}]
    pool: billing
  - {{ name: wrong, match: {{ path: "/wrong/**" }}, public: true, pool: wrong }}
  - {{ name: ping, match: {{ path: /ping }}, public: true, respond: {{ status: 200, body: pong }} }}
"#
    )
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
        spire.start_agent(2);
        wait_for("another delivery", || (deliveries() > before).then_some(()));
    });
    let took = began.elapsed();
    println!("delivered again {took:?} after another agent was started");
    assert_eq!(web.get("/billing/3", &[]).await.body, "welcome!");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_lives_on_identities_from_a_real_spire() {
    let Some(mut spire) = Spire::start_server(1) else {
        return;
    };
    let (folder, edge) = (folder(), Authority::new("edge"));
    let server = edge.leaf(&["api.example.com"], None);
    server.write(folder.path(), "server");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap();
    configure(folder.path(), &text(&spire.text("agent.sock"), endpoint));

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
        spire.register();
        spire.start_agent(1);
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
