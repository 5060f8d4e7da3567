//! Endpoints over TLS: each must prove who it is before a byte of a request leaves.

use std::net::SocketAddr;

use http::{Method, Version};

use crate::support::house::LISTENERS;
use crate::support::pki::write;
use crate::support::{Authority, Endpoint, House, Recorder, Seen, wait_until};

/// The authority of the endpoints and of the gateway's own SVID.
struct Mesh {
    authority: Authority,
}

impl Mesh {
    fn new() -> Self {
        Self {
            authority: Authority::new("mesh"),
        }
    }

    /// A gateway with an SVID of this mesh and the pool `main`.
    fn open(&self, address: SocketAddr, protocol: &str, tls: &str) -> House {
        self.open_before(&[address], protocol, tls)
    }

    /// The same before several endpoints.
    fn open_before(&self, addresses: &[SocketAddr], protocol: &str, tls: &str) -> House {
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|address| format!("{{ address: \"{address}\" }}"))
            .collect();
        let endpoints = endpoints.join(", ");
        let text = format!(
            r#"{LISTENERS}
trust: {{ mesh: {{ spiffe: corp.example, pem: mesh.pem }} }}
identity: {{ svid: {{ chain: svid.pem, key: svid.key }} }}
pools:
  main:
    endpoints: [{endpoints}]
    protocol: {protocol}
    tls: {tls}
routes:
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}
"#
        );
        House::open_with(&text, |folder, _| {
            write(&folder.join("mesh.pem"), &self.authority.pem);
            self.authority
                .leaf(&[], Some("spiffe://corp.example/edge"))
                .write(folder, "svid");
            write(&folder.join("other.pem"), &Authority::new("mesh").pem);
        })
    }
}

