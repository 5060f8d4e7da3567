//! How much, for whom, and how strictly: limits by every key, and guards that only watch or hold for a share.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::house::LISTENERS;
use crate::support::pki::write;
use crate::support::{Endpoint, House, RawConnection};

const GUARDS: &str = r#"
policies:
  never: { rego: never.rego, decision: data.never.decision }
  watched: { rego: never.rego, decision: data.never.decision, mode: observe }
rate_limits:
  by_address: { key: client.address, limit: 2/d, burst: 2 }
  by_principal: { key: principal, limit: 2/d, burst: 2 }
  by_tenant: { key: [principal.tenant, route], limit: 2/d, burst: 2 }
  by_header: { key: header.x-device, limit: 2/d, burst: 2 }
  watched: { key: client.address, limit: 2/d, burst: 2, mode: observe }
routes:
  - { name: address, match: { path: /address }, public: true, rate_limits: [by_address], pool: main }
  - { name: principal, match: { path: /principal }, authenticate: [{ jwt: idp }], authorize: [authenticated], rate_limits: [by_principal], pool: main }
  - { name: tenant, match: { path: /tenant }, authenticate: [{ jwt: idp }], authorize: [authenticated], rate_limits: [by_tenant], pool: main }
  - { name: header, match: { path: /header }, public: true, rate_limits: [by_header], pool: main }
  - { name: watched, match: { path: /watched }, public: true, rate_limits: [watched], authorize: [watched], pool: main }
  - { name: share, match: { path: /share }, public: true, authorize: [{ name: never, percent: 50 }], pool: main }
  - { name: off, match: { path: /off }, public: true, authorize: [{ name: never, mode: "off" }], pool: main }
  - { name: never, match: { path: /never }, public: true, authorize: [never], pool: main }
"#;

const NEVER: &str = r#"
package never

decision := {"allow": false, "reason": "never"}
"#;

fn open(endpoint: &Endpoint) -> House {
    let pool = format!(
        "pools: {{ main: {{ endpoints: [{{ address: \"{}\" }}] }} }}\n",
        endpoint.address
    );
    House::open_with(&format!("{LISTENERS}{pool}{GUARDS}"), |folder, _| {
        write(&folder.join("never.rego"), NEVER)
    })
}

async fn statuses(house: &House, target: &str, fields: &[(&str, &str)], count: usize) -> Vec<u16> {
    let mut client = house.h2().connect().await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..count {
        let answer = client.send(http::Method::GET, target, fields, b"").await.unwrap();
        statuses.push(answer.status.as_u16());
    }
    statuses
}

/// A connection from another loopback address.
async fn from(source: &str, to: SocketAddr) -> RawConnection {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    RawConnection::over(Box::new(socket.connect(to).await.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_by_address_is_each_addresses_own() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&endpoint);
    let plain = house.gateway.address("plain");
    let request = b"GET /address HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 127.0.0.9\r\n\r\n";

    for source in ["127.0.0.2", "127.0.0.3"] {
        for expected in [200, 200, 429] {
            let answer = from(source, plain).await.ask(request).await;
            assert_eq!(answer.status, expected, "{source}");
        }
    }

    assert_eq!(endpoint.requests(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_by_principal_tenant_and_header_are_each_keys_own() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&endpoint);
    let bearer = |subject: &str, tenant: &str| house.bearer(subject, json!({ "tenant": tenant }));
    let (alice, bob, carol) = (
        bearer("alice", "red"),
        bearer("bob", "red"),
        bearer("carol", "blue"),
    );

    for who in [&alice, &bob] {
        assert_eq!(
            statuses(&house, "/principal", &[("authorization", who)], 3).await,
            [200, 200, 429]
        );
    }
    assert_eq!(
        statuses(&house, "/tenant", &[("authorization", &alice)], 1).await,
        [200]
    );
    assert_eq!(
        statuses(&house, "/tenant", &[("authorization", &bob)], 2).await,
        [200, 429]
    );
    assert_eq!(
        statuses(&house, "/tenant", &[("authorization", &alice)], 1).await,
        [429]
    );
    assert_eq!(
        statuses(&house, "/tenant", &[("authorization", &carol)], 3).await,
        [200, 200, 429]
    );
    for device in ["a", "b"] {
        assert_eq!(
            statuses(&house, "/header", &[("x-device", device)], 3).await,
            [200, 200, 429]
        );
    }

    let refused = house.h1().get("/principal", &[("authorization", &alice)]).await;
    house.assert_refused(&refused, 429, "rate-limited");
    assert!(refused.headers.contains_key("retry-after"));
    assert!(
        refused.headers["ratelimit"]
            .to_str()
            .unwrap()
            .starts_with("\"by_principal\";r=0;")
    );
    let policy = refused.headers["ratelimit-policy"].to_str().unwrap();
    assert!(!policy.contains("alice"), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_watches_refuses_nothing_and_records() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&endpoint);

    let mut observed = Vec::new();
    for _ in 0..3 {
        let answer = house.h1().get("/watched", &[]).await;
        assert_eq!(answer.status, 200);
        assert!(
            !answer.headers.contains_key("ratelimit"),
            "what is not enforced is not told"
        );
        observed = house.gateway.access_line(&answer.request_id())["observed"]
            .as_array()
            .unwrap()
            .clone();
    }

    let guards: Vec<_> = observed
        .iter()
        .map(|one| (one["guard"].clone(), one["reason"].clone()))
        .collect();
    assert!(
        guards.contains(&(json!("limit:watched"), json!("rate-limited-early"))),
        "{guards:?}"
    );
    assert!(
        guards.contains(&(json!("policy:watched"), json!("policy-denied"))),
        "{guards:?}"
    );
    assert_eq!(endpoint.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_holds_for_its_share_or_not_at_all() {
    let endpoint = Endpoint::start("one").await;
    let house = open(&endpoint);

    let share = statuses(&house, "/share", &[], 200).await;
    let denied = share.iter().filter(|status| **status == 403).count();
    assert!(
        share.iter().all(|status| [200, 403].contains(status)),
        "{share:?}"
    );
    // Half of 200 within six standard deviations.
    assert!((58..=142).contains(&denied), "{denied} of 200");
    assert_eq!(endpoint.requests(), 200 - denied);
    assert_eq!(statuses(&house, "/off", &[], 3).await, [200, 200, 200]);
    let never = house.h1().get("/never", &[]).await;

    let line = house.assert_refused(&never, 403, "policy-denied");
    assert_eq!(
        (&line["stage"], &line["route"]),
        (&json!("authorize"), &json!("never"))
    );
    assert_ne!(line["revision"], Value::Null);
}
