//! The door: names, versions, groups, and what each name asks of a client.

use std::sync::Arc;

use http::Method;
use rcgen::SanType;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{
    AlertDescription, ClientConfig, NamedGroup, ProtocolVersion, SupportedProtocolVersion, version,
};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::client::{client_config, handshake};
use crate::support::pki::write;
use crate::support::{Answer, Authority, Dial, Endpoint, House, Leaf};

const DOORS: &str = r#"
listeners:
  plain: { listen: "127.0.0.1:0" }
  redirect: { listen: "127.0.0.1:0", redirect_to_https: { port: 8443 } }
  public:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{ chain: server.pem, key: server.key }, { chain: www.pem, key: www.key }]
  asking:
    listen: "127.0.0.1:0"
    tls:
      certificates: [{ chain: both.pem, key: both.key }]
      client_certificates: { mode: request, trust: [mesh, partners] }
      hosts: { "admin.example.com": { client_certificates: { mode: require, trust: [mesh] } } }
trust:
  mesh: { spiffe: corp.example, pem: mesh.pem }
  partners: { pem: mesh.pem }
"#;

const ROUTES: &str = r#"
routes:
  - { name: open, match: { path: "/open/**" }, public: true, pool: main }
  - { name: mesh, match: { path: "/mesh/**" }, authenticate: [{ mtls: mesh }], authorize: [{ spiffe: ["spiffe://corp.example/billing", "spiffe://corp.example/jobs/*"] }], pool: main }
"#;

/// A gateway with every kind of door, and who may come through.
struct Scene {
    house: House,
    endpoint: Endpoint,
    mesh: Authority,
}

impl Scene {
    async fn set() -> Self {
        let endpoint = Endpoint::start("one").await;
        let pool = format!(
            "pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\n",
            endpoint.address
        );
        let mesh = Authority::new("mesh");
        let house = House::open_with(&format!("{DOORS}{pool}{ROUTES}"), |folder, edge| {
            edge.leaf(&["www.example.com"], None).write(folder, "www");
            let names = ["api.example.com", "www.example.com", "admin.example.com"];
            edge.leaf(&names, None).write(folder, "both");
            write(&folder.join("mesh.pem"), &mesh.pem);
        });
        Self {
            house,
            endpoint,
            mesh,
        }
    }

    fn names(&self, listener: &str, name: &str, certificate: Option<&Leaf>, is_h2: bool) -> Dial {
        let (address, roots) = (self.house.gateway.address(listener), self.house.edge.roots());
        if is_h2 {
            Dial::h2(address, name, roots, certificate)
        } else {
            Dial::tls(address, name, roots, certificate)
        }
    }

    fn workload(&self, id: &str) -> Leaf {
        self.mesh.leaf(&[], Some(id))
    }
}

