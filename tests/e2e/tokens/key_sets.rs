//! Key sets: floods of invented keys, rotation, outage, poisoning, and an issuer that never answers.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::{ask, bearer, claims, gateway_of, issuer_status, plain, raw, text_of};
use crate::support::{Client, KeyServer, PATIENCE, Seen, TestGateway, TokenIssuer, wait_until};

const PATH: &str = "/jwks";

/// An issuer behind a key server, with these times.
fn fetched(server: &KeyServer, times: &str) -> String {
    let url = server.url(PATH);
    text_of(&format!(
        "  idp: {{ issuer: \"https://login.example.com\", jwks: {{ url: \"{url}\"{times} }}, audiences: [api] }}"
    ))
}

/// Asks on one connection until this is the answer; every other answer is given to `other`.
async fn wait_for_answer_but(
    gateway: &TestGateway,
    token: &str,
    wanted: (u16, &str),
    mut other: impl FnMut(u16, &str),
) {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut client = plain(gateway).connect().await.unwrap();
    loop {
        ticks.tick().await;
        let fields = [("authorization", bearer(token))];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = client.send(Method::GET, "/api", &fields, b"").await.unwrap();
        let status = answer.status.as_u16();
        let code = if status == 200 {
            String::new()
        } else {
            answer.code()
        };
        if (status, &*code) == wanted {
            return;
        }
        other(status, &code);
        assert!(
            Instant::now() < deadline,
            "waited in vain for {wanted:?}: {status} {code}"
        );
    }
}

async fn wait_for_answer(gateway: &TestGateway, token: &str, wanted: (u16, &str)) {
    wait_for_answer_but(gateway, token, wanted, |_, _| ()).await;
}

/// A token of a key that nobody has, which costs its sender nothing to make.
fn invented(number: usize, claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "kid": format!("invented-{number}") });
    raw(&header.to_string(), &claims.to_string(), &[1; 64])
}

