//! Endpoints over TLS: each must prove who it is before a byte of a request leaves.

use std::net::SocketAddr;

use http::{Method, Version};

use crate::support::house::LISTENERS;
use crate::support::pki::write;
use crate::support::{Authority, Endpoint, House, Recorder};

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
        let text = format!(
            r#"{LISTENERS}
trust: {{ mesh: {{ spiffe: corp.example, pem: mesh.pem }} }}
identity: {{ svid: {{ chain: svid.pem, key: svid.key }} }}
pools:
  main:
    endpoints: [{{ address: "{address}" }}]
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
