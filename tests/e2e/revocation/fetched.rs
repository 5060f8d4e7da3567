//! Lists that are fetched: those that the configuration names, and those that certificates name.

use std::time::Duration;

use http::Method;
use rcgen::{CrlDistributionPoint, SanType};
use rustls::{AlertDescription, HandshakeKind, version};

use super::{HOUR, attempt, dial, pool, shake};
use crate::support::lists::{Lists, list};
use crate::support::pki::write;
use crate::support::{Authority, Dial, Endpoint, House, Leaf, Seen, TestGateway, wait_until};

const ROUTES: &str = r#"
routes:
  - { name: open, match: { path: "/open/**" }, public: true, pool: main }
  - { name: mine, match: { path: "/mine/**" }, authenticate: [{ mtls: partners }], authorize: [{ authenticated: true }], pool: main }
"#;

/// A gateway whose door `asking` looks clients up as `trust` says.
async fn open(partners: &Authority, trust: &str, egress: &str) -> (House, Endpoint) {
    let endpoint = Endpoint::start("one").await;
    let text = format!(
        r#"
listeners:
  asking:
    listen: "127.0.0.1:0"
    limits: {{ handshakes_per_address: 10000/s }}
    tls:
      certificates: [{{ chain: server.pem, key: server.key }}]
      client_certificates: {{ mode: request, trust: [partners] }}
trust: {{ partners: {{ pem: partners.pem, {trust} }} }}
{}{ROUTES}"#,
        pool(&endpoint)
    );
    let house = House::open_by(&text, |folder| {
        write(&folder.path().join("partners.pem"), &partners.pem);
        let path = folder.path().join("portcullis.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let allowed = text.replacen("gateway: {", &format!("gateway: {{ {egress}"), 1);
        assert_ne!(text, allowed);
        write(&path, &allowed);
        TestGateway::start(folder)
    });
    (house, endpoint)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_list_revokes_and_no_session_outlives_its_change() {
    let partners = Authority::new("partners");
    let lists = Lists::start().await;
    // Half of ten seconds is when it is fetched again.
    let short = Duration::from_secs(10);
    lists.serve("/partners.crl", &list(&partners, &[], short));
    let trust = format!("crl: \"{}\"", lists.url("/partners.crl"));
    let (house, _endpoint) = open(&partners, &trust, "egress: { allow: [] },").await;
    let (bad, good) = (
        partners.leaf(&[], Some("spiffe://corp.example/bad")),
        partners.leaf(&[], Some("spiffe://corp.example/good")),
    );
    let of = |leaf: &Leaf, is_h2| dial(&house, "asking", leaf, &version::TLS13, is_h2);
    let (of_bad, of_good) = (of(&bad, false), of(&good, false));
    wait_until("the list to be there", || async { shake(&of_good).await.ok() }).await;
    let mut sessions = Vec::new();
    for is_h2 in [false, true] {
        let mut client = of(&bad, is_h2).connect().await.unwrap();
        assert_eq!(
            client
                .send(Method::GET, "/mine/x", &[], b"")
                .await
                .unwrap()
                .status,
            200
        );
        sessions.push(client);
    }
    // As long as the list stays what it is, sessions come back; it may change between two handshakes.
    wait_until("a session to be resumed", || async {
        (shake(&of_good).await == Ok(HandshakeKind::Resumed)).then_some(())
    })
    .await;
    shake(&of_bad).await.unwrap();

    lists.serve("/partners.crl", &list(&partners, &[&bad], HOUR));
    wait_until("the list to bite", || async {
        (shake(&of_bad).await == Err(Some(AlertDescription::CertificateRevoked))).then_some(())
    })
    .await;

    for client in &mut sessions {
        for target in ["/mine/x", "/open/x"] {
            let answer = client.send(Method::GET, target, &[], b"").await.unwrap();
            house.assert_refused(&answer, 401, "certificate-revoked");
        }
    }
    assert_eq!(
        shake(&of_good).await,
        Ok(HandshakeKind::Full),
        "no session outlives the change"
    );
    assert_eq!(
        shake(&of_good).await,
        Ok(HandshakeKind::Resumed),
        "and new ones are made"
    );
    let seen = Seen::of(&house.gateway);
    let changed = ["outcome=\"changed\"", "partners.crl"];
    assert_eq!(
        seen.metric("portcullis_identity_crl_fetches_total", &changed)
            .await,
        2.0
    );
    assert_eq!(
        seen.metric("portcullis_config_reloads_total", &["published"])
            .await,
        0.0,
        "no reload was needed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_fetched_keeps_the_gateway_from_nobody_but_its_clients() {
    let partners = Authority::new("partners");
    let lists = Lists::start().await;
    let trust = format!("crl: \"{}\"", lists.url("/partners.crl"));
    let (house, _endpoint) = open(&partners, &trust, "egress: { allow: [] },").await;
    let leaf = partners.leaf(&[], Some("spiffe://corp.example/web"));
    let of = || dial(&house, "asking", &leaf, &version::TLS13, false);

    assert!(shake(&of()).await.is_err(), "it cannot be told");
    assert!(lists.asked("/partners.crl") > 0);
    let anonymous = Dial::tls(
        house.gateway.address("asking"),
        super::NAME,
        house.edge.roots(),
        None,
    );
    assert_eq!(attempt(&anonymous, "/open/x").await.unwrap().status, 200);
    let ready = Seen::of(&house.gateway).json("/readyz").await;
    assert!(ready["stale"].to_string().contains("partners.crl"), "{ready}");

    lists.serve("/partners.crl", &list(&partners, &[], HOUR));
    wait_until("the list", || async { shake(&of()).await.ok() }).await;
    assert_eq!(attempt(&of(), "/mine/x").await.unwrap().status, 200);
}

fn leaf_naming(partners: &Authority, url: &str) -> Leaf {
    let sans = vec![SanType::URI("spiffe://corp.example/web".try_into().unwrap())];
    partners.leaf_shaped(sans, |params| {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![url.to_owned()],
        }];
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_a_certificate_names_is_fetched_from_a_host_that_is_allowed() {
    let partners = Authority::new("partners");
    let lists = Lists::start().await;
    lists.serve("/point.crl", &list(&partners, &[], HOUR));
    let (house, _endpoint) = open(
        &partners,
        "distribution_points: true",
        &format!("egress: {{ allow: [\"{}\"] }},", lists.address),
    )
    .await;
    let good = leaf_naming(&partners, &lists.url("/point.crl"));
    let bad = leaf_naming(&partners, &lists.url("/revoking.crl"));
    lists.serve("/revoking.crl", &list(&partners, &[&bad], HOUR));
    let of = |leaf: &Leaf| dial(&house, "asking", leaf, &version::TLS13, false);

    assert!(
        shake(&of(&good)).await.is_err(),
        "nobody waits for a list: it cannot be told yet"
    );
    wait_until("the list", || async { shake(&of(&good)).await.ok() }).await;
    wait_until("the other list", || async {
        (shake(&of(&bad)).await == Err(Some(AlertDescription::CertificateRevoked))).then_some(())
    })
    .await;

    assert_eq!(attempt(&of(&good), "/mine/x").await.unwrap().status, 200);
    assert_eq!(
        (lists.asked("/point.crl"), lists.asked("/revoking.crl")),
        (1, 1),
        "once for all handshakes"
    );
}

/// A certificate does not choose whom the gateway calls (OWASP SSRF): neither a host that nobody allowed, nor one that is
/// named for something else, nor another port of one that is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_not_allowed_is_never_called() {
    let partners = Authority::new("partners");
    let lists = Lists::start().await;
    lists.serve("/named.crl", &list(&partners, &[], HOUR));
    lists.serve("/point.crl", &list(&partners, &[], HOUR));
    let trust = format!(
        "crl: \"{}\", distribution_points: true",
        lists.url("/named.crl").replace("127.0.0.1", "localhost")
    );
    let egress = "egress: { allow: [\"192.0.2.7\", \"127.0.0.1\", \"localhost:1\"] },";
    let (house, _endpoint) = open(&partners, &trust, egress).await;
    let seen = Seen::of(&house.gateway);

    for host in ["127.0.0.1", "localhost"] {
        let url = lists.url("/point.crl").replace("127.0.0.1", host);
        let leaf = leaf_naming(&partners, &url);
        let of = || dial(&house, "asking", &leaf, &version::TLS13, false);
        wait_until("the named list to decide", || async { shake(&of()).await.ok() }).await;
    }
    wait_until("both places to be refused", || async {
        let refused = ["distribution-points", "outcome=\"refused\""];
        (seen
            .metric("portcullis_identity_crl_fetches_total", &refused)
            .await
            >= 2.0)
            .then_some(())
    })
    .await;

    assert_eq!(lists.asked("/point.crl"), 0);
    assert!(lists.asked("/named.crl") > 0);
}
