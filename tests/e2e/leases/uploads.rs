//! A lease that ends before the answer has begun: there is still an answer to give.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::time::timeout;

use super::{Kind, PATIENCE, Scene, rules, write};

/// A body without end.
fn endless() -> crate::support::client::Body {
    let pieces = futures_util::stream::unfold(
        tokio::time::interval(Duration::from_millis(20)),
        |mut ticks| async {
            ticks.tick().await;
            Some((Ok(Frame::data(Bytes::from_static(b"piece"))), ticks))
        },
    );
    BodyExt::boxed(StreamBody::new(Box::pin(pieces)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_lease_ends_is_answered() {
    for kind in [Kind::Download, Kind::Stream] {
        let scene = Scene::set().await;
        let authorization = scene.house.bearer("bad", json!({}));
        let mut client = scene.dial(kind, None).connect().await.unwrap();
        let uploading = tokio::spawn(async move {
            let fields = [("authorization", authorization.as_str())];
            client
                .send_body(Method::PUT, "/http/token/upload", &fields, endless())
                .await
        });
        scene.watched(1).await;

        scene
            .publish(|| write(&scene.house.gateway.path("rules.rego"), &rules(&["bad"])))
            .await;

        let answer = timeout(PATIENCE, uploading)
            .await
            .expect("an answer")
            .unwrap()
            .unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (403, "policy-denied")
        );
        let line = scene.house.gateway.access_line(&answer.request_id());
        assert_eq!(line["ending"], "lease-ended", "{line}");
        assert_eq!(line["attempts"][0]["outcome"], "abandoned", "{line}");
        scene.watched(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_lease_holds_goes_on() {
    let scene = Scene::set().await;
    let authorization = scene.house.bearer("good", json!({}));
    let mut client = scene.house.h1().connect().await.unwrap();
    let uploading = tokio::spawn(async move {
        let fields = [("authorization", authorization.as_str())];
        client
            .send_body(Method::PUT, "/http/token/upload", &fields, endless())
            .await
    });
    scene.watched(1).await;

    scene
        .publish(|| write(&scene.house.gateway.path("rules.rego"), &rules(&["bad"])))
        .await;

    scene.watched(1).await;
    assert!(!uploading.is_finished());
    uploading.abort();
    scene.watched(0).await;
}
