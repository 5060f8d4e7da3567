//! Client chains that break the constraints of RFC 5280, over sockets: no handshake, and nothing at the endpoint.

use http::Method;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    NameConstraints, SanType, date_time_ymd,
};

use crate::support::pki::write;
use crate::support::{Authority, Dial, Endpoint, House, Leaf};

const DOORS: &str = r#"
listeners:
  asking:
    listen: "127.0.0.1:0"
    limits: { handshakes_per_address: 10000/s }
    tls:
      certificates: [{ chain: server.pem, key: server.key }]
      client_certificates: { mode: request, trust: [partners] }
trust: { partners: { pem: partners.pem } }
"#;

const ROUTES: &str = r#"
routes:
  - { name: open, match: { path: "/open/**" }, public: true, pool: main }
  - { name: mine, match: { path: "/mine/**" }, authenticate: [{ mtls: partners }], authorize: [{ authenticated: true }], pool: main }
"#;

fn web() -> Vec<SanType> {
    vec![
        SanType::URI("spiffe://corp.example/web".try_into().unwrap()),
        SanType::DnsName("web.corp.example".try_into().unwrap()),
    ]
}

/// A leaf below an authority that the root signed, the authority's certificate behind it.
fn below(root: &Authority, shape: impl FnOnce(&mut CertificateParams)) -> Leaf {
    let between = root.authority("between", shape);
    between.leaf_with(web()).followed_by(&between)
}

fn critical(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

fn hostile(root: &Authority) -> Vec<(&'static str, Leaf)> {
    let excluded = |name: &str| NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: vec![GeneralSubtree::DnsName(name.to_owned())],
    };
    let short = root.authority("short", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
    });
    let beneath = short.authority("beneath", |_| ());
    vec![
        // In a leaf this client would refuse it itself; the room's own tests show that case.
        ("4.2: critical extension above", below(root, critical)),
        (
            "4.2.1.9: a leaf that signs",
            below(root, |params| params.is_ca = IsCa::NoCa),
        ),
        (
            "4.2.1.9: path too long",
            beneath.leaf_with(web()).followed_by(&beneath).followed_by(&short),
        ),
        (
            "4.2.1.10: name constraints",
            below(root, |params| {
                params.name_constraints = Some(excluded("corp.example"))
            }),
        ),
        (
            "4.2.1.12: purpose of the leaf",
            root.leaf_shaped(web(), |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            "4.2.1.12: purpose above",
            below(root, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
            }),
        ),
        (
            "6.1.3: an authority that ended",
            below(root, |params| params.not_after = date_time_ymd(2024, 1, 1)),
        ),
        (
            "6.1.3: an authority to come",
            below(root, |params| params.not_before = date_time_ymd(2100, 1, 1)),
        ),
        (
            "6.1.3: a leaf that ended",
            root.leaf_shaped(web(), |params| params.not_after = date_time_ymd(2024, 1, 1)),
        ),
        (
            "an authority of the same name",
            Authority::new("partners").leaf_with(web()),
        ),
    ]
}

/// After which a client that was refused waits no longer for an answer.
const NOTHING: std::time::Duration = std::time::Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_breaks_a_constraint_gets_no_handshake() {
    let endpoint = Endpoint::start("one").await;
    let root = Authority::new("partners");
    let pool = format!(
        "pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\n",
        endpoint.address
    );
    let house = House::open_with(&format!("{DOORS}{pool}{ROUTES}"), |folder, _| {
        write(&folder.join("partners.pem"), &root.pem);
    });
    let address = house.gateway.address("asking");
    let dials = |leaf: &Leaf| {
        let roots = house.edge.roots();
        [
            Dial::tls(address, "api.example.com", roots.clone(), Some(leaf)),
            Dial::h2(address, "api.example.com", roots, Some(leaf)),
        ]
    };

    for leaf in [root.leaf_with(web()), below(&root, |_| ())] {
        for dial in dials(&leaf) {
            assert_eq!(dial.get("/mine/x", &[]).await.status, 200);
        }
    }
    let honest = endpoint.requests();
    for (what, leaf) in hostile(&root) {
        for dial in dials(&leaf) {
            for target in ["/mine/x", "/open/x"] {
                let answer = match dial.connect().await {
                    // Whoever is not answered in this time got nothing either.
                    Ok(mut client) => {
                        tokio::time::timeout(NOTHING, client.send(Method::GET, target, &[], b""))
                            .await
                            .ok()
                            .and_then(Result::ok)
                    }
                    Err(_) => None,
                };
                assert!(answer.is_none(), "{what}: {answer:?}");
            }
        }
    }
    assert_eq!(endpoint.requests(), honest);
}
