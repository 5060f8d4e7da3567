//! The deny list: who is refused although the credential is right, how soon, and by whose word.

mod admin;
mod connections;
mod file;

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::pki::write;
use crate::support::{Answer, Authority, Dial, Leaf, Seen, TestGateway, TokenIssuer, configure, folder};

/// What is promised from the write to the refusal.
const SOON: Duration = Duration::from_secs(2);
/// Where the TLS listener stands.
const HOST: &str = "api.example.com";
/// A workload that is denied in these tests, and its neighbour.
const BILLING: &str = "spiffe://corp.example/ns/billing";
const ORDERS: &str = "spiffe://corp.example/ns/orders";

const TEXT: &str = r#"
version: 1
gateway: { admin: { listen: "127.0.0.1:0" } GATEWAY }
REVOCATION
listeners:
  plain: { listen: "127.0.0.1:0" }
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{ chain: server.pem, key: server.key }]
      client_certificates: { mode: request, trust: [mesh, partners] }
issuers:
  corp: { issuer: "https://login.example.com", jwks: { file: corp.json }, audiences: [api] }
  partners: { issuer: "https://partner.example.com", jwks: { file: partners.json }, audiences: [api] }
trust:
  mesh: { pem: mesh.pem }
  partners: { pem: partners.pem }
routes:
  - { name: people, match: { path: /people }, authenticate: [{ jwt: corp }, { jwt: partners }], authorize: [authenticated], respond: { status: 200, body: ok } }
  - { name: machines, match: { path: /machines }, authenticate: [{ mtls: mesh }, { mtls: partners }], authorize: [authenticated], respond: { status: 200, body: ok } }
  - { name: open, match: { path: /open }, public: true, respond: { status: 200, body: ok } }
"#;

/// A gateway with two token issuers and two authorities of workloads.
struct Scene {
    gateway: TestGateway,
    edge: Authority,
    corp: TokenIssuer,
    partners: TokenIssuer,
    mesh: Authority,
}

/// A client on a connection of its own, with one credential.
struct Caller {
    client: Client,
    path: &'static str,
    bearer: Option<String>,
}

impl Scene {
    /// With a deny list of this content.
    fn with_list(list: &str) -> Self {
        Self::start(Some(list), "")
    }

    /// `more` stands under `gateway`.
    fn start(list: Option<&str>, more: &str) -> Self {
        let (folder, edge, corp, partners, mesh) = Self::written(list, more);
        Self {
            gateway: TestGateway::start(folder),
            edge,
            corp,
            partners,
            mesh,
        }
    }

    fn written(list: Option<&str>, more: &str) -> (TempDir, Authority, TokenIssuer, TokenIssuer, Authority) {
        let folder = folder();
        let (edge, mesh) = (Authority::new("edge"), Authority::new("mesh"));
        edge.leaf(&[HOST], None).write(folder.path(), "server");
        let corp = TokenIssuer::new("https://login.example.com", "k1");
        let partners = TokenIssuer::new("https://partner.example.com", "k1");
        write(&folder.path().join("corp.json"), &corp.jwks());
        write(&folder.path().join("partners.json"), &partners.jwks());
        write(&folder.path().join("mesh.pem"), &mesh.pem);
        write(
            &folder.path().join("partners.pem"),
            &Authority::new("partners").pem,
        );
        if let Some(list) = list {
            write(&folder.path().join("deny.yaml"), list);
        }
        let revocation = list.map_or("", |_| "revocation: { deny_list: deny.yaml }");
        let text = TEXT.replace("GATEWAY", more).replace("REVOCATION", revocation);
        configure(folder.path(), &text);
        (folder, edge, corp, partners, mesh)
    }

    fn seen(&self) -> Seen {
        Seen::of(&self.gateway)
    }

    /// Replaces the list in one step.
    fn write_list(&self, text: &str) {
        write(&self.gateway.path("deny.yaml"), text);
    }

    /// Somebody with a token.
    async fn person(&self, issuer: &TokenIssuer, sub: &str, claims: Value) -> Caller {
        let dial = Dial::h2(self.gateway.address("public"), HOST, self.edge.roots(), None);
        Caller {
            client: dial.connect().await.unwrap(),
            path: "/people",
            bearer: Some(format!("Bearer {}", issuer.token(sub, claims))),
        }
    }

    /// A workload with a certificate.
    async fn machine(&self, leaf: &Leaf) -> Caller {
        let dial = Dial::tls(
            self.gateway.address("public"),
            HOST,
            self.edge.roots(),
            Some(leaf),
        );
        Caller {
            client: dial.connect().await.unwrap(),
            path: "/machines",
            bearer: None,
        }
    }

    /// Waits until the caller is refused with this code, on its connection, and gives how long that took.
    async fn refused_after(&self, since: Instant, caller: &mut Caller, code: &str) -> Duration {
        loop {
            let answer = caller.ask().await;
            if answer.status == StatusCode::UNAUTHORIZED {
                assert_eq!(answer.code(), code, "{answer:?}");
                return since.elapsed();
            }
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            assert!(since.elapsed() < 10 * SOON, "never refused");
        }
    }

    async fn admin(&self, method: Method, path: &str, body: &str) -> Answer {
        Dial::plain(self.gateway.admin())
            .send(method, path, &[], body.as_bytes())
            .await
    }
}

impl Caller {
    async fn ask(&mut self) -> Answer {
        let fields: Vec<(&str, &str)> = self
            .bearer
            .iter()
            .map(|bearer| ("authorization", bearer.as_str()))
            .collect();
        self.client
            .send(Method::GET, self.path, &fields, b"")
            .await
            .expect("the connection is kept")
    }

    async fn is_served(&mut self) -> bool {
        self.ask().await.status == StatusCode::OK
    }
}

/// The serial number of a leaf, in hex as tools print it: after the version (`[0] { INTEGER 2 }`) of the certificate.
pub fn serial(leaf: &Leaf) -> String {
    const VERSION: [u8; 6] = [0xa0, 3, 2, 1, 2, 2];
    let chain = leaf.chain();
    let der = chain[0].as_ref();
    let at = der
        .windows(VERSION.len())
        .position(|bytes| bytes == VERSION)
        .unwrap()
        + VERSION.len();
    let bytes = &der[at + 1..at + 1 + usize::from(der[at])];
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    hex.join(":")
}

/// One entry as JSON, which is YAML.
fn list_of(entries: &[Value]) -> String {
    json!(entries).to_string()
}
