//! Certificates that were verified before they were denied: of clients on any route, and of endpoints.

use super::*;
use crate::support::{Endpoint, House, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_client_gets_nothing_not_even_of_a_public_route_on_an_open_or_resumed_connection() {
    let scene = Scene::with_list("[]");
    let billing = scene.mesh.leaf(&[], Some(BILLING));
    let dial = Dial::tls(
        scene.gateway.address("public"),
        HOST,
        scene.edge.roots(),
        Some(&billing),
    );
    let open = async |client: &mut Client| client.send(Method::GET, "/open", &[], b"").await.unwrap();
    let mut client = dial.connect().await.unwrap();
    let mut neighbour = scene.machine(&scene.mesh.leaf(&[], Some(ORDERS))).await.client;
    assert_eq!(open(&mut client).await.status, StatusCode::OK);

    // Meant within a trust that did not let this client in: nobody is refused.
    let number = serial(&billing);
    scene.write_list(&list_of(&[json!({ "serial": number, "trust": "partners" })]));
    wait_until("the list to hold", || async {
        (scene.seen().json("/deny").await["file"]["entries"]["serial"] == 1).then_some(())
    })
    .await;
    assert_eq!(open(&mut client).await.status, StatusCode::OK);

    let since = Instant::now();
    scene.write_list(&list_of(&[json!({ "serial": number, "trust": "mesh" })]));
    loop {
        let answer = open(&mut client).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.code(), "certificate-revoked");
            let line = scene.gateway.access_line(&answer.request_id()).to_string();
            assert!(line.contains("deny.yaml:1:2"), "{line}");
            break;
        }
        assert!(since.elapsed() < SOON, "not refused in time");
    }

    // The same configuration of the client, so that its session could come back.
    let mut resumed = dial.connect().await.unwrap();
    assert_eq!(open(&mut resumed).await.code(), "certificate-revoked");
    assert_eq!(open(&mut neighbour).await.status, StatusCode::OK);
    let anybody = Dial::tls(scene.gateway.address("public"), HOST, scene.edge.roots(), None);
    assert_eq!(anybody.get("/open", &[]).await.status, StatusCode::OK);
}

/// A gateway that expects a workload behind its pool, and follows a deny list.
async fn in_front_of(mesh: &Authority, endpoint: &Endpoint, protocol: &str) -> House {
    let text = format!(
        r#"
revocation: {{ deny_list: deny.yaml }}
listeners:
  plain: {{ listen: "127.0.0.1:0", limits: {{ handshakes_per_address: 10000/s }} }}
trust: {{ mesh: {{ spiffe: corp.example, pem: mesh.pem }} }}
identity: {{ svid: {{ chain: svid.pem, key: svid.key }} }}
pools:
  main: {{ endpoints: [{{ address: "{}" }}], protocol: {protocol}, tls: {{ expect: "{ORDERS}" }} }}
routes:
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}
"#,
        endpoint.address
    );
    House::open_with(&text, |folder, _| {
        write(&folder.join("deny.yaml"), "[]");
        write(&folder.join("mesh.pem"), &mesh.pem);
        mesh.leaf(&[], Some("spiffe://corp.example/edge"))
            .write(folder, "svid");
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_endpoint_gets_nothing_not_even_on_a_kept_connection() {
    let mesh = Authority::new("mesh");
    for protocol in ["h1", "h2"] {
        let leaf = mesh.leaf(&[], Some(ORDERS));
        let endpoint = Endpoint::start_tls("one", &leaf, None).await;
        let house = in_front_of(&mesh, &endpoint, protocol).await;
        for entry in [
            json!({ "spiffe": "spiffe://corp.example/ns/*" }),
            json!({ "serial": serial(&leaf) }),
        ] {
            wait_until("a connection to be kept", || async {
                let before = endpoint.connections();
                let status = house.plain().get("/open/x", &[]).await.status;
                (status == 200 && endpoint.connections() == before).then_some(())
            })
            .await;

            let since = Instant::now();
            write(&house.gateway.path("deny.yaml"), &list_of(&[entry]));
            wait_until("the endpoint to be refused", || async {
                (house.plain().get("/open/x", &[]).await.status == 502).then_some(())
            })
            .await;
            assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
            let reached = endpoint.requests();
            let answer = house.plain().get("/open/x", &[]).await;
            house.assert_refused(&answer, 502, "endpoint-tls");
            assert_eq!(endpoint.requests(), reached, "{protocol}");

            write(&house.gateway.path("deny.yaml"), "[]");
            wait_until("the endpoint to be reached again", || async {
                (house.plain().get("/open/x", &[]).await.status == 200).then_some(())
            })
            .await;
        }
    }
}
