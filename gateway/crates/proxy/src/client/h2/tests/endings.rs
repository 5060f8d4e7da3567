//! How connections end: by agreement, by time, by error.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use portcullis_model::Reason;
use portcullis_pipeline::plan::ConnectionLimits;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::house::{House, PATIENCE, until};
use super::raw::{HANGING_HEAD, HEAD, Raw, frame, request as head};
use super::requests::{client, request, whole};
use crate::client::h2::frames::{flag, kind};

const SOON: Duration = Duration::from_millis(100);

fn code(came: &super::raw::Came) -> h2::Reason {
    assert_eq!(came.kind, kind::GOAWAY);
    came.code()
}

/// RFC 9113 section 6.8: what is under way is finished, and the client hears of the end before it comes.
#[tokio::test]
async fn a_drain_finishes_what_is_under_way() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;
    let (answer, _) = client.send_request(request(Method::GET, "/wait"), true).unwrap();
    until(|| house.service.waiting.load(Ordering::SeqCst) == 1).await;

    let before = house.writes.load(Ordering::SeqCst);
    house.drain.send_replace(true);
    until(|| house.writes.load(Ordering::SeqCst) > before).await;
    house.service.gate.notify_one();

    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(whole(answer).await.unwrap().0.len(), 500);
    house.end().await;
}

#[tokio::test]
async fn a_drain_ends_an_idle_connection_in_two_steps() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    assert!(raw.is_alive().await);

    house.drain.send_replace(true);

    let first = raw.next_of(kind::GOAWAY).await;
    assert_eq!(
        first.payload[..4],
        [0x7f, 0xff, 0xff, 0xff],
        "nothing is lost that is on its way"
    );
    assert_eq!(code(&first), h2::Reason::NO_ERROR);
    let ping = raw.next_of(kind::PING).await;
    raw.send(&frame(kind::PING, flag::ACK, 0, &ping.payload)).await;
    let last = raw.next_of(kind::GOAWAY).await;
    assert_eq!(last.payload[..4], [0, 0, 0, 0]);
    drop(raw);
    house.end().await;
}

#[tokio::test]
async fn the_last_request_of_a_connection_is_answered_beside_its_goaway() {
    let limits = ConnectionLimits {
        requests_per_connection: 2,
        ..ConnectionLimits::default()
    };
    let (house, pipe) = House::with(limits);
    let mut raw = Raw::greet(pipe, &[]).await;

    raw.send(&head(1, HEAD)).await;
    assert!(raw.is_alive().await);
    raw.send(&head(3, HEAD)).await;

    assert_eq!(code(&raw.next_of(kind::GOAWAY).await), h2::Reason::NO_ERROR);
    until(|| house.service.served.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let limits = ConnectionLimits {
        idle_timeout: SOON,
        ..ConnectionLimits::default()
    };
    let (_house, pipe) = House::with(limits);
    let mut raw = Raw::greet(pipe, &[]).await;

    assert_eq!(code(&raw.next_of(kind::GOAWAY).await), h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn a_connection_with_a_request_under_way_is_not_idle_but_grows_old() {
    let limits = ConnectionLimits {
        idle_timeout: SOON,
        connection_age: 5 * SOON,
        ..ConnectionLimits::default()
    };
    let (house, pipe) = House::with(limits);
    let mut raw = Raw::greet(pipe, &[]).await;
    let started = std::time::Instant::now();

    raw.send(&head(1, HANGING_HEAD)).await;

    assert_eq!(code(&raw.next_of(kind::GOAWAY).await), h2::Reason::NO_ERROR);
    assert!(started.elapsed() >= 3 * SOON);
    assert!(!house.serving.is_finished());
}

#[tokio::test]
async fn a_client_that_does_not_greet_is_ended() {
    let limits = ConnectionLimits {
        header_timeout: SOON,
        ..ConnectionLimits::default()
    };
    for greeting in [&b""[..], b"PRI * HTTP", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let (house, mut pipe) = House::with(limits);
        pipe.write_all(greeting).await.unwrap();

        until(|| house.ended("greeting-timeout") == 1).await;
        drop(pipe);
        house.end().await;
    }
}

/// Slow head (Slowloris, on frames): a header block that is never finished.
#[tokio::test]
async fn a_head_that_is_not_finished_in_time_is_recorded_and_ends_the_connection() {
    let limits = ConnectionLimits {
        header_timeout: 3 * SOON,
        ..ConnectionLimits::default()
    };
    let (house, pipe) = House::with(limits);
    let mut raw = Raw::greet(pipe, &[]).await;

    raw.send(&frame(kind::HEADERS, flag::END_STREAM, 1, HEAD)).await;

    assert_eq!(
        code(&raw.next_of(kind::GOAWAY).await),
        h2::Reason::ENHANCE_YOUR_CALM
    );
    assert_eq!(house.ended("head-timeout"), 1);
    assert_eq!(
        *house.service.refused.lock().unwrap(),
        [(Reason::HeadTimeout, None)]
    );
}

#[tokio::test]
async fn what_is_not_http_2_is_ended() {
    let (house, mut pipe) = House::with(ConnectionLimits::default());

    pipe.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();

    until(|| house.ended("protocol") == 1).await;
}

/// RFC 9113 section 3.4.
#[tokio::test]
async fn a_first_frame_that_is_not_settings_ends_the_connection() {
    let (house, mut pipe) = House::with(ConnectionLimits::default());

    pipe.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut raw = Raw { pipe };
    raw.send(&frame(kind::PING, 0, 0, &[0; 8])).await;

    assert_eq!(code(&raw.next_of(kind::GOAWAY).await), h2::Reason::PROTOCOL_ERROR);
    until(|| house.ended("first-frame") == 1).await;
}

#[tokio::test]
async fn a_connection_whose_client_leaves_is_over() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    raw.send(&head(1, HANGING_HEAD)).await;
    until(|| house.service.waiting.load(Ordering::SeqCst) == 1).await;

    drop(raw);

    house.end().await;
}