/// Sends a share of the flood on one connection, and an honest token after every tenth of it.
async fn flood(mut client: Client, numbers: std::ops::Range<usize>, good: String, claims: Value) -> usize {
    let mut honest = 0;
    for number in numbers {
        let token = bearer(&invented(number, &claims));
        let answer = client
            .send(Method::GET, "/api", &[("authorization", &token)], b"")
            .await
            .unwrap();
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (401, "token-key-unknown")
        );
        if number % 10 == 0 {
            let started = Instant::now();
            let answer = client
                .send(Method::GET, "/api", &[("authorization", &good)], b"")
                .await
                .unwrap();
            assert_eq!(answer.status, 200);
            assert!(started.elapsed() < Duration::from_secs(1));
            honest += 1;
        }
    }
    honest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_invented_keys_costs_one_fetch_in_a_cooldown_and_nobody_an_answer() {
    let server = KeyServer::start().await;
    let issuer = TokenIssuer::new("https://login.example.com", "k1");
    server.publish(PATH, &issuer.jwks());
    let gateway = gateway_of(&fetched(&server, ", cooldown: 2s, refresh: 1h"), None);
    let good = issuer.sign(&claims(&issuer));
    wait_for_answer(&gateway, &good, (200, "")).await;
    let (before, started) = (server.count(PATH), Instant::now());

    let mut shares = tokio::task::JoinSet::new();
    for share in 0..16 {
        let client = plain(&gateway).connect().await.unwrap();
        let numbers = share * 625..(share + 1) * 625;
        shares.spawn(flood(client, numbers, bearer(&good), claims(&issuer)));
    }
    let honest: usize = shares.join_all().await.into_iter().sum();

    let fetches = server.count(PATH) - before;
    let cooldowns = usize::try_from(started.elapsed().as_secs() / 2).unwrap();
    assert_eq!(honest, 1_000);
    assert!(
        fetches <= cooldowns + 1,
        "{fetches} fetches in {cooldowns} cooldowns"
    );
    let kept = Seen::of(&gateway)
        .metric("portcullis_identity_key_fetches_total", &["outcome=\"failed\""])
        .await;
    assert_eq!(kept as usize, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_taken_up_within_a_cooldown_and_an_old_one_stops() {
    let server = KeyServer::start().await;
    let old = TokenIssuer::new("https://login.example.com", "old");
    let new = TokenIssuer::new("https://login.example.com", "new");
    server.publish(PATH, &old.jwks());
    let gateway = gateway_of(&fetched(&server, ", cooldown: 1s, refresh: 1h"), None);
    let (of_old, of_new) = (old.sign(&claims(&old)), new.sign(&claims(&new)));
    wait_for_answer(&gateway, &of_old, (200, "")).await;
    assert_eq!(ask(&gateway, &of_new).await.1, "token-key-unknown");

    server.publish(PATH, &new.jwks());
    // Nobody need ask again: what was asked for in vain is fetched when the cooldown is over.
    wait_until("the fetch", || async {
        (issuer_status(&gateway).await["generation"] == 2).then_some(())
    })
    .await;

    assert_eq!(ask(&gateway, &of_new).await, (200, String::new()));
    assert_eq!(ask(&gateway, &of_old).await.1, "token-key-unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_never_answers_keeps_nobody_else_from_starting() {
    let server = KeyServer::start().await;
    server.hang(PATH);
    let issuer = TokenIssuer::new("https://login.example.com", "k1");
    let gateway = gateway_of(&fetched(&server, ", cooldown: 1s"), None);
    let good = issuer.sign(&claims(&issuer));

    wait_until("the public route", || async {
        let answer = plain(&gateway).get("/open", &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let answer = plain(&gateway)
        .get("/api", &[("authorization", &bearer(&good))])
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (503, "keys-unavailable")
    );
    assert_eq!(answer.headers["retry-after"], "1");
    let seen = Seen::of(&gateway);
    let ready = seen.json("/readyz").await;
    assert!(ready["waiting_for"].to_string().contains("issuer idp"), "{ready}");

    // It had its time: the other routes get their traffic, although this is the only issuer.
    wait_until("readiness", || async { seen.is_ready().await.then_some(()) }).await;
    let ready = seen.json("/readyz").await;
    assert!(ready["stale"].to_string().contains("issuer idp"), "{ready}");
    assert_eq!(ask(&gateway, &good).await, (503, "keys-unavailable".to_owned()));

    server.publish(PATH, &issuer.jwks());
    wait_for_answer(&gateway, &good, (200, "")).await;
    assert_eq!(seen.json("/readyz").await["stale"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_takes_no_gateway_out_of_rotation() {
    let server = KeyServer::start().await;
    server.fail(PATH, 500);
    let issuer = TokenIssuer::new("https://login.example.com", "k1");
    let gateway = gateway_of(&fetched(&server, ", cooldown: 1s"), None);
    let seen = Seen::of(&gateway);

    // Asked for and refused: there is nothing more to wait for.
    wait_until("readiness", || async { seen.is_ready().await.then_some(()) }).await;
    let ready = seen.json("/readyz").await;
    let stale = ready["stale"].to_string();
    assert!(
        stale.contains("issuer idp: its keys were never loaded"),
        "{ready}"
    );
    assert_eq!(plain(&gateway).get("/open", &[]).await.status, 200);
    let good = issuer.sign(&claims(&issuer));
    assert_eq!(ask(&gateway, &good).await, (503, "keys-unavailable".to_owned()));

    server.publish(PATH, &issuer.jwks());
    wait_for_answer(&gateway, &good, (200, "")).await;
    assert_eq!(seen.json("/readyz").await["stale"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_their_issuers_outage_and_lies_for_the_stale_window_and_no_longer() {
    let server = KeyServer::start().await;
    let issuer = TokenIssuer::new("https://login.example.com", "k1");
    server.publish(PATH, &issuer.jwks());
    let gateway = gateway_of(
        &fetched(&server, ", cooldown: 1s, refresh: 10s, stale: 15s"),
        None,
    );
    let good = issuer.sign(&claims(&issuer));
    wait_for_answer(&gateway, &good, (200, "")).await;
    let fetched_at = Instant::now();

    // An empty set is one more way to be broken; the last good keys stay.
    server.publish(PATH, r#"{"keys":[]}"#);
    let seen = Seen::of(&gateway);
    wait_until("a failed fetch", || async {
        let failed = seen
            .metric("portcullis_identity_key_fetches_total", &["outcome=\"failed\""])
            .await;
        (failed >= 1.0).then_some(())
    })
    .await;
    let status = issuer_status(&gateway).await;
    assert_eq!(status["usable"], true);
    assert!(
        status["last_fault"].as_str().unwrap().contains("no key"),
        "{status}"
    );
    assert!(status["ends_in_seconds"].as_u64().unwrap() <= 6, "{status}");

    server.fail(PATH, 500);
    let is_good = |status: u16, code: &str| assert_eq!((status, code), (200, ""));
    wait_for_answer_but(&gateway, &good, (503, "keys-unavailable"), is_good).await;
    assert!(
        fetched_at.elapsed() >= Duration::from_secs(14),
        "{:?}",
        fetched_at.elapsed()
    );
    // Its own tokens are refused; everybody else's traffic still comes.
    assert!(seen.is_ready().await);
    let ready = seen.json("/readyz").await;
    assert!(
        ready["stale"].to_string().contains("idp: its keys are too old"),
        "{ready}"
    );

    server.publish(PATH, &issuer.jwks());
    wait_for_answer(&gateway, &good, (200, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_believes_the_issuers_own_document_and_calls_nobody_else() {
    let server = KeyServer::start().await;
    let issuer = TokenIssuer::new(&server.url(""), "k1");
    server.publish(PATH, &issuer.jwks());
    let document = |issuer: &str, keys: &str| json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
    let well_known = "/.well-known/openid-configuration";
    let text = text_of(&format!(
        "  idp: {{ issuer: \"{}\", jwks: {{ discovery: true, cooldown: 1s }}, audiences: [api] }}",
        issuer.url
    ));
    let good = issuer.sign(&claims(&issuer));
    let fault_of = |wanted: &'static str, gateway: &TestGateway| {
        let seen = Seen::of(gateway);
        async move {
            wait_until(wanted, || async {
                let issuers = seen.json("/issuers").await;
                let fault = issuers["issuers"][0]["last_fault"].as_str()?.to_owned();
                fault.contains(wanted).then_some(())
            })
            .await;
        }
    };

    // OpenID Connect Discovery section 4.3: the document names exactly this issuer, to the slash at the end.
    server.publish(
        well_known,
        &document(&format!("{}/", issuer.url), &server.url(PATH)),
    );
    let gateway = gateway_of(&text, None);
    fault_of("another issuer", &gateway).await;
    assert_eq!(ask(&gateway, &good).await, (503, "keys-unavailable".to_owned()));
    assert_eq!(server.count(PATH), 0);
    // The key set's address is under the egress rules: no host that nobody named, no metadata service.
    server.publish(
        well_known,
        &document(&issuer.url, "https://keys.evil.example/jwks"),
    );
    fault_of("keys.evil.example", &gateway).await;
    server.publish(well_known, &document(&issuer.url, "https://169.254.169.254/jwks"));
    fault_of("169.254.169.254", &gateway).await;
    server.publish(
        well_known,
        &document(&issuer.url, "http://login.example.com/jwks"),
    );
    fault_of("no usable jwks_uri", &gateway).await;
    assert_eq!(ask(&gateway, &good).await.0, 503);

    server.publish(well_known, &document(&issuer.url, &server.url(PATH)));
    wait_for_answer(&gateway, &good, (200, "")).await;
}
