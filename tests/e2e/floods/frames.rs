//! Frames that cost the sender nothing and the receiver something.

use crate::floods::Siege;
use crate::support::Behaviour;
use crate::support::h2wire::{
    self, ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, End, H2Wire, HEADERS,
    PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::support::house::HOST;

/// More than any honest client sends; a gateway that took all of them has no budget.
const MANY: u32 = 200_000;

/// The flooder's connection ended, for the reason that says why.
fn assert_calmed(end: &End) {
    assert!(end.is_closed, "the connection goes on: {:?}", end.goaway);
    assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM), "{} resets", end.resets.len());
}

/// Sends what `frames` gives until the gateway has enough of it.
async fn assert_ends(cause: &str, frames: impl FnMut() -> Option<Vec<u8>> + Send + 'static) {
    let mut siege = Siege::begin().await;
    let wire = H2Wire::open(&siege.house.h2(), &[]).await;

    let end = wire.flood(frames).await;

    assert_calmed(&end);
    siege.assert_counted(&[cause]).await;
    siege.assert_good_is_served().await;
}

/// The same frame over and over, some at a time.
fn repeated(frame: Vec<u8>) -> impl FnMut() -> Option<Vec<u8>> + Send + 'static {
    let some = frame.repeat(100);
    let mut left = MANY / 100;
    move || {
        left = left.checked_sub(1)?;
        Some(some.clone())
    }
}

/// CVE-2023-44487: requests that are taken back as soon as they are made.
#[tokio::test(flavor = "multi_thread")]
async fn a_rapid_reset_ends_the_connection() {
    let mut siege = Siege::begin().await;
    siege.endpoint.behave(Behaviour::Hang);
    let asked = siege.endpoint.requests();
    let wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let mut stream = 1;

    let end = wire
        .flood(move || {
            let mut frames = Vec::new();
            for _ in 0..10 {
                frames.extend(h2wire::get(stream, "/open/x", HOST));
                frames.extend(h2wire::frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
                stream += 2;
            }
            (stream < MANY).then_some(frames)
        })
        .await;

    assert_calmed(&end);
    siege.assert_counted(&["resets", "engine-bound"]).await;
    let asked = siege.endpoint.requests() - asked;
    println!("{asked} of them reached the endpoint");
    assert!(
        asked < 2_000,
        "{asked} requests of one rapid reset reached the endpoint"
    );
    siege.assert_good_is_served().await;
}

/// CVE-2025-8671 (MadeYouReset): streams that make the gateway reset them, by window updates out of bounds.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_make_the_gateway_reset_them_end_the_connection() {
    for increment in [0, 0x7fff_ffff_u32] {
        let mut siege = Siege::begin().await;
        siege.endpoint.behave(Behaviour::Hang);
        let wire = H2Wire::open(&siege.house.h2(), &[]).await;
        let mut stream = 1;

        let end = wire
            .flood(move || {
                let block = h2wire::fields(&h2wire::request("POST", "/open/x", HOST));
                let mut frames = h2wire::frame(HEADERS, END_HEADERS, stream, &block);
                frames.extend(h2wire::frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes()));
                stream += 2;
                (stream < MANY).then_some(frames)
            })
            .await;

        assert!(end.is_closed);
        // An increment of nothing is an error of the whole connection for some readers of RFC 9113 6.9.
        let is_right = end.goaway == Some(ENHANCE_YOUR_CALM)
            || (increment == 0 && end.goaway == Some(h2wire::PROTOCOL_ERROR));
        assert!(
            is_right,
            "increment {increment}: {:?} after {} resets",
            end.goaway,
            end.resets.len()
        );
        if end.goaway == Some(ENHANCE_YOUR_CALM) {
            siege.assert_counted(&["provoked-resets", "engine-bound"]).await;
        }
        siege.assert_good_is_served().await;
    }
}

/// CVE-2019-9512.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_ends_the_connection() {
    assert_ends("pings", repeated(h2wire::frame(PING, 0, 0, b"whatever"))).await;
}

/// The same by a client that never reads the answers, so that they pile up.
#[tokio::test(flavor = "multi_thread")]
async fn pings_whose_answers_nobody_reads_cost_no_memory() {
    let mut siege = Siege::begin().await;
    let wire = H2Wire::open(&siege.house.h2(), &[]).await;

    let end = wire
        .flood_unread(repeated(h2wire::frame(PING, 0, 0, b"whatever")))
        .await;

    assert!(end.is_closed, "{end:?}");
    siege.assert_good_is_served().await;
}

/// CVE-2019-9515.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_settings_ends_the_connection() {
    assert_ends("settings", repeated(h2wire::frame(SETTINGS, 0, 0, &[]))).await;
}

