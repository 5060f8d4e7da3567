//! Answers: what they promise, when they leave, how much of them is held.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use portcullis_pipeline::plan::ConnectionLimits;
use tokio::time::timeout;

use super::house::{House, PATIENCE, until};
use super::raw::{BIG_HEAD, Raw, frame};
use super::requests::{client, request, whole};
use crate::client::h2::frames::{flag, kind};
use crate::client::h2::wire::Wire;

/// performance.md: h2 answers of one wake-up leave in one send.
#[tokio::test]
async fn the_answers_of_one_wake_up_leave_in_one_write() {
    const STREAMS: usize = 32;
    let (house, pipe) = House::with(ConnectionLimits::default());
    let client = client(pipe).await;
    let mut answers = Vec::new();
    for _ in 0..STREAMS {
        let mut client = client.clone().ready().await.unwrap();
        answers.push(
            client
                .send_request(request(Method::GET, "/wait"), true)
                .unwrap()
                .0,
        );
    }
    until(|| house.service.waiting.load(Ordering::SeqCst) == STREAMS).await;
    // What the connection itself still had to say has left.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let before = house.writes.load(Ordering::SeqCst);

    house.service.gate.notify_waiters();
    for answer in answers {
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(whole(answer).await.unwrap().0.len(), 500);
    }

    assert_eq!(house.writes.load(Ordering::SeqCst) - before, 1);
}

/// RFC 9113 section 5.4.1: a client must not take a broken answer for a whole one.
#[tokio::test]
async fn an_answer_that_is_shorter_or_longer_than_promised_is_reset() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;

    for path in ["/short", "/long"] {
        let (answer, _) = client.send_request(request(Method::GET, path), true).unwrap();
        let broken = match timeout(PATIENCE, answer).await.unwrap() {
            Ok(answer) => whole(answer).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(broken.reason(), Some(h2::Reason::INTERNAL_ERROR), "{path}");
    }
    assert_eq!(house.service.faults.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn an_answer_that_nobody_finishes_is_cancelled() {
    let (_house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;

    let (answer, _) = client.send_request(request(Method::GET, "/half"), true).unwrap();
    let broken = match timeout(PATIENCE, answer).await.unwrap() {
        Ok(answer) => whole(answer).await.unwrap_err(),
        Err(error) => error,
    };

    assert_eq!(broken.reason(), Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_content() {
    let (_house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;

    let (answer, _) = client.send_request(request(Method::HEAD, "/"), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["content-length"], "5");
    assert!(answer.body().is_end_stream());

    let (answer, _) = client.send_request(request(Method::GET, "/none"), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(answer.headers().get("content-length").is_none());
    assert!(answer.body().is_end_stream());
}

/// RFC 9113 section 8.1; curl up to 8 drops an answer whose stream is reset while it still sends.
#[tokio::test]
async fn an_early_answer_is_recorded_at_once_and_its_stream_reset_later_without_an_error() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;

    let (answer, mut body) = client
        .send_request(request(Method::POST, "/early"), false)
        .unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(&*whole(answer).await.unwrap().0, b"hello");
    assert_eq!(house.service.served.load(Ordering::SeqCst), 1);
    body.send_data(Bytes::from_static(&[0; 10_000]), false).unwrap();

    let reset = std::future::poll_fn(|context| body.poll_reset(context));
    let reason = timeout(PATIENCE, reset).await.unwrap().unwrap();
    assert_eq!(reason, h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn an_early_answer_does_not_take_an_upload() {
    let (_house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;
    let started = std::time::Instant::now();

    let (answer, mut body) = client
        .send_request(request(Method::POST, "/early"), false)
        .unwrap();
    body.send_data(Bytes::from(vec![0; 200_000]), false).unwrap();
    timeout(PATIENCE, answer).await.unwrap().unwrap();
    let reset = std::future::poll_fn(|context| body.poll_reset(context));
    timeout(PATIENCE, reset).await.unwrap().unwrap();

    assert!(
        started.elapsed() < Duration::from_secs(1),
        "64 KiB are soon there"
    );
}

/// A slow reader: windows that stay shut hold back the answer, not the memory.
#[tokio::test]
async fn a_shut_window_holds_the_endpoint_back() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    let mut raw = Raw::greet(pipe, &[0, 4, 0, 0, 0, 0]).await;

    raw.send(&frame(
        kind::HEADERS,
        flag::END_HEADERS | flag::END_STREAM,
        1,
        BIG_HEAD,
    ))
    .await;
    raw.next_of(kind::HEADERS).await;
    assert!(raw.is_alive().await);
    assert_eq!(house.service.pushed.load(Ordering::SeqCst), 0);

    raw.send(&frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 100])).await;
    assert_eq!(raw.next_of(kind::DATA).await.payload.len(), 100);
    assert!(raw.is_alive().await);
    assert_eq!(house.service.pushed.load(Ordering::SeqCst), 1);
}

/// Windows wide open and a socket that nobody reads: what is held stays bounded.
#[tokio::test]
async fn a_client_that_does_not_read_holds_the_endpoint_back() {
    let (near, far) = tokio::io::duplex(1024);
    let (house, _unused) = House::with(ConnectionLimits::default());
    drop(house);
    let (service, mut raw) = super::house::serve_on(far, near).await;
    raw.send(&frame(kind::WINDOW_UPDATE, 0, 0, &[0x70, 0, 0, 0]))
        .await;
    raw.send(&frame(
        kind::HEADERS,
        flag::END_HEADERS | flag::END_STREAM,
        1,
        BIG_HEAD,
    ))
    .await;
    until(|| service.pushed.load(Ordering::SeqCst) >= 4).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }

    let held = service.pushed.load(Ordering::SeqCst) * 16 * 1024;

    assert!(
        held <= 160 * 1024,
        "{held} bytes are held for a client that does not read"
    );
}

#[tokio::test]
async fn a_wire_with_nothing_to_do_keeps_no_memory() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (mut near, far) = tokio::io::duplex(100_000);
    let (ours, mut engines) = Wire::pair(far);
    engines.write_all(&[0; 50_000]).await.unwrap();
    assert!(ours.capacity() >= 50_000);

    std::future::poll_fn(|context| ours.poll_drain(context))
        .await
        .unwrap();
    ours.shrink();

    assert_eq!(ours.capacity(), 0);
    near.read_exact(&mut [0; 50_000]).await.unwrap();
}
