//! What is revoked while it is in use: by the deny list, by a revocation list, by a key that is withdrawn.

use std::time::{Duration, Instant, SystemTime};

use http::Method;
use rcgen::{SanType, date_time_ymd};
use serde_json::json;

use super::{Kind, Live, PLAIN, Scene, US, Wanted, wait_until, write};
use crate::support::lists::list;
use crate::support::{KeyServer, TokenIssuer};

/// What is promised from the write to the end.
const SOON: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);

/// A scene with an empty deny list.
async fn with_deny_list() -> Scene {
    let wanted = Wanted {
        sections: "revocation: { deny_list: deny.yaml }",
        ..PLAIN
    };
    Scene::set_with(wanted, |folder, _, _| write(&folder.join("deny.yaml"), "[]")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_on_the_deny_list_is_cut_off_within_two_seconds() {
    for entry in [
        json!({ "jti": "t1" }),
        json!({ "sub": "bad" }),
        json!({ "sid": "s1" }),
    ] {
        let scene = with_deny_list().await;
        let mut neighbours = scene.by_token("good", json!({ "jti": "t2", "sid": "s2" })).await;
        neighbours.extend(scene.by_certificate(&scene.us).await);
        let doomed = scene.by_token("bad", json!({ "jti": "t1", "sid": "s1" })).await;
        scene.watched(15).await;

        let since = Instant::now();
        write(
            &scene.house.gateway.path("deny.yaml"),
            &json!([entry]).to_string(),
        );

        scene.assert_ended(doomed, "token-revoked", (1008, "16")).await;
        assert!(since.elapsed() < SOON, "{entry}: {:?}", since.elapsed());
        scene.assert_alive(&mut neighbours).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_on_the_deny_list_is_cut_off() {
    let scene = with_deny_list().await;
    let mut neighbours = scene.by_certificate(&scene.them).await;
    let doomed = scene.by_certificate(&scene.us).await;

    write(
        &scene.house.gateway.path("deny.yaml"),
        &json!([{ "spiffe": US }]).to_string(),
    );

    scene
        .assert_ended(doomed, "certificate-revoked", (1008, "16"))
        .await;
    scene.assert_alive(&mut neighbours).await;
}

/// RFC 5280 section 5: a list that names the certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_on_a_revocation_list_is_cut_off() {
    let wanted = Wanted {
        trust: ", crl: [ours.crl, theirs.crl]",
        ..PLAIN
    };
    let scene = Scene::set_with(wanted, |folder, ours, theirs| {
        write(&folder.join("ours.crl"), &list(ours, &[], HOUR).pem().unwrap());
        write(
            &folder.join("theirs.crl"),
            &list(theirs, &[], HOUR).pem().unwrap(),
        );
    })
    .await;
    let other = scene.ours.leaf(&[], Some("spiffe://corp.example/other"));
    let mut neighbours = scene.by_certificate(&scene.them).await;
    neighbours.extend(scene.by_certificate(&other).await);
    let doomed = scene.by_certificate(&scene.us).await;
    scene.watched(15).await;

    let since = Instant::now();
    let revoked = list(&scene.ours, &[&scene.us], HOUR).pem().unwrap();
    write(&scene.house.gateway.path("ours.crl"), &revoked);

    scene
        .assert_ended(doomed, "certificate-revoked", (1008, "16"))
        .await;
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    scene.assert_alive(&mut neighbours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_withdrawn_takes_its_tokens_with_it() {
    let scene = Scene::set().await;
    let doomed = scene.by_token("anybody", json!({})).await;
    let mut neighbours = scene.by_certificate(&scene.us).await;
    let fresh = TokenIssuer::new("https://login.example.com", "k2");

    scene
        .publish(|| write(&scene.house.gateway.path("jwks.json"), &fresh.jwks()))
        .await;

    scene
        .assert_ended(doomed, "token-key-unknown", (1008, "16"))
        .await;
    scene.assert_alive(&mut neighbours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_its_issuer_withdraws_takes_its_tokens_with_it() {
    let server = KeyServer::start().await;
    let url = server.url("/jwks");
    let scene = Scene::set_with(PLAIN, |folder, _, _| {
        server.publish(
            "/jwks",
            &std::fs::read_to_string(folder.join("jwks.json")).unwrap(),
        );
        let text = std::fs::read_to_string(folder.join("portcullis.yaml")).unwrap();
        let fetched = format!("jwks: {{ url: \"{url}\", cooldown: 1s }}");
        write(
            &folder.join("portcullis.yaml"),
            &text.replace("jwks: { file: jwks.json }", &fetched),
        );
    })
    .await;
    let doomed = scene.by_token("anybody", json!({})).await;
    let mut neighbours = scene.by_certificate(&scene.us).await;
    let fresh = TokenIssuer::new("https://login.example.com", "k2");

    server.publish("/jwks", &fresh.jwks());
    // A token of the new key brings the new set, and with it the news that the old key is gone.
    let authorization = format!("Bearer {}", fresh.token("somebody", json!({})));
    let client = scene.dial(Kind::Stream, None).connect().await.unwrap();
    let path = Kind::Stream.path("token");
    wait_until("the new key", || async {
        let mut client = client.same_connection().unwrap();
        let fields = [("authorization", authorization.as_str())];
        let answer = client.start(Method::GET, &path, &fields, b"").await.unwrap();
        (answer.status() == 200).then_some(())
    })
    .await;

    scene
        .assert_ended(doomed, "token-key-unknown", (1008, "16"))
        .await;
    scene.assert_alive(&mut neighbours).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_the_certificate_of_its_connection() {
    let scene = Scene::set_as(Wanted {
        more: "  - { name: open, match: { path: \"/http/open/**\" }, public: true, pool: http }\n",
        ..PLAIN
    })
    .await;
    let end = SystemTime::now() + Duration::from_secs(4);
    let id = SanType::URI(US.try_into().unwrap());
    let short = scene
        .ours
        .leaf_shaped(vec![id], |params| params.not_after = end.into());
    let mut neighbours = scene.by_certificate(&scene.us).await;
    let mut doomed = scene.by_certificate(&short).await;
    // Nobody is asked for a principal there, and the connection rests on the certificate all the same.
    for kind in [Kind::Events, Kind::Stream] {
        let dial = scene.dial(kind, Some(&short));
        doomed.push(Live::open(kind, &dial, "open", None).await);
    }

    scene
        .assert_ended(doomed, "certificate-expired", (1008, "16"))
        .await;

    assert!(SystemTime::now() >= end - Duration::from_secs(1));
    scene.assert_alive(&mut neighbours).await;
}

/// Of a chain counts what its path needs: the ends of all of it are waited for, and those of what stands beside it end
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_a_chain_ends_what_rests_on_it_and_nothing_else() {
    let scene = Scene::set_as(PLAIN).await;
    let end = SystemTime::now() + Duration::from_secs(4);
    let ours = &scene.ours;
    let ends = |name| ours.authority(name, |params| params.not_after = end.into());
    let ended = ours.authority("ended", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let (between, beside) = (ends("between"), ends("beside"));
    let id = || vec![SanType::URI(US.try_into().unwrap())];
    let over = between.leaf_with(id()).followed_by(&between).followed_by(&ended);
    let mut neighbours = scene.by_certificate(&scene.us.clone().followed_by(&beside)).await;

    let doomed = scene.by_certificate(&over).await;

    scene
        .assert_ended(doomed, "certificate-expired", (1008, "16"))
        .await;
    scene.assert_alive(&mut neighbours).await;
}
