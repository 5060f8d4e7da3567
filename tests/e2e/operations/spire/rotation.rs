//! SVIDs that rotate while requests are under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;

use super::*;

/// SPIRE renews such an SVID every second, the pace of its agent.
const SHORT: &[&str] = &["-x509SVIDTTL", "6", "-dns", "mesh.internal"];
/// Deliveries that the load has to live through.
const ROTATIONS: usize = 6;

fn deliveries(gateway: &TestGateway) -> usize {
    let lines = gateway.log.all();
    lines.iter().filter(|line| line["message"] == RECEIVED).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_that_rotate_every_second_lose_no_request_and_no_connection() {
    let text = |_: &Spire| Text {
        shown: ", { svid: true, names: [mesh.internal] }",
        ..Text::default()
    };
    let Some(mesh) = Mesh::start(1, SHORT, text).await else {
        return;
    };
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let address = mesh.gateway.address("public");
    let to_svid = |leaf: &Leaf| Dial::tls(address, "mesh.internal", Arc::clone(&mesh.roots), Some(leaf));
    let h2 = Dial::h2(address, "mesh.internal", Arc::clone(&mesh.roots), Some(&mesh.web));
    // Two keep one connection each through every rotation, two shake hands anew for each request.
    let workers = [
        (mesh.dial(Some(&mesh.web)), true),
        (h2, true),
        (mesh.dial(Some(&mesh.web)), false),
        (to_svid(&mesh.web), false),
    ];
    let tasks = workers.map(|(dial, keeps)| {
        let (done, served) = (Arc::clone(&done), Arc::clone(&served));
        tokio::spawn(async move {
            let mut client = dial.connect().await.unwrap();
            while !done.load(Ordering::SeqCst) {
                if !keeps {
                    client = dial.connect().await.unwrap();
                }
                let answer = client.send(Method::GET, "/billing/1", &[], b"").await.unwrap();
                assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                assert_eq!(answer.body, "welcome!", "the endpoint saw who we are");
                served.fetch_add(1, Ordering::SeqCst);
            }
        })
    });

    let before = deliveries(&mesh.gateway);
    let gateway = &mesh.gateway;
    tokio::task::block_in_place(|| {
        wait_for("many rotations", || {
            (deliveries(gateway) >= before + ROTATIONS).then_some(())
        });
    });
    done.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }

    let served = served.load(Ordering::SeqCst);
    println!("{served} requests through {ROTATIONS} rotations, none lost");
    assert!(served > 20 * ROTATIONS, "{served}");
    let left = mesh
        .seen
        .metric("portcullis_identity_svid_expires_in_seconds", &[GATEWAY])
        .await;
    assert!((1.0..60.0).contains(&left), "{left}");
    let connected = "portcullis_identity_workload_api_connected";
    assert_eq!(mesh.seen.metric(connected, &["agent.sock"]).await, 1.0);
}