/// Asks over HTTP/1.1 and HTTP/2, with and without a body.
async fn assert_all_served(house: &House, endpoint: &Endpoint, version: Option<Version>) {
    for dial in [house.plain(), house.h1(), house.h2()] {
        let mut client = dial.connect().await.unwrap();
        for method in [Method::GET, Method::POST] {
            let answer = client.send(method, "/open/x", &[], b"body").await.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            if let Some(version) = version {
                assert_eq!(endpoint.last().version, version);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_under_a_given_authority_is_reached_by_its_name() {
    let mesh = Mesh::new();
    let leaf = mesh.authority.leaf(&["orders.internal"], None);
    let endpoint = Endpoint::start_tls("one", &leaf, None).await;

    for (protocol, version) in [
        ("auto", None),
        ("h1", Some(Version::HTTP_11)),
        ("h2", Some(Version::HTTP_2)),
    ] {
        let house = mesh.open(
            endpoint.address,
            protocol,
            "{ server_name: orders.internal, ca: mesh.pem }",
        );
        assert_all_served(&house, &endpoint, version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_name_or_authority_gets_nothing() {
    let mesh = Mesh::new();
    let leaf = mesh.authority.leaf(&["orders.internal"], None);

    for (protocol, alpn) in [("h1", &b"http/1.1"[..]), ("h2", b"h2")] {
        for (tls, code) in [
            (
                "{ server_name: payments.internal, ca: mesh.pem }",
                "endpoint-identity",
            ),
            ("{ server_name: orders.internal, ca: other.pem }", "endpoint-tls"),
            ("{ server_name: orders.internal }", "endpoint-tls"),
        ] {
            let recorder = Recorder::start_tls(&leaf, None, alpn).await;
            let house = mesh.open(recorder.address, protocol, tls);
            for dial in [house.plain(), house.h2()] {
                let answer = dial.send(Method::POST, "/open/x", &[], b"secret").await;
                house.assert_refused(&answer, 502, code);
            }
            assert!(recorder.connections() > 0, "it was tried");
            assert_eq!(recorder.text(), "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_proves_the_expected_identity_is_reached_with_ours() {
    let mesh = Mesh::new();
    let leaf = mesh.authority.leaf(&[], Some("spiffe://corp.example/orders"));
    let endpoint = Endpoint::start_tls("one", &leaf, Some(&mesh.authority)).await;

    for (protocol, version) in [
        ("auto", None),
        ("h1", Some(Version::HTTP_11)),
        ("h2", Some(Version::HTTP_2)),
    ] {
        let house = mesh.open(
            endpoint.address,
            protocol,
            "{ expect: \"spiffe://corp.example/orders\" }",
        );
        assert_all_served(&house, &endpoint, version).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_another_identity_gets_not_one_byte_of_a_request() {
    let mesh = Mesh::new();
    let wrong = [
        mesh.authority.leaf(&[], Some("spiffe://corp.example/payments")),
        mesh.authority.leaf(&[], Some("spiffe://peer.example/orders")),
        mesh.authority.leaf(&["orders.internal", "127.0.0.1"], None),
    ];

    for leaf in &wrong {
        for (protocol, alpn) in [("h1", &b"http/1.1"[..]), ("h2", b"h2")] {
            let recorder = Recorder::start_tls(leaf, Some(&mesh.authority), alpn).await;
            let house = mesh.open(
                recorder.address,
                protocol,
                "{ expect: \"spiffe://corp.example/orders\" }",
            );
            for dial in [house.plain(), house.h1(), house.h2()] {
                let answer = dial.send(Method::POST, "/open/x", &[], b"secret").await;
                let line = house.assert_refused(&answer, 502, "endpoint-identity");
                assert_eq!(
                    line["attempts"][0]["address"],
                    recorder.address.to_string(),
                    "{line}"
                );
            }
            assert!(recorder.connections() > 0, "it was tried");
            assert_eq!(recorder.text(), "", "{protocol}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impostor_with_the_right_identity_of_another_authority_gets_nothing() {
    let mesh = Mesh::new();
    let leaf = Authority::new("mesh").leaf(&[], Some("spiffe://corp.example/orders"));
    let recorder = Recorder::start_tls(&leaf, None, b"http/1.1").await;
    let house = mesh.open(
        recorder.address,
        "h1",
        "{ expect: \"spiffe://corp.example/orders\" }",
    );

    let answer = house.h1().send(Method::POST, "/open/x", &[], b"secret").await;

    house.assert_refused(&answer, 502, "endpoint-tls");
    assert_eq!(recorder.text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_another_identity_is_ejected_at_once_and_fails_its_probe() {
    let mesh = Mesh::new();
    let leaf = mesh.authority.leaf(&[], Some("spiffe://corp.example/payments"));
    let right = mesh.authority.leaf(&[], Some("spiffe://corp.example/orders"));
    let expect = "{ expect: \"spiffe://corp.example/orders\" }";

    // Whoever meets the impostor is served by the other, with any method: nothing of the request had left.
    let impostor = Endpoint::start_tls("one", &leaf, Some(&mesh.authority)).await;
    let honest = Endpoint::start_tls("two", &right, Some(&mesh.authority)).await;
    let house = mesh.open_before(&[impostor.address, honest.address], "h1", expect);
    let seen = Seen::of(&house.gateway);
    wait_until("a request to meet the impostor", || async {
        let answer = house.h1().send(Method::POST, "/open/x", &[], b"secret").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        (impostor.connections() > 0).then_some(())
    })
    .await;
    seen.endpoint_state(impostor.address, "ejected").await;
    let pools = seen.json("/pools").await.to_string();
    assert!(
        pools.contains("ejected by its answers (Identity"),
        "one is enough: {pools}"
    );
    assert_eq!(impostor.requests(), 0);

    for (leaf, state) in [(&leaf, "warming"), (&right, "up")] {
        for probe in ["{ tcp: true }", "{ http: /healthz }"] {
            let endpoint = Endpoint::start_tls("one", leaf, Some(&mesh.authority)).await;
            let health =
                format!("{expect}\n    health: {{ probe: {probe}, interval: 100ms, timeout: 90ms }}");
            let house = mesh.open(endpoint.address, "h1", &health);
            let seen = Seen::of(&house.gateway);
            let why = wait_until("the verdict of a probe", || async {
                let endpoint = seen.json("/pools").await["pools"][0]["endpoints"][0].clone();
                let why = endpoint["why"].as_str().unwrap().to_owned();
                (endpoint["state"] == state && (state == "up" || why.contains("failed"))).then_some(why)
            })
            .await;
            match state {
                "up" => assert_eq!(house.h1().get("/open/x", &[]).await.status, 200),
                _ => {
                    assert!(why.contains("spiffe://corp.example/payments"), "{why}");
                    house.assert_refused(&house.h1().get("/open/x", &[]).await, 503, "no-endpoint");
                    assert_eq!(endpoint.requests(), 0);
                }
            }
        }
    }
}
