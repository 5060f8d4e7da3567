//! Sessions where they were not made: TLS resumption across names, which carries what one name asked of a client to
//! another (RFC 6066 section 3, RFC 8446 section 4.6.1; CVE-2025-23419 in nginx, CVE-2025-23048 in Apache).

use std::sync::{Arc, Mutex};

use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, NamedGroup, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::handshake;
use crate::support::pki::write;
use crate::support::{Authority, Endpoint, House, Leaf};

/// Offers any session to any name, which an honest client never does.
#[derive(Debug, Default)]
struct Careless {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Careless {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tls13.lock().unwrap().push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().pop()
    }
}

const DOORS: &str = r#"
listeners:
  asking:
    listen: "127.0.0.1:0"
    limits: { handshakes_per_address: 10000/s }
    tls:
      certificates: [{ chain: both.pem, key: both.key }, { chain: www.pem, key: www.key }]
      client_certificates: { mode: request, trust: [partners] }
      hosts:
        "admin.example.com": { client_certificates: { mode: require, trust: [staff] } }
        "staff.example.com": { client_certificates: { mode: request, trust: [staff] } }
trust:
  partners: { pem: partners.pem }
  staff: { pem: staff.pem }
"#;

const ROUTES: &str = r#"
routes:
  - { name: open, match: { path: "/open/**" }, public: true, pool: main }
"#;

fn careless(
    house: &House,
    leaf: &Leaf,
    version: &'static SupportedProtocolVersion,
) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(house.edge.roots())
        .with_client_auth_cert(leaf.chain(), leaf.key())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(Careless::default()));
    Arc::new(config)
}

/// Asks one name and gives the kind of handshake; `None` when the name let nobody in.
async fn ask(house: &House, config: &Arc<rustls::ClientConfig>, name: &str) -> Option<HandshakeKind> {
    let tcp = TcpStream::connect(house.gateway.address("asking")).await.unwrap();
    let mut stream = handshake(tcp, config, name).await.ok()?;
    let kind = stream.get_ref().1.handshake_kind();
    let request = format!("GET /open/x HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    answer.starts_with(b"HTTP/1.1 200").then_some(kind).flatten()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_no_name_but_those_that_ask_the_same_by_the_same_certificate() {
    let endpoint = Endpoint::start("one").await;
    let (partners, staff) = (Authority::new("partners"), Authority::new("staff"));
    let pool = format!(
        "pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\n",
        endpoint.address
    );
    let house = House::open_with(&format!("{DOORS}{pool}{ROUTES}"), |folder, edge| {
        write(&folder.join("partners.pem"), &partners.pem);
        write(&folder.join("staff.pem"), &staff.pem);
        let names = [
            "api.example.com",
            "admin.example.com",
            "staff.example.com",
            "alias.example.com",
        ];
        edge.leaf(&names, None).write(folder, "both");
        edge.leaf(&["www.example.com"], None).write(folder, "www");
    });
    let leaf = partners.leaf(&[], Some("spiffe://corp.example/partner"));

    for version in [&version::TLS13, &version::TLS12] {
        let config = careless(&house, &leaf, version);
        let ask = async |name: &str| ask(&house, &config, name).await;
        assert_eq!(ask("api.example.com").await, Some(HandshakeKind::Full));
        assert_eq!(
            ask("api.example.com").await,
            Some(HandshakeKind::Resumed),
            "it is careless, not stupid"
        );

        for stricter in ["admin.example.com", "staff.example.com"] {
            assert_eq!(ask("api.example.com").await, Some(HandshakeKind::Resumed));
            let seen = endpoint.requests();
            assert_eq!(ask(stricter).await, None, "{stricter}: a partner is no staff");
            assert_eq!(endpoint.requests(), seen);
            ask("api.example.com").await.unwrap();
        }
        let other = ask("www.example.com").await;
        assert_eq!(
            other,
            Some(HandshakeKind::Full),
            "another certificate, another session"
        );
    }
}
