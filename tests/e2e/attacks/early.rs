//! Refused before the body was read: the answer arrives, the rest is drained within bounds, nothing of it is served.

use std::time::{Duration, Instant};

use crate::refusals::{Scene, get};
use crate::support::house::HOST;
use crate::support::{Dial, RawConnection};

/// A head that is refused, with the status: no route, no credentials, no such method, no canonical path.
const REFUSED: &[(&str, &str, u16)] = &[
    ("/nowhere", "", 404),
    ("/token/x", "", 401),
    ("/methods", "", 405),
    ("/open/../x", "", 400),
];

fn head(target: &str, fields: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nhost: {HOST}\r\n{fields}content-length: {length}\r\n\r\n")
}

fn dials(scene: &Scene) -> [Dial; 2] {
    [scene.house.plain(), scene.house.h1()]
}

/// A body that hides a request, so that whoever serves the body as messages serves it.
fn body(length: usize) -> Vec<u8> {
    let mut body = get("/open/smuggled", "").repeat(length / 60 + 1);
    body.truncate(length);
    body
}

/// RFC 9112 9.6: the client that writes its whole body first still reads why it was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_first_and_reads_later_reads_the_refusal() {
    let scene = Scene::set().await;

    for dial in dials(&scene) {
        for (target, fields, status) in REFUSED {
            for length in [1, 1_000, 60_000] {
                let mut connection = RawConnection::open(&dial).await;
                assert!(connection.write(head(target, fields, length).as_bytes()).await);
                // The answer is there while the body is still to come.
                assert!(
                    connection.peek(crate::support::PATIENCE).await,
                    "{target}: an answer before the body"
                );
                connection.write(&body(length)).await;
                connection.write(&get("/open/smuggled", "")).await;
                let answer = connection.answer().await;
                assert_eq!(answer.status, *status, "{target}: {answer:?}");
                if answer
                    .headers
                    .get("connection")
                    .is_some_and(|value| value == "close")
                {
                    let rest = connection.rest().await.expect("the gateway to close");
                    assert!(rest.is_empty(), "{target}: {}", String::from_utf8_lossy(&rest));
                    assert_eq!(
                        scene.endpoint.requests(),
                        0,
                        "{target}: nothing behind the body is served"
                    );
                    continue;
                }
                // One that was read to its end is forgotten, and the connection goes on.
                assert_eq!(connection.answer().await.status, 200);
                assert_eq!(scene.endpoint.received().len(), 1);
                scene.endpoint.forget();
            }
        }
    }
}

/// CVE-2025-4366: the body of a refused request is never taken for the next one, in whichever pieces it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_behind_a_refusal_is_never_taken_for_a_request() {
    let scene = Scene::set().await;

    for dial in dials(&scene) {
        for (target, fields, status) in REFUSED {
            for length in [600, 60_000, 2_000_000] {
                let mut connection = RawConnection::open(&dial).await;
                let request = [head(target, fields, length).into_bytes(), body(length)].concat();
                connection.write(&request).await;
                // A client that is still writing two megabytes may find the connection reset; never a second answer.
                if let Some(answer) = connection.maybe_answer().await {
                    assert_eq!(answer.status, *status, "{target}: {answer:?}");
                }
                assert_eq!(scene.endpoint.requests(), 0, "{target} with {length} bytes");
            }
        }
    }
    for chunks in ["3c\r\n", "ffffff\r\n"] {
        let mut connection = RawConnection::open(&scene.house.plain()).await;
        let head =
            format!("POST /nowhere HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        connection.write(&[head.into_bytes(), body(60)].concat()).await;
        assert_eq!(connection.answer().await.status, 404);
    }
    assert_eq!(scene.endpoint.requests(), 0);
}

/// The drain is bounded: one second or 64 KiB, then the connection is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_that_drips_or_never_ends_is_not_waited_for() {
    let scene = Scene::set().await;

    for dial in dials(&scene) {
        let mut connection = RawConnection::open(&dial).await;
        assert!(
            connection
                .write(head("/nowhere", "", 1_000_000_000).as_bytes())
                .await
        );
        assert_eq!(connection.answer().await.status, 404);
        let since = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while connection.write(b"x").await {
            ticks.tick().await;
            assert!(
                since.elapsed() < Duration::from_secs(15),
                "a drip is drained for ever"
            );
        }
        println!("a drip was drained for {:?}", since.elapsed());

        let mut connection = RawConnection::open(&dial).await;
        assert!(
            connection
                .write(head("/nowhere", "", 1_000_000_000).as_bytes())
                .await
        );
        assert_eq!(connection.answer().await.status, 404);
        let mut taken = 0;
        while taken < 64 << 20 && connection.write(&[b'x'; 16 * 1024]).await {
            taken += 16 * 1024;
        }
        println!(
            "a stream was taken for {} KiB, buffers of the system included",
            taken / 1024
        );
        assert!(taken < 32 << 20, "a stream of {taken} bytes was drained");
    }
}
