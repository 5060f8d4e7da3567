//! Clients whose certificates are revoked by a list in a file.

use std::time::{Duration, Instant};

use http::Method;
use rustls::{AlertDescription, HandshakeKind, version};

use super::{HOUR, attempt, dial, pool, publish, shake};
use crate::support::lists::{list, overdue};
use crate::support::pki::write;
use crate::support::{Authority, Client, Dial, Endpoint, House, Leaf, Seen, wait_until};

const DOORS: &str = r#"
listeners:
  asking:
    listen: "127.0.0.1:0"
    limits: { handshakes_per_address: 10000/s }
    tls:
      certificates: [{ chain: server.pem, key: server.key }]
      client_certificates: { mode: request, trust: [partners] }
  strict:
    listen: "127.0.0.1:0"
    limits: { handshakes_per_address: 10000/s }
    tls:
      certificates: [{ chain: server.pem, key: server.key }]
      client_certificates: { mode: require, trust: [partners] }
"#;

const ROUTES: &str = r#"
routes:
  - { name: open, match: { path: "/open/**" }, public: true, pool: main }
  - { name: mine, match: { path: "/mine/**" }, authenticate: [{ mtls: partners }], authorize: [{ authenticated: true }], pool: main }
"#;

/// A gateway that looks clients up in `partners.crl`.
struct Scene {
    house: House,
    endpoint: Endpoint,
    partners: Authority,
}

impl Scene {
    async fn set(trust: &str) -> Self {
        let endpoint = Endpoint::start("one").await;
        let partners = Authority::new("partners");
        let text = format!("{DOORS}trust: {{ {trust} }}\n{}{ROUTES}", pool(&endpoint));
        let house = House::open_with(&text, |folder, _| {
            write(&folder.join("partners.pem"), &partners.pem);
            let nobody = list(&partners, &[], HOUR);
            write(&folder.join("partners.crl"), &nobody.pem().unwrap());
        });
        Self {
            house,
            endpoint,
            partners,
        }
    }

    fn leaf(&self, name: &str) -> Leaf {
        let id = format!("spiffe://corp.example/{name}");
        self.partners.leaf(&[], Some(&id))
    }

    fn revoke(&self, leaves: &[&Leaf]) {
        let list = list(&self.partners, leaves, HOUR);
        publish(&self.house.gateway, "partners.crl", &list);
    }
}

const CHECKED: &str = "partners: { pem: partners.pem, crl: partners.crl }";

async fn get(client: &mut Client, target: &str) -> (u16, String) {
    let answer = client.send(Method::GET, target, &[], b"").await.unwrap();
    let code = if answer.status == 200 {
        String::new()
    } else {
        answer.code()
    };
    (answer.status.as_u16(), code)
}

fn refused() -> (u16, String) {
    (401, "certificate-revoked".to_owned())
}

