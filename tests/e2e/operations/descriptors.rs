//! A listener that runs out of file descriptors pauses, and recovers when some are free.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::process::{descriptors, processor_time};
use crate::support::{Authority, Dial, Endpoint, Seen, TestGateway, configure, folder, wait_until};

/// Enough for the gateway itself and some connections.
const DESCRIPTORS: usize = 80;

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_descriptors_pauses_and_recovers() {
    let endpoint = Endpoint::start("one").await;
    let (folder, authority) = (folder(), Authority::new("edge"));
    authority
        .leaf(&["api.example.com"], None)
        .write(folder.path(), "server");
    configure(
        folder.path(),
        &format!(
            r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {{ handshake_timeout: 60s, handshakes_per_address: 10000/s, per_address: 10000 }}
pools: {{ main: {{ endpoints: [{{ address: "{}" }}] }} }}
routes: [{{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main }}]
"#,
            endpoint.address
        ),
    );
    let mut gateway = TestGateway::spawn_with_descriptors(folder, DESCRIPTORS);
    let (address, seen) = (gateway.address("public"), Seen::of(&gateway));
    let dial = Dial::tls(address, "api.example.com", authority.roots(), None);
    let mut kept = dial.connect().await.unwrap();
    assert_eq!(
        kept.send(http::Method::GET, "/open/1", &[], b"")
            .await
            .unwrap()
            .status,
        200
    );

    // The kernel accepts them all; the gateway runs out of descriptors for them.
    let mut held = Vec::new();
    for _ in 0..DESCRIPTORS * 2 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    wait_until("every descriptor to be used", || {
        std::future::ready((descriptors(gateway.pid()) >= DESCRIPTORS).then_some(()))
    })
    .await;

    let used = processor_time(gateway.pid());
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    second.tick().await;
    let used = processor_time(gateway.pid()) - used;
    println!("{used} ms of processor time in the second without descriptors");
    assert!(used < 500, "it spins: {used} ms in a second");
    let said: Vec<_> = gateway
        .log
        .all()
        .into_iter()
        .filter(|line| line.to_string().contains("os error 24"))
        .collect();
    assert!(said.len() < 50, "{} log lines about one thing", said.len());
    let line = said.first().expect("somebody has to be told");
    let words = line["message"].as_str().unwrap();
    assert!(
        line["level"] == "ERROR" && words.contains("limit of open files"),
        "{line}"
    );
    assert!(!gateway.has_exited());
    let answer = kept.send(http::Method::GET, "/open/2", &[], b"").await.unwrap();
    assert_eq!(
        answer.status, 200,
        "connections that are there are served: {answer:?}"
    );

    drop(held);

    let answer = wait_until("a new connection to be served", || async {
        let mut client = dial.connect().await.ok()?;
        client.send(http::Method::GET, "/open/3", &[], b"").await.ok()
    })
    .await;
    assert_eq!(answer.status, 200);
    assert!(seen.is_ready().await);
}
