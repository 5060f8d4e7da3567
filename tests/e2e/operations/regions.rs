//! Three regions: where requests go, what is tried twice, and what never leaves its jurisdiction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode};
use serde_json::json;

use super::load::{Ask, Load, ok};
use crate::support::Seen;
use crate::support::{
    Answer, Authority, Behaviour, Dial, Endpoint, TestGateway, TokenIssuer, configure, folder, pki,
    wait_until,
};

/// A port that nobody may listen on without being root.
const NOBODY: &str = "127.0.0.1:1";

/// A gateway in eu-west with an endpoint in each region.
struct World {
    gateway: TestGateway,
    authority: Authority,
    issuer: TokenIssuer,
    eu_west: Endpoint,
    eu_central: Endpoint,
    us_east: Endpoint,
}

impl World {
    async fn start(health: &str) -> Self {
        let (folder, authority) = (folder(), Authority::new("edge"));
        authority
            .leaf(&["api.example.com"], None)
            .write(folder.path(), "server");
        let issuer = TokenIssuer::new("https://login.example.com", "k1");
        pki::write(&folder.path().join("jwks.json"), &issuer.jwks());
        let eu_west = Endpoint::start("eu-west").await;
        let eu_central = Endpoint::start("eu-central").await;
        let us_east = Endpoint::start("us-east").await;
        let text = format!(
            r#"
version: 1
gateway: {{ region: eu-west, admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  public:
    listen: "127.0.0.1:0"
    tls: {{ certificates: [{{ chain: server.pem, key: server.key }}] }}
    limits: {{ handshakes_per_address: 10000/s }}
issuers:
  idp: {{ issuer: "https://login.example.com", jwks: {{ file: jwks.json }}, audiences: [api], claims: {{ region: region }} }}
jurisdictions: {{ EU: [eu-west, eu-central], US: [us-east] }}
regions:
  eu-west: {{ failover: [eu-central, us-east] }}
pools:
  orders:
    sites:
      eu-west: {{ endpoints: [{{ address: "{}" }}] }}
      eu-central: {{ endpoints: [{{ address: "{}" }}] }}
      us-east: {{ endpoints: [{{ address: "{}" }}] }}
{health}
routes:
  - {{ name: anywhere, match: {{ path: "/anywhere/**" }}, public: true, pool: orders }}
  - name: pinned
    match: {{ path: "/pinned/**" }}
    authenticate: [{{ jwt: idp }}]
    authorize: [{{ authenticated: true }}]
    residency: {{ from: claim.region, default: [EU] }}
    pool: orders
"#,
            eu_west.address, eu_central.address, us_east.address
        );
        configure(folder.path(), &text);
        let gateway = TestGateway::start(folder);
        Self {
            gateway,
            authority,
            issuer,
            eu_west,
            eu_central,
            us_east,
        }
    }

    async fn probed() -> Self {
        Self::start(
            "    health: { probe: { http: /healthz }, interval: 500ms, timeout: 500ms, fall: 2, rise: 2 }",
        )
        .await
    }

    fn dials(&self) -> Vec<Dial> {
        let (address, roots) = (self.gateway.address("public"), self.authority.roots());
        let h1 = Dial::tls(address, "api.example.com", Arc::clone(&roots), None);
        let h2 = Dial::h2(address, "api.example.com", roots, None);
        vec![h1.clone(), h1.clone(), h1, h2]
    }

    async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.dials().remove(0).get(target, fields).await
    }

    fn bearer(&self, region: serde_json::Value) -> String {
        format!(
            "Bearer {}",
            self.issuer.token("alice", json!({ "region": region }))
        )
    }

    /// Waits until a plain request is served by a region.
    async fn served_by(&self, region: &str) {
        wait_until(&format!("{region} to serve"), || async {
            (self.get("/anywhere/1", &[]).await.body == region).then_some(())
        })
        .await;
    }

    fn endpoints(&self) -> [&Endpoint; 3] {
        [&self.eu_west, &self.eu_central, &self.us_east]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_die_and_return_under_load_without_a_failed_request() {
    let world = World::probed().await;
    let seen = Seen::of(&world.gateway);
    let load = Load::start(world.dials(), || Ask::get("/anywhere/1"), ok);
    load.answered(500).await;
    assert_eq!(
        (world.eu_central.requests(), world.us_east.requests()),
        (0, 0),
        "the local region serves"
    );

    for (gone, next) in [(&world.eu_west, "eu-central"), (&world.eu_central, "us-east")] {
        gone.stop();
        seen.endpoint_state(gone.address, "down").await;
        world.served_by(next).await;
        load.answered_more(500).await;
    }
    assert!(world.us_east.requests() >= 500);

    for (back, name) in [(&world.eu_central, "eu-central"), (&world.eu_west, "eu-west")] {
        back.restart().await;
        world.served_by(name).await;
        load.answered_more(500).await;
    }
    seen.endpoint_state(world.eu_west.address, "up").await;
    let elsewhere = world.eu_central.requests() + world.us_east.requests();
    load.answered_more(500).await;
    let strays = world.eu_central.requests() + world.us_east.requests() - elsewhere;
    let tally = load.finish("two regions die and return, GET").await;
    assert_eq!(tally.failures(), Vec::<String>::new());
    assert!(strays <= 4, "{strays} requests went abroad although home is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_never_sent_twice_while_regions_die() {
    let world = World::probed().await;
    let serial = AtomicUsize::new(0);
    let make = move || {
        let id = serial.fetch_add(1, Ordering::SeqCst);
        Ask {
            method: Method::POST,
            body: b"{}".to_vec(),
            note: id,
            ..Ask::get("/anywhere/1")
        }
        .with("x-serial", &id.to_string())
    };
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    let load = Load::start(world.dials(), make, move |ask, answer| {
        match answer.status.as_u16() {
            200 => Ok(()),
            502..=504 => {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            _ => ok(ask, answer),
        }
    });
    load.answered(300).await;

    for (gone, next) in [(&world.eu_west, "eu-central"), (&world.eu_central, "us-east")] {
        gone.stop();
        world.served_by(next).await;
        load.answered_more(300).await;
    }

    let tally = load.finish("two regions die, POST").await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for received in world.endpoints().iter().flat_map(|endpoint| endpoint.received()) {
        if let Some(id) = received.headers.get("x-serial") {
            *times.entry(id.to_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let refused = refused.load(Ordering::SeqCst);
    println!(
        "POST: {} reached an endpoint, {refused} answered with an honest 5xx, none twice",
        times.len()
    );
    assert_eq!(
        times.values().filter(|count| **count > 1).count(),
        0,
        "sent twice"
    );
    assert_eq!(tally.failures(), Vec::<String>::new());
    assert!(
        refused <= 16,
        "only what was in flight at a dying region may fail, not {refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn residency_is_kept_although_another_jurisdiction_could_serve() {
    let world = World::probed().await;
    let seen = Seen::of(&world.gateway);
    let (eu, us) = (world.bearer(json!("EU")), world.bearer(json!("US")));
    assert_eq!(
        world.get("/pinned/1", &[("authorization", &eu)]).await.body,
        "eu-west"
    );
    assert_eq!(
        world.get("/pinned/1", &[("authorization", &us)]).await.body,
        "us-east"
    );

    world.eu_west.stop();
    seen.endpoint_state(world.eu_west.address, "down").await;
    assert_eq!(
        world.get("/pinned/1", &[("authorization", &eu)]).await.body,
        "eu-central"
    );
    world.eu_central.stop();
    seen.endpoint_state(world.eu_central.address, "down").await;

    let before = world.us_east.requests();
    let pinned = world.get("/pinned/1", &[("authorization", &eu)]).await;
    assert_eq!(
        (pinned.status, pinned.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "residency-unavailable")
    );
    let defaulted = world
        .get("/pinned/1", &[("authorization", &world.bearer(json!(null)))])
        .await;
    assert_eq!(
        defaulted.code(),
        "residency-unavailable",
        "the route's default is the EU"
    );
    assert_eq!(world.us_east.requests(), before);
    assert_eq!(world.get("/anywhere/1", &[]).await.body, "us-east");
    assert!(seen.metric("portcullis_residency_refused_total", &[]).await >= 2.0);
    assert_eq!(
        seen.metric("portcullis_residency_violation_total", &[]).await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_residency_that_nobody_configured_is_refused() {
    let world = World::probed().await;

    let unknown = world
        .get("/pinned/1", &[("authorization", &world.bearer(json!("MARS")))])
        .await;
    let known = world
        .get("/pinned/1", &[("authorization", &world.bearer(json!("EU")))])
        .await;

    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (StatusCode::FORBIDDEN, "residency-unknown")
    );
    assert_eq!(known.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_probe_that_fails_moves_traffic_and_one_that_passes_brings_it_back() {
    let world = World::probed().await;
    let seen = Seen::of(&world.gateway);
    assert_eq!(world.get("/anywhere/1", &[]).await.body, "eu-west");

    world.eu_west.set_health(StatusCode::SERVICE_UNAVAILABLE);
    seen.endpoint_state(world.eu_west.address, "down").await;
    assert_eq!(world.get("/anywhere/1", &[]).await.body, "eu-central");

    world.eu_west.set_health(StatusCode::OK);
    seen.endpoint_state(world.eu_west.address, "up").await;
    assert_eq!(world.get("/anywhere/1", &[]).await.body, "eu-west");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_probe_needs_only_a_connection() {
    let world = World::start(
        "    health: { probe: { tcp: true }, interval: 500ms, timeout: 500ms, fall: 2, rise: 1 }",
    )
    .await;
    let seen = Seen::of(&world.gateway);
    world.eu_west.set_health(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.get("/anywhere/1", &[]).await.body, "eu-west");

    world.eu_west.stop();
    seen.endpoint_state(world.eu_west.address, "down").await;
    assert_eq!(world.get("/anywhere/1", &[]).await.body, "eu-central");

    world.eu_west.restart().await;
    seen.endpoint_state(world.eu_west.address, "up").await;
    assert_eq!(world.get("/anywhere/1", &[]).await.body, "eu-west");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_503_is_tried_in_another_region_for_a_get_only() {
    let world = World::probed().await;
    world
        .eu_west
        .behave(Behaviour::Status(StatusCode::SERVICE_UNAVAILABLE));

    let get = world.get("/anywhere/1", &[]).await;
    assert_eq!((get.status, &get.body[..]), (StatusCode::OK, &b"eu-central"[..]));
    assert_eq!((world.eu_west.requests(), world.eu_central.requests()), (1, 1));

    let post = world.dials()[0]
        .send(Method::POST, "/anywhere/1", &[], b"{}")
        .await;
    assert_eq!(post.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (world.eu_west.requests(), world.eu_central.requests()),
        (2, 1),
        "nobody else saw the POST"
    );

    let keyed = world.dials()[0]
        .send(
            Method::POST,
            "/anywhere/1",
            &[("idempotency-key", "\"7\"")],
            b"{}",
        )
        .await;
    assert_eq!(
        (keyed.status, &keyed.body[..]),
        (StatusCode::OK, &b"eu-central"[..])
    );
}

/// A gateway over plain HTTP in front of one pool with these endpoints.
fn one_pool(endpoints: &str, health: &str) -> (TestGateway, Dial) {
    let folder = folder();
    let text = format!(
        r#"
version: 1
gateway: {{ admin: {{ listen: "127.0.0.1:0" }} }}
listeners:
  plain: {{ listen: "127.0.0.1:0" }}
pools:
  orders:
    endpoints: [{endpoints}]
    {health}
routes:
  - {{ name: all, match: {{ path: "/**" }}, public: true, pool: orders }}
"#
    );
    configure(folder.path(), &text);
    let gateway = TestGateway::start(folder);
    let dial = Dial::plain(gateway.address("plain"));
    (gateway, dial)
}

fn written(endpoint: &Endpoint) -> String {
    format!("{{ address: \"{}\" }}", endpoint.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_tried_elsewhere_for_a_post_too() {
    let good = Endpoint::start("good").await;
    let (gateway, dial) = one_pool(&format!("{{ address: \"{NOBODY}\" }}, {}", written(&good)), "");

    for serial in 0..40 {
        let answer = dial
            .send(Method::POST, "/x", &[], format!("{serial}").as_bytes())
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    let mut bodies: Vec<_> = good
        .received()
        .into_iter()
        .map(|received| received.body)
        .collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 40, "each exactly once");
    assert!(
        Seen::of(&gateway).metric("portcullis_retry_total", &[]).await >= 1.0,
        "the dead one was tried"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_while_its_probes_are_green_is_ejected() {
    let (good, bad) = (Endpoint::start("good").await, Endpoint::start("bad").await);
    bad.behave(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
    let probe = "health: { probe: { http: /healthz }, interval: 500ms, timeout: 500ms }";
    let (gateway, dial) = one_pool(&format!("{}, {}", written(&good), written(&bad)), probe);
    let seen = Seen::of(&gateway);
    let mut client = dial.connect().await.unwrap();

    let mut failed = 0;
    while seen.metric("portcullis_endpoint_ejections_total", &[]).await == 0.0 {
        let answer = client.send(Method::GET, "/x", &[], b"").await.unwrap();
        failed += usize::from(!answer.status.is_success());
        assert!(bad.requests() < 200, "never ejected");
    }
    let before = bad.requests();
    for _ in 0..100 {
        assert_eq!(
            client.send(Method::GET, "/x", &[], b"").await.unwrap().body,
            "good"
        );
    }

    println!("ejected after {before} bad answers, of which a client saw {failed}");
    assert!(bad.requests() <= before + 1, "one trial at most");
    assert!(seen.metric("portcullis_endpoints", &["state=\"up\""]).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_share_the_requests_of_a_site() {
    let (heavy, light) = (Endpoint::start("heavy").await, Endpoint::start("light").await);
    let endpoints = format!(
        "{{ address: \"{}\", weight: 300 }}, {{ address: \"{}\", weight: 100 }}",
        heavy.address, light.address
    );
    let (_gateway, dial) = one_pool(&endpoints, "");
    let mut client = dial.connect().await.unwrap();

    for _ in 0..800 {
        client.send(Method::GET, "/x", &[], b"").await.unwrap();
    }

    assert_eq!(heavy.requests() + light.requests(), 800);
    assert!(
        (530..=670).contains(&heavy.requests()),
        "600 of 800 expected, {} came",
        heavy.requests()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_and_its_addresses_are_probed() {
    let endpoint = Endpoint::start("named").await;
    let name = format!("{{ dns: \"localhost:{}\" }}", endpoint.address.port());
    let (gateway, dial) = one_pool(
        &name,
        "health: { probe: { tcp: true }, interval: 500ms, timeout: 500ms, rise: 1 }",
    );

    for _ in 0..20 {
        assert_eq!(dial.get("/x", &[]).await.body, "named");
    }

    let pools = Seen::of(&gateway).json("/pools").await;
    let endpoints = pools["pools"][0]["endpoints"].as_array().unwrap();
    assert!(
        endpoints
            .iter()
            .any(|one| one["address"] == endpoint.address.to_string()),
        "{pools}"
    );
}
