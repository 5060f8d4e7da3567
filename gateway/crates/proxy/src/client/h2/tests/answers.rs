//! Answers: what they promise, when they leave, how much of them is held.

use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use portcullis_pipeline::plan::ConnectionLimits;
use tokio::time::timeout;

use super::house::{House, PATIENCE, until};
use super::raw::{BIG_HEAD, Raw, TIRED_HEAD, frame, request as head};
use super::requests::{client, request, whole};
use crate::client::h2::frames::{flag, kind};
use crate::client::h2::settings::STREAM_WINDOW;
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

/// RFC 9113 section 5.4.1: a client must not take a broken answer for a whole one. It gets what there was of it.
#[tokio::test]
async fn a_broken_answer_is_reset_behind_its_head_and_what_was_pushed() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;

    let cases = [
        ("/short", "short"),
        ("/long", ""),
        ("/half", ""),
        ("/broke", "broke"),
    ];
    for (path, pushed) in cases {
        let (answer, _) = client.send_request(request(Method::GET, path), true).unwrap();
        let mut answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let (came, broken) = until_broken(answer.body_mut()).await;
        assert_eq!(came, pushed, "{path}");
        assert_eq!(broken.reason(), Some(h2::Reason::INTERNAL_ERROR), "{path}");
    }
    assert_eq!(house.service.faults.lock().unwrap().len(), 2);
}

async fn until_broken(body: &mut h2::RecvStream) -> (String, h2::Error) {
    let mut came = String::new();
    loop {
        let data = timeout(PATIENCE, body.data()).await.unwrap();
        match data.expect("no end") {
            Ok(data) => {
                came.push_str(std::str::from_utf8(&data).unwrap());
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            Err(broken) => return (came, broken),
        }
    }
}

#[tokio::test]
async fn an_answer_that_its_client_does_not_take_is_cancelled() {
    let (_house, pipe) = House::with(ConnectionLimits::default());
    // SETTINGS_INITIAL_WINDOW_SIZE 0.
    let mut raw = Raw::greet(pipe, &[0, 4, 0, 0, 0, 0]).await;

    raw.send(&head(1, TIRED_HEAD)).await;

    raw.next_of(kind::HEADERS).await;
    assert_eq!(raw.next_of(kind::RST_STREAM).await.code(), h2::Reason::CANCEL);
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

/// An upload that is answered early meets a shut window, and its reset comes well behind the answer.
#[tokio::test]
async fn an_upload_that_is_answered_early_is_held_and_reset_later() {
    let (_house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;
    let started = std::time::Instant::now();

    let (answer, mut body) = client
        .send_request(request(Method::POST, "/early"), false)
        .unwrap();
    body.reserve_capacity(3_000_000);
    let mut sent = 0;
    let reset = std::future::poll_fn(|context| {
        while let Poll::Ready(Some(Ok(room))) = body.poll_capacity(context) {
            sent += room;
            body.send_data(Bytes::from(vec![0; room]), false).unwrap();
            body.reserve_capacity(3_000_000);
        }
        body.poll_reset(context)
    });
    let (answer, reset) = timeout(PATIENCE, async { tokio::join!(answer, reset) })
        .await
        .unwrap();

    assert_eq!(&*whole(answer.unwrap()).await.unwrap().0, b"hello");
    assert_eq!(reset.unwrap(), h2::Reason::NO_ERROR);
    assert!(started.elapsed() >= Duration::from_millis(900));
    let window = usize::try_from(STREAM_WINDOW).unwrap();
    assert!((window..2 * window).contains(&sent), "{sent} bytes were sent");
}

/// Their unread bodies are four times of what the connection's window holds.
#[tokio::test]
async fn uploads_that_were_answered_early_do_not_hold_up_other_streams() {
    let (_house, pipe) = House::with(ConnectionLimits::default());
    let client = client(pipe).await;
    let mut uploads = Vec::new();
    for _ in 0..16 {
        let mut client = client.clone().ready().await.unwrap();
        let (answer, mut body) = client
            .send_request(request(Method::POST, "/early"), false)
            .unwrap();
        timeout(PATIENCE, answer).await.unwrap().unwrap();
        body.send_data(Bytes::from(vec![0; 256 * 1024]), false).unwrap();
        uploads.push(body);
    }

    let mut client = client.ready().await.unwrap();
    let (answer, mut body) = client
        .send_request(request(Method::POST, "/echo"), false)
        .unwrap();
    body.send_data(Bytes::from_static(&[1; 10_000]), true).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();

    assert_eq!(whole(answer).await.unwrap().0.len(), 10_000);
    let last = uploads.last_mut().unwrap();
    let reset = std::future::poll_fn(|context| Poll::Ready(last.poll_reset(context))).await;
    assert!(reset.is_pending(), "nobody had to wait for a reset");
}

/// A drain ends the connection as soon as the last stream is over, so a client's reset is heard while we wait.
#[tokio::test]
async fn a_client_that_gives_its_upload_up_is_not_waited_for() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut client = client(pipe).await;
    let (answer, mut body) = client
        .send_request(request(Method::POST, "/early"), false)
        .unwrap();
    timeout(PATIENCE, answer).await.unwrap().unwrap();
    body.send_data(Bytes::from(vec![0; 200_000]), false).unwrap();
    let started = std::time::Instant::now();

    body.send_reset(h2::Reason::CANCEL);
    house.drain.send_replace(true);
    house.end().await;

    assert!(started.elapsed() < Duration::from_millis(900));
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