/// RFC 5280 section 6.3: revoked means now, whatever was agreed on before; a resumed session is not verified again by
/// TLS (RFC 8446 section 2.2), so it must not be resumed.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_client_gets_nothing_on_a_fresh_a_resumed_and_an_already_open_connection() {
    for listener in ["asking", "strict"] {
        let scene = Scene::set(CHECKED).await;
        let (bad, good) = (scene.leaf("bad"), scene.leaf("good"));
        let leaf = bad.clone();
        let mut dials: Vec<(Dial, Dial)> = Vec::new();
        for version in [&version::TLS13, &version::TLS12] {
            for is_h2 in [false, true] {
                let of = |leaf| dial(&scene.house, listener, leaf, version, is_h2);
                dials.push((of(&bad), of(&good)));
            }
        }
        let mut open = Vec::new();
        for (bad, good) in &dials {
            for dial in [bad, good] {
                shake(dial).await.unwrap();
                // A door that requires certificates resumes no session at all.
                let again = shake(dial).await;
                if listener == "asking" && !dial.is_h2 {
                    assert_eq!(again, Ok(HandshakeKind::Resumed));
                }
            }
            let (mut of_bad, mut of_good) = (bad.connect().await.unwrap(), good.connect().await.unwrap());
            for client in [&mut of_bad, &mut of_good] {
                assert_eq!(get(client, "/mine/x").await.0, 200);
                assert_eq!(get(client, "/open/x").await.0, 200);
            }
            open.push((of_bad, of_good));
        }

        scene.revoke(&[&bad]);
        let revoked = Instant::now();
        let (first, _) = &mut open[0];
        while get(first, "/mine/x").await.0 == 200 {
            assert!(
                revoked.elapsed() < Duration::from_secs(20),
                "the list is not read"
            );
        }
        let took = revoked.elapsed();
        let seen = scene.endpoint.requests();

        for (of_bad, of_good) in &mut open {
            for target in ["/mine/x", "/open/x"] {
                assert_eq!(get(of_bad, target).await, refused(), "{listener} {target}");
                assert_eq!(
                    get(of_good, target).await.0,
                    200,
                    "its neighbour's connection goes on"
                );
            }
        }
        for (bad, good) in &dials {
            for _ in 0..2 {
                let alert = shake(bad).await.unwrap_err();
                assert_eq!(
                    alert,
                    Some(AlertDescription::CertificateRevoked),
                    "{listener}: remembered"
                );
            }
            let fresh = dial(&scene.house, listener, &leaf, &version::TLS13, bad.is_h2);
            assert!(attempt(&fresh, "/mine/x").await.is_none(), "{listener}: fresh");
            assert_eq!(shake(good).await, Ok(HandshakeKind::Full), "a new generation");
            assert_eq!(attempt(good, "/mine/x").await.unwrap().status, 200);
        }
        // Two by each open connection of the neighbour, two by each of its new ones.
        let asked = scene.endpoint.requests() - seen;
        let shaken = dials.iter().filter(|(_, good)| !good.is_h2).count();
        assert_eq!(
            asked,
            2 * dials.len() + dials.len() + shaken,
            "nothing of the revoked client arrived"
        );
        assert!(took < Duration::from_secs(2), "it took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_let_in_again_when_it_leaves_the_list() {
    let scene = Scene::set(CHECKED).await;
    let leaf = scene.leaf("held");
    let dial = dial(&scene.house, "asking", &leaf, &version::TLS13, false);
    assert!(shake(&dial).await.is_ok());

    scene.revoke(&[&leaf]);
    wait_until("it to be refused", || async {
        shake(&dial).await.is_err().then_some(())
    })
    .await;
    scene.revoke(&[]);
    wait_until("it to be let in", || async {
        shake(&dial).await.is_ok().then_some(())
    })
    .await;

    assert_eq!(attempt(&dial, "/mine/x").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_list_means_what_the_trust_says() {
    for (on_stale, is_let_in, is_told) in [
        ("deny", false, false),
        ("warn", true, true),
        ("allow", true, false),
    ] {
        let trust = format!("partners: {{ pem: partners.pem, crl: partners.crl, on_stale_crl: {on_stale} }}");
        let scene = Scene::set(&trust).await;
        let seen = Seen::of(&scene.house.gateway);
        let (bad, good) = (scene.leaf("bad"), scene.leaf("good"));
        let revision = seen.revision().await;
        publish(
            &scene.house.gateway,
            "partners.crl",
            &overdue(&scene.partners, &[&bad]),
        );
        seen.revision_after(&revision).await;

        for is_h2 in [false, true] {
            let of = |leaf| dial(&scene.house, "asking", leaf, &version::TLS13, is_h2);
            assert_eq!(
                shake(&of(&bad)).await,
                Err(Some(AlertDescription::CertificateRevoked)),
                "{on_stale}: an overdue list still says who was revoked"
            );
            let answer = attempt(&of(&good), "/mine/x").await;
            assert_eq!(
                answer.map(|answer| answer.status.as_u16()),
                is_let_in.then_some(200),
                "{on_stale}"
            );
        }

        let outcome = if is_let_in {
            "unknown-accepted"
        } else {
            "unknown-refused"
        };
        let ready = seen.get("/readyz").await;
        assert_eq!(ready.status, 200);
        let stale = ready.json()["stale"].to_string();
        assert!(stale.contains("partners.crl: overdue"), "{stale}");
        let failed = "portcullis_handshakes_failed_total";
        let unknown = seen.metric(failed, &["cause=\"status-unknown\""]).await;
        assert_eq!(unknown > 0.0, !is_let_in, "{on_stale}: {unknown}");
        assert!(seen.metric(failed, &["cause=\"revoked\""]).await >= 2.0);
        let labels = [&*format!("outcome=\"{outcome}\""), "trust=\"partners\""];
        let counted = seen
            .metric("portcullis_identity_revocation_checks_total", &labels)
            .await;
        assert!(counted >= 2.0, "{on_stale}: {counted}");
        let lines = scene.house.gateway.log.all();
        let told = lines
            .iter()
            .filter(|line| line.to_string().contains("revocation status cannot be told"));
        assert_eq!(
            told.count(),
            usize::from(is_told),
            "{on_stale}: one line, not one for each request"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_list_of_its_issuer_is_refused() {
    let scene = Scene::set(CHECKED).await;
    let other = Authority::new("partners");
    let leaf = scene.leaf("good");
    let of = || dial(&scene.house, "asking", &leaf, &version::TLS13, false);
    assert_eq!(attempt(&of(), "/mine/x").await.unwrap().status, 200);
    let mut open = of().connect().await.unwrap();
    assert_eq!(get(&mut open, "/mine/x").await.0, 200);

    // The same name, another key: RFC 5280 section 6.3.3 (g).
    publish(&scene.house.gateway, "partners.crl", &list(&other, &[], HOUR));
    wait_until("the open connection to be refused", || async {
        shake(&of()).await.is_err().then_some(())
    })
    .await;

    assert_eq!(
        get(&mut open, "/mine/x").await,
        (401, "certificate-status-unknown".to_owned())
    );
    assert!(attempt(&of(), "/mine/x").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_list_is_refused_and_the_list_before_it_holds() {
    let scene = Scene::set(CHECKED).await;
    let seen = Seen::of(&scene.house.gateway);
    let (bad, good) = (scene.leaf("bad"), scene.leaf("good"));
    let of = |leaf| dial(&scene.house, "asking", leaf, &version::TLS13, false);
    scene.revoke(&[&bad]);
    wait_until("the list", || async {
        shake(&of(&bad)).await.is_err().then_some(())
    })
    .await;

    write(&scene.house.gateway.path("partners.crl"), "nothing of the kind");
    wait_until("the refusal", || async {
        (seen.metric("portcullis_config_reload_failed", &[]).await == 1.0).then_some(())
    })
    .await;

    scene.house.gateway.log.wait_for("the reason", |line| {
        line["level"] == "ERROR" && line.to_string().contains("crl-unusable")
    });
    assert!(shake(&of(&bad)).await.is_err());
    assert!(shake(&of(&good)).await.is_ok());
    let labels = ["list=\"partners.crl\""];
    let next = seen
        .metric("portcullis_identity_crl_next_update_timestamp_seconds", &labels)
        .await;
    assert!(next > 1.0e9, "{next}");
}
