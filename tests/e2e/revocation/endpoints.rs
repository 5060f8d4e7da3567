//! Endpoints whose certificates are revoked: nothing of a request reaches them.

use http::Method;

use super::{HOUR, publish};
use crate::support::lists::{list, overdue};
use crate::support::pki::write;
use crate::support::{Authority, Endpoint, House, Seen, wait_until};

/// A gateway in front of one endpoint over TLS, which it looks up in `mesh.crl`.
fn open(mesh: &Authority, endpoint: &Endpoint, trust: &str, protocol: &str, tls: &str) -> House {
    let text = format!(
        r#"
listeners:
  plain: {{ listen: "127.0.0.1:0", limits: {{ handshakes_per_address: 10000/s }} }}
  public:
    listen: "127.0.0.1:0"
    limits: {{ handshakes_per_address: 10000/s }}
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
trust: {{ mesh: {{ spiffe: corp.example, pem: mesh.pem{trust} }} }}
identity: {{ svid: {{ chain: svid.pem, key: svid.key }} }}
pools:
  main: {{ endpoints: [{{ address: "{}" }}], protocol: {protocol}, tls: {{ {tls} }} }}
routes:
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}
"#,
        endpoint.address
    );
    House::open_with(&text, |folder, _| {
        write(&folder.join("mesh.pem"), &mesh.pem);
        write(&folder.join("mesh.crl"), &list(mesh, &[], HOUR).pem().unwrap());
        mesh.leaf(&[], Some("spiffe://corp.example/edge"))
            .write(folder, "svid");
    })
}

const NAMED: &str = "server_name: orders.internal, ca: mesh.pem, crl: mesh.crl";
const EXPECTED: &str = "expect: \"spiffe://corp.example/orders\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_endpoint_gets_nothing_not_even_on_a_kept_connection() {
    let mesh = Authority::new("mesh");

    for protocol in ["h1", "h2"] {
        for (trust, tls) in [("", NAMED), (", crl: mesh.crl", EXPECTED)] {
            let leaf = mesh.leaf(&["orders.internal"], Some("spiffe://corp.example/orders"));
            let endpoint = Endpoint::start_tls("one", &leaf, None).await;
            let house = open(&mesh, &endpoint, trust, protocol, tls);
            wait_until("a connection to be kept", || async {
                let before = endpoint.connections();
                assert_eq!(house.plain().get("/open/x", &[]).await.status, 200);
                (endpoint.connections() == before).then_some(())
            })
            .await;

            publish(&house.gateway, "mesh.crl", &list(&mesh, &[&leaf], HOUR));
            wait_until("the endpoint to be refused", || async {
                (house.plain().get("/open/x", &[]).await.status == 502).then_some(())
            })
            .await;
            let seen = endpoint.requests();

            for dial in [house.plain(), house.h1(), house.h2()] {
                let answer = dial.send(Method::POST, "/open/x", &[], b"secret").await;
                house.assert_refused(&answer, 502, "endpoint-tls");
            }
            assert_eq!(endpoint.requests(), seen, "{protocol} {tls}");
            let labels = ["trust=\"pool/main\"", "outcome=\"revoked\""];
            let metric = "portcullis_identity_revocation_checks_total";
            assert!(Seen::of(&house.gateway).metric(metric, &labels).await >= 1.0);

            publish(&house.gateway, "mesh.crl", &list(&mesh, &[], HOUR));
            wait_until("the endpoint to be reached again", || async {
                (house.plain().get("/open/x", &[]).await.status == 200).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_list_of_an_endpoint_means_what_its_pool_says() {
    let mesh = Authority::new("mesh");
    let leaf = mesh.leaf(&["orders.internal"], None);

    for (on_stale, status) in [("deny", 502), ("warn", 200), ("allow", 200)] {
        let endpoint = Endpoint::start_tls("one", &leaf, None).await;
        let tls = format!("{NAMED}, on_stale_crl: {on_stale}");
        let house = open(&mesh, &endpoint, "", "h1", &tls);
        let seen = Seen::of(&house.gateway);
        let revision = seen.revision().await;
        publish(&house.gateway, "mesh.crl", &overdue(&mesh, &[]));
        seen.revision_after(&revision).await;

        let answer = house.plain().get("/open/x", &[]).await;

        assert_eq!(answer.status.as_u16(), status, "{on_stale}");
    }
}
