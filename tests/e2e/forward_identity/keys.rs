//! Keys take turns: what was signed can be verified, at every moment, by whoever asks for keys as rarely as allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use jsonwebtoken::decode_header;
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{A_WHILE, Scene, configuration, verify};
use crate::support::pki::write;
use crate::support::{Seen, wait_until};

fn key() -> String {
    KeyPair::generate().unwrap().serialize_pem()
}

fn assertion(keys: &str) -> String {
    format!("{{ issuer: \"https://gw.example\", keys: [{keys}] }}")
}

/// Writes the configuration with these keys and waits until it serves.
async fn turn(scene: &Scene, keys: &str) {
    let seen = Seen::of(&scene.house.gateway);
    let before = seen.revision().await;
    let path = scene.house.gateway.path("portcullis.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let common = text.split("\nlisteners:").next().unwrap().to_owned();
    write(
        &path,
        &format!("{common}{}", configuration(&scene.endpoint, &assertion(keys))),
    );
    seen.revision_after(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_turn_under_load_without_one_assertion_that_cannot_be_verified() {
    let (old, new) = (key(), key());
    let scene = Scene::with(&assertion("old.pem"), &[("old.pem", &old), ("new.pem", &new)]).await;
    let scene = Arc::new(scene);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..3 {
        let (scene, stop, sent) = (Arc::clone(&scene), Arc::clone(&stop), Arc::clone(&sent));
        clients.spawn(async move {
            let dial = if number == 0 {
                scene.house.h1()
            } else {
                scene.house.h2()
            };
            let mut client = dial.connect().await.unwrap();
            let mut turn = 0;
            while !stop.load(Ordering::SeqCst) {
                // A principal that was never seen is signed for anew; one that comes again is remembered.
                let name = format!("user-{number}-{}", turn % 40);
                let bearer = scene.house.bearer(&name, json!({ "turn": turn / 40 }));
                let fields = [("authorization", bearer.as_str())];
                let answer = client.send(Method::GET, "/told/x", &fields, b"").await.unwrap();
                assert_eq!(answer.status, 200);
                sent.fetch_add(1, Ordering::SeqCst);
                turn += 1;
            }
        });
    }
    // Applications that remember a key set from the step before, as long as they may.
    let mut remembered = scene.keys().await;
    let mut signers = Vec::new();
    for keys in ["old.pem, new.pem", "new.pem, old.pem", "new.pem"] {
        turn(&scene, keys).await;
        let after = sent.load(Ordering::SeqCst) + 60;
        wait_until("traffic", || async {
            (sent.load(Ordering::SeqCst) >= after).then_some(())
        })
        .await;
        let received = scene.endpoint.received();
        scene.endpoint.forget();
        let fresh = scene.keys().await;
        for request in &received {
            let token = super::the_assertion(&request.headers);
            for known in [&remembered, &fresh] {
                let claims = verify(token, known, "orders").unwrap_or_else(|why| panic!("{keys}: {why}"));
                assert!(claims["sub"].as_str().unwrap().starts_with("idp:user-"));
            }
            signers.push(decode_header(token).unwrap().kid.unwrap());
        }
        remembered = fresh;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }

    signers.sort();
    signers.dedup();
    assert_eq!(signers.len(), 2, "both keys signed");
    // The old key left the list, and what it signed has not ended.
    assert_eq!(kids(&scene.keys().await).len(), 2);
}

fn kids(keys: &Value) -> Vec<String> {
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_is_replaced_signs_from_then_on_and_its_predecessor_stays_known() {
    let scene = Scene::with(&assertion("key.pem"), &[("key.pem", &key())]).await;
    let bearer = scene.house.bearer("alice", json!({}));
    let token = async || {
        let headers = scene
            .fields(&scene.house.h2(), "/told/x", &[("authorization", &bearer)])
            .await;
        super::the_assertion(&headers).to_owned()
    };
    let first = token().await;
    let seen = Seen::of(&scene.house.gateway);
    let before = seen.revision().await;

    write(&scene.house.gateway.path("key.pem"), &key());
    tokio::time::timeout(A_WHILE, seen.revision_after(&before))
        .await
        .unwrap();

    let second = token().await;
    let keys = scene.keys().await;
    assert_ne!(
        decode_header(&first).unwrap().kid,
        decode_header(&second).unwrap().kid
    );
    assert!(verify(&first, &keys, "orders").is_ok() && verify(&second, &keys, "orders").is_ok());
    let before = seen.revision().await;
    write(&scene.house.gateway.path("key.pem"), "no key");
    wait_until("the refusal", || async {
        (seen.last_outcome().await == "kept").then_some(())
    })
    .await;
    assert_eq!(seen.revision().await, before);
    assert!(verify(&token().await, &scene.keys().await, "orders").is_ok());
}