/// A client that offers exactly these versions, groups and protocols.
fn client(
    scene: &Scene,
    versions: &[&'static SupportedProtocolVersion],
    groups: Vec<&'static dyn SupportedKxGroup>,
    alpn: &[&[u8]],
) -> ClientConfig {
    let provider = Arc::new(CryptoProvider {
        kx_groups: groups,
        ..aws_lc_rs::default_provider()
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(scene.house.edge.roots())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

async fn connect(
    scene: &Scene,
    name: &str,
    config: ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(scene.house.gateway.address("public")).await?;
    handshake(tcp, &Arc::new(config), name).await
}

fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_chosen_by_name() {
    let scene = Scene::set().await;
    let ordinary = || client(&scene, BOTH, aws_lc_rs::ALL_KX_GROUPS.to_vec(), &[b"http/1.1"]);
    let shown = async |name: &str, sends_name: bool| {
        let mut config = ordinary();
        config.enable_sni = sends_name;
        let stream = connect(&scene, name, config).await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
    };

    let api = shown("api.example.com", true).await.unwrap();
    let www = shown("www.example.com", true).await.unwrap();
    let nameless = shown("api.example.com", false).await.unwrap();
    let unknown = shown("nobody.example.com", true).await.unwrap_err();

    assert_ne!(api, www, "each name has its own");
    assert_eq!(api, nameless, "without a name the first is shown");
    assert_eq!(
        alert(&unknown),
        Some(AlertDescription::UnrecognisedName),
        "{unknown:?}"
    );
    for name in ["api.example.com", "www.example.com"] {
        for is_h2 in [false, true] {
            let answer = scene.names("public", name, None, is_h2).get("/open/x", &[]).await;
            assert_eq!(answer.status, 200, "{name}");
        }
    }
}

/// What a client says in ALPN.
type Offered<'a> = &'a [&'a [u8]];

#[tokio::test(flavor = "multi_thread")]
async fn protocols_and_versions_are_negotiated() {
    let scene = Scene::set().await;
    let groups = || aws_lc_rs::ALL_KX_GROUPS.to_vec();
    let cases: [(Offered<'_>, Option<&[u8]>); 5] = [
        (&[b"h2", b"http/1.1"], Some(b"h2")),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[b"h2"], Some(b"h2")),
        (&[], None),
    ];

    for (offered, chosen) in cases {
        for (version, spoken) in [
            (&version::TLS13, ProtocolVersion::TLSv1_3),
            (&version::TLS12, ProtocolVersion::TLSv1_2),
        ] {
            let config = client(&scene, &[version], groups(), offered);
            let stream = connect(&scene, "api.example.com", config).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
            assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        }
    }
    let strange = client(&scene, BOTH, groups(), &[b"spdy/3"]);
    let refused = connect(&scene, "api.example.com", strange).await.unwrap_err();
    assert_eq!(alert(&refused), Some(AlertDescription::NoApplicationProtocol));
    for (version, word) in [(&version::TLS13, "TLSv1.3"), (&version::TLS12, "TLSv1.2")] {
        for (alpn, is_h2) in [(&b"h2"[..], true), (b"http/1.1", false)] {
            let config = Arc::new(client(&scene, &[version], groups(), &[alpn]));
            let dial = Dial {
                tls: Some(config),
                ..scene.names("public", "api.example.com", None, is_h2)
            };
            let answer = dial.get("/open/x", &[]).await;
            assert_eq!(answer.status, 200);
            assert_eq!(scene.house.gateway.access_line(&answer.request_id())["tls"], word);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_offers_the_post_quantum_group_alone_gets_it() {
    let scene = Scene::set().await;
    let config = client(
        &scene,
        &[&version::TLS13],
        vec![aws_lc_rs::kx_group::X25519MLKEM768],
        &[b"h2"],
    );

    let stream = connect(&scene, "api.example.com", config.clone()).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    let dial = Dial {
        tls: Some(Arc::new(config)),
        ..scene.names("public", "api.example.com", None, true)
    };

    assert_eq!(group, NamedGroup::X25519MLKEM768);
    assert_eq!(dial.get("/open/x", &[]).await.status, 200);
}

/// What came of a request: an answer, or no connection to send it on.
async fn attempt(dial: &Dial, target: &str) -> Option<Answer> {
    let mut client = dial.connect().await.ok()?;
    client.send(Method::GET, target, &[], b"").await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_may_ask_for_more_than_its_listener() {
    let scene = Scene::set().await;
    let billing = scene.workload("spiffe://corp.example/billing");

    for is_h2 in [false, true] {
        let anonymous = scene.names("asking", "api.example.com", None, is_h2);
        assert_eq!(
            attempt(&anonymous, "/open/x").await.unwrap().status,
            200,
            "requested only"
        );
        let required = scene.names("asking", "admin.example.com", None, is_h2);
        assert!(
            attempt(&required, "/open/x").await.is_none(),
            "no handshake without a certificate"
        );
        let proven = scene.names("asking", "admin.example.com", Some(&billing), is_h2);
        assert_eq!(attempt(&proven, "/open/x").await.unwrap().status, 200);
        let never_asked = scene.names("public", "api.example.com", Some(&billing), is_h2);
        let answer = attempt(&never_asked, "/mesh/x").await.unwrap();
        scene.house.assert_refused(&answer, 401, "certificate-missing");
    }
    assert_eq!(scene.endpoint.requests(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_asks_for_more_than_the_connection_proved_is_misdirected() {
    let scene = Scene::set().await;
    let billing = scene.workload("spiffe://corp.example/billing");

    for is_h2 in [false, true] {
        for certificate in [None, Some(&billing)] {
            let dial = scene.names("asking", "api.example.com", certificate, is_h2);
            let mut client = dial.connect().await.unwrap();
            for host in [
                "admin.example.com",
                "ADMIN.example.com",
                "admin.example.com:443",
                "elsewhere.example.org",
            ] {
                let answer = client
                    .send(Method::GET, "/open/x", &[("host", host)], b"")
                    .await
                    .unwrap();
                scene.house.assert_refused(&answer, 421, "misdirected-request");
            }
            let seen = scene.endpoint.requests();
            let coalesced = client
                .send(Method::GET, "/open/x", &[("host", "www.example.com")], b"")
                .await
                .unwrap();
            assert_eq!(
                coalesced.status, 200,
                "a name of the same certificate that asks no more"
            );
            assert_eq!(scene.endpoint.requests(), seen + 1);
        }
        let strict = scene.names("asking", "admin.example.com", Some(&billing), is_h2);
        let mut client = strict.connect().await.unwrap();
        let other = client
            .send(Method::GET, "/open/x", &[("host", "api.example.com")], b"")
            .await
            .unwrap();
        scene.house.assert_refused(&other, 421, "misdirected-request");
        assert_eq!(
            client
                .send(Method::GET, "/open/x", &[], b"")
                .await
                .unwrap()
                .status,
            200
        );
    }
    assert_eq!(scene.endpoint.requests(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_comes_back_to_a_name_that_asks_for_more() {
    let scene = Scene::set().await;
    let lenient = scene.names("asking", "api.example.com", None, false);
    let strict = Dial {
        name: "admin.example.com".to_owned(),
        ..lenient.clone()
    };

    for _ in 0..3 {
        assert_eq!(attempt(&lenient, "/open/x").await.unwrap().status, 200);
        assert!(
            attempt(&strict, "/open/x").await.is_none(),
            "no ticket opens the stricter name"
        );
    }
    assert_eq!(scene.endpoint.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_who_its_certificate_says() {
    let scene = Scene::set().await;

    for is_h2 in [false, true] {
        for (id, status) in [
            ("spiffe://corp.example/billing", 200),
            ("spiffe://corp.example/jobs/nightly", 200),
            ("spiffe://corp.example/jobs", 403),
            ("spiffe://corp.example/jobs/nightly/sub", 403),
            ("spiffe://corp.example/other", 403),
        ] {
            let leaf = scene.workload(id);
            let answer = attempt(
                &scene.names("asking", "api.example.com", Some(&leaf), is_h2),
                "/mesh/x",
            )
            .await
            .unwrap();
            assert_eq!(answer.status, status, "{id}");
            let line = scene.house.gateway.access_line(&answer.request_id());
            assert_eq!(line["principal"], id, "{line}");
            if status == 403 {
                assert_eq!(line["reason"], "spiffe-not-allowed");
            }
        }
        let anonymous = attempt(&scene.names("asking", "api.example.com", None, is_h2), "/mesh/x")
            .await
            .unwrap();
        scene.house.assert_refused(&anonymous, 401, "certificate-missing");
    }
    assert_eq!(scene.endpoint.requests(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_exactly_one_spiffe_id_proves_nobody() {
    let scene = Scene::set().await;
    let uri = |id: &str| SanType::URI(id.try_into().unwrap());
    let cases = [
        vec![
            uri("spiffe://corp.example/billing"),
            uri("spiffe://corp.example/root"),
        ],
        vec![uri("spiffe://corp.example/billing"), uri("https://corp.example/")],
        vec![uri("https://corp.example/billing")],
        vec![uri("spiffe://corp.example/a/../billing")],
        vec![uri("spiffe://corp.example/billing/")],
        vec![uri("spiffe://corp.example:8443/billing")],
        vec![uri("spiffe://corp.example/billing?x")],
        vec![SanType::DnsName("billing.corp.example".try_into().unwrap())],
    ];

    for sans in cases {
        let leaf = scene.mesh.leaf_with(sans.clone());
        let dial = scene.names("asking", "api.example.com", Some(&leaf), false);
        let answer = attempt(&dial, "/mesh/x")
            .await
            .unwrap_or_else(|| panic!("no answer for {sans:?}"));
        scene.house.assert_refused(&answer, 401, "certificate-spiffe-id");
        assert_eq!(
            scene.house.gateway.access_line(&answer.request_id())["principal"],
            json!(null)
        );
    }
    assert_eq!(scene.endpoint.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_nobody_we_trust_gets_nothing() {
    let scene = Scene::set().await;
    let impostor = Authority::new("mesh").leaf(&[], Some("spiffe://corp.example/billing"));
    let foreign = scene.workload("spiffe://peer.example/billing");

    for is_h2 in [false, true] {
        for leaf in [&impostor, &foreign] {
            for name in ["api.example.com", "admin.example.com"] {
                let answer = attempt(&scene.names("asking", name, Some(leaf), is_h2), "/mesh/x").await;
                if let Some(answer) = answer {
                    scene.house.assert_refused(&answer, 401, "certificate-untrusted");
                }
            }
        }
    }
    assert_eq!(scene.endpoint.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_and_redirecting_listeners_do_what_they_say() {
    let scene = Scene::set().await;
    let redirect = Dial::plain(scene.house.gateway.address("redirect"));

    let plain = scene.house.plain().get("/open/x", &[]).await;
    let mut client = redirect.connect().await.unwrap();
    let host = [("host", "api.example.com:8080")];
    let away = client
        .send(Method::GET, "/open/%7Ex?a=1&b=%2F", &host, b"")
        .await
        .unwrap();
    let posted = client.send(Method::POST, "/mesh/x", &host, b"{}").await.unwrap();

    assert_eq!(plain.status, 200);
    assert_eq!(away.status, 308);
    assert_eq!(
        away.headers["location"],
        "https://api.example.com:8443/open/~x?a=1&b=%2F"
    );
    assert_eq!(
        (
            posted.status.as_u16(),
            posted.headers["location"].to_str().unwrap()
        ),
        (308, "https://api.example.com:8443/mesh/x")
    );
    assert_eq!(scene.endpoint.requests(), 1);
    let certificate = client_config(scene.house.edge.roots(), None, b"h2");
    let tcp = TcpStream::connect(scene.house.gateway.address("plain"))
        .await
        .unwrap();
    assert!(
        handshake(tcp, &certificate, "api.example.com").await.is_err(),
        "no TLS on a plain listener"
    );
}