/// RFC 9113 6.5: acknowledgements of settings that were never sent.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_of_nothing_end_the_connection() {
    let mut siege = Siege::begin().await;
    let wire = H2Wire::open(&siege.house.h2(), &[]).await;

    let end = wire.flood(repeated(h2wire::frame(SETTINGS, ACK, 0, &[]))).await;

    assert!(
        end.is_closed && end.goaway.is_some_and(|code| code != 0),
        "{end:?}"
    );
    siege.assert_good_is_served().await;
}

/// CVE-2019-9513: a tree that is shuffled for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_priorities_ends_the_connection() {
    assert_ends(
        "priorities",
        repeated(h2wire::frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 255])),
    )
    .await;
}

/// CVE-2019-9518: frames of nothing on a stream that stays open.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_empty_data_ends_the_connection() {
    let block = h2wire::fields(&h2wire::request("POST", "/open/x", HOST));
    let mut head = Some(h2wire::frame(HEADERS, END_HEADERS, 1, &block));
    let mut next = repeated(h2wire::frame(DATA, 0, 1, &[]));
    assert_ends("empty-data", move || head.take().or_else(&mut next)).await;
}

/// The same with padding alone (RFC 9113 6.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_padding_ends_the_connection_or_waits_for_window() {
    let mut siege = Siege::begin().await;
    let wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let block = h2wire::fields(&h2wire::request("POST", "/open/x", HOST));
    let mut head = Some(h2wire::frame(HEADERS, END_HEADERS, 1, &block));
    let mut next = repeated(h2wire::frame(DATA, 8, 1, &[3, 0, 0, 0]));

    let end = wire.flood(move || head.take().or_else(&mut next)).await;

    assert!(
        end.is_closed && end.goaway.is_some_and(|code| code != 0),
        "{end:?}"
    );
    siege.assert_good_is_served().await;
}

/// CVE-2019-9511's cousin: credit by the byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_window_updates_ends_the_connection() {
    assert_ends(
        "window-updates",
        repeated(h2wire::frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
    )
    .await;
}

/// RFC 9113 5.5: kinds of frames that nobody knows are read past, but not for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_frames_ends_the_connection() {
    assert_ends("unknown-frames", repeated(h2wire::frame(0xfe, 0, 0, b"anything"))).await;
}

/// CVE-2024-27316, CVE-2024-24549 and their like (VU#421644): a head that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_continuations_ends_the_connection() {
    let block = h2wire::fields(&h2wire::request("GET", "/open/x", HOST));
    for piece in [Vec::new(), h2wire::fields(&[("x-more", &"y".repeat(200))])] {
        let mut siege = Siege::begin().await;
        let wire = H2Wire::open(&siege.house.h2(), &[]).await;
        let mut head = Some(h2wire::frame(HEADERS, END_STREAM, 1, &block));
        let mut next = repeated(h2wire::frame(CONTINUATION, 0, 1, &piece));

        let end = wire.flood(move || head.take().or_else(&mut next)).await;

        assert_calmed(&end);
        siege
            .assert_counted(&["continuations", "empty-headers", "engine-bound"])
            .await;
        siege.assert_good_is_served().await;
    }
}

/// Streams beyond what was granted are refused one by one, and a client that does nothing else is sent away.
#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_are_refused_and_then_the_connection_ends() {
    let mut siege = Siege::begin().await;
    siege.endpoint.behave(Behaviour::Hang);
    let wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let mut stream = 1;

    let end = wire
        .flood(move || {
            let frames = h2wire::get(stream, "/open/x", HOST);
            stream += 2;
            (stream < MANY).then_some(frames)
        })
        .await;

    assert_calmed(&end);
    assert!(
        siege.endpoint.requests() < 500,
        "{} at once",
        siege.endpoint.requests()
    );
    siege.assert_good_is_served().await;
}

/// Beside the floods, what honest clients do: a ping a second, settings now and then, small pieces of data.
#[tokio::test(flavor = "multi_thread")]
async fn a_chatty_but_honest_client_is_served() {
    let siege = Siege::begin().await;
    let mut wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let block = h2wire::fields(&h2wire::request("POST", "/open/x", HOST));

    for round in 0..100_u32 {
        let stream = 2 * round + 1;
        let mut frames = h2wire::frame(HEADERS, END_HEADERS, stream, &block);
        if round % 10 == 0 {
            frames.extend(h2wire::frame(PING, 0, 0, b"are you?"));
            frames.extend(h2wire::frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 15]));
            frames.extend(h2wire::frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
        }
        for _ in 0..20 {
            frames.extend(h2wire::frame(DATA, 0, stream, b"0123456789"));
        }
        frames.extend(h2wire::frame(DATA, END_STREAM, stream, b""));
        frames.extend(h2wire::frame(WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes()));
        assert!(wire.write(&frames).await);
        wire.answer(stream).await;
    }
    assert_eq!(siege.seen.metric(super::ENDED, &[]).await, 0.0);
}
