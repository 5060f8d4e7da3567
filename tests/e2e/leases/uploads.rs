//! Leases that end where there is no usual end: before the answer has begun, and where the client takes none.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::time::timeout;

use super::{Kind, PATIENCE, Scene, rules, write};
use crate::support::h2wire::{self, DATA, END_HEADERS, END_STREAM, H2Wire, HEADERS, RST_STREAM};
use crate::support::house::HOST;

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

/// A client whose window is shut would get trailers only after it has opened it.
#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_that_makes_no_room_is_reset_instead() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let scene = Scene::set().await;
    let authorization = scene.house.bearer("bad", json!({}));
    let dial = scene.dial(Kind::Grpc, None);
    let mut wire = H2Wire::open(&dial, &[(INITIAL_WINDOW_SIZE, 10)]).await;
    let path = Kind::Grpc.path("token");
    let mut fields = h2wire::request("POST", &path, HOST);
    fields.extend([
        ("authorization", authorization.as_str()),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]);
    let head = h2wire::frame(HEADERS, END_HEADERS | END_STREAM, 1, &h2wire::fields(&fields));
    assert!(wire.write(&head).await);
    wire.answer(1).await;
    let mut room = 10;
    while room > 0 {
        let frame = wire.frame().await.unwrap();
        if frame.kind == DATA {
            room -= frame.payload.len();
        }
    }

    scene
        .publish(|| write(&scene.house.gateway.path("rules.rego"), &rules(&["bad"])))
        .await;

    let reset = loop {
        let frame = wire.frame().await.expect("a reset");
        if frame.kind == RST_STREAM {
            break frame.payload;
        }
        assert!(frame.kind != DATA && frame.kind != HEADERS, "{frame:?}");
    };
    assert_eq!(reset, h2wire::CANCEL.to_be_bytes());
}
