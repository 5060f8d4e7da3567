//! The end of a WebSocket byte by byte: a close frame stands between two frames or nowhere.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{Kind, Live, Scene, rules, wait_for, write};
use crate::support::house::{HOST, LISTENERS};
use crate::support::{Act, House, RawConnection, Scripted, Seen, wait_until};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// A gateway before an endpoint that says bytes, and a client that has switched.
struct Raw {
    house: House,
    endpoint: Scripted,
    client: RawConnection,
}

impl Raw {
    async fn set(acts: Vec<Act>) -> Self {
        let endpoint = Scripted::start().await;
        let mut script = vec![Act::Send(SWITCH.as_bytes().to_vec())];
        script.extend(acts);
        endpoint.play(&script);
        let text = format!(
            r#"{LISTENERS}
# The first question to a policy may wait for a machine that runs other tests too.
policies: {{ rules: {{ rego: rules.rego, decision: data.rules.decision, budget: 1s }} }}
pools: {{ main: {{ endpoints: [{{ address: "{}" }}] }} }}
routes:
  - {{ name: socket, match: {{ path: "/open/bad" }}, authenticate: [{{ jwt: idp }}], authorize: [rules], upgrade: [websocket], pool: main }}
"#,
            endpoint.address
        );
        let house = House::open_with(&text, |folder, _| write(&folder.join("rules.rego"), &rules(&[])));
        let mut client = RawConnection::open(&house.plain()).await;
        let authorization = house.bearer("bad", json!({}));
        let ask = format!(
            "GET /open/bad HTTP/1.1\r\nhost: {HOST}\r\nauthorization: {authorization}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        assert!(client.write(ask.as_bytes()).await);
        assert_eq!(client.head().await.0, 101);
        Self {
            house,
            endpoint,
            client,
        }
    }

    /// Ends the lease, and waits until the gateway has decided.
    async fn deny(&self) {
        write(&self.house.gateway.path("rules.rego"), &rules(&["bad"]));
        let seen = Seen::of(&self.house.gateway);
        wait_until("the lease to end", || async {
            (seen.metric("portcullis_leases_ended_total", &[]).await == 1.0).then_some(())
        })
        .await;
    }

    fn ending(&self) -> serde_json::Value {
        self.house
            .gateway
            .access
            .wait_for("the record", |line| line["route"] == "socket")
    }
}

fn close(reason: &str) -> Vec<u8> {
    let mut frame = vec![0x88, u8::try_from(2 + reason.len()).unwrap()];
    frame.extend(1008_u16.to_be_bytes());
    frame.extend(reason.as_bytes());
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frame_under_way_is_completed_and_nothing_follows_it_but_the_close_frame() {
    let mut raw = Raw::set(vec![
        Act::Send(b"\x82\x0a0123".to_vec()),
        Act::Wait,
        Act::Send(b"456789\x82\x03abc".to_vec()),
        Act::Hang,
    ])
    .await;
    assert_eq!(raw.client.bytes(6).await, b"\x82\x0a0123");

    raw.deny().await;
    raw.endpoint.go_on();

    let rest = [&b"456789"[..], &close("policy-denied")].concat();
    assert_eq!(raw.client.rest().await, Some(rest));
    assert_eq!(raw.ending()["ending"], "lease-ended");
}

/// RFC 6455 section 5.4: control frames may stand between the fragments of a message.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_under_way_is_closed_between_its_fragments() {
    // The first fragment of a compressed message (RSV1).
    let fragment = b"\x41\x03abc";
    let mut raw = Raw::set(vec![Act::Send(fragment.to_vec()), Act::Hang]).await;
    assert_eq!(raw.client.bytes(fragment.len()).await, fragment);

    raw.deny().await;

    assert_eq!(raw.client.rest().await, Some(close("policy-denied")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_never_completed_is_not_waited_for_and_gets_no_close_frame_inside() {
    let mut raw = Raw::set(vec![Act::Send(b"\x82\x0a0123".to_vec()), Act::Hang]).await;
    assert_eq!(raw.client.bytes(6).await, b"\x82\x0a0123");

    raw.deny().await;
    let decided = Instant::now();

    assert_eq!(raw.client.rest().await, Some(Vec::new()));
    assert!(
        decided.elapsed() < Duration::from_secs(5),
        "{:?}",
        decided.elapsed()
    );
    assert_eq!(raw.ending()["ending"], "lease-ended");
}

/// RFC 6455 section 5.5.1: after a close frame nothing more is sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_closed_already_is_not_closed_again() {
    let said = b"\x88\x02\x03\xe8";
    let mut raw = Raw::set(vec![Act::Send(said.to_vec()), Act::Hang]).await;
    assert_eq!(raw.client.bytes(said.len()).await, said);

    raw.deny().await;

    assert_eq!(raw.client.rest().await, Some(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_of_a_websocket_gets_a_close_frame_too() {
    let scene = Scene::set().await;
    let authorization = scene.house.bearer("bad", json!({}));
    let dial = scene.dial(Kind::WebSocket, None);
    let doomed = Live::open(Kind::WebSocket, &dial, "token", Some(&authorization)).await;

    scene
        .publish(|| write(&scene.house.gateway.path("rules.rego"), &rules(&["bad"])))
        .await;

    doomed.end().await;
    let closed = wait_for("the endpoint's WebSocket to end", || scene.source.closed().pop());
    let expected = CloseFrame {
        code: CloseCode::Policy,
        reason: "policy-denied".into(),
    };
    assert_eq!(closed, Some(expected));
}
