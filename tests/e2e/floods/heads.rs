//! Heads that are small on the wire and large in memory.

use std::time::Duration;

use crate::floods::{BOUND, Siege};
use crate::support::h2wire::{self, CONTINUATION, END_HEADERS, H2Wire, HEADERS};
use crate::support::house::HOST;
use crate::support::process::resident_peak;

/// How much of a head goes into one frame.
const FRAME: usize = 16 * 1024;

/// A whole head in frames; without END_STREAM, so that it is held as long as the stream lives.
fn head(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(FRAME).peekable();
    let mut bytes = Vec::new();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(h2wire::frame(kind, flags, stream, piece));
        kind = CONTINUATION;
    }
    bytes
}

fn start() -> Vec<u8> {
    h2wire::fields(&h2wire::request("POST", "/open/x", HOST))
}

/// Sends the heads on a hundred streams and gives how much memory the gateway ever had more.
async fn assert_cheap(block: impl Fn(u32) -> Vec<u8>) {
    let mut siege = Siege::begin().await;
    let asked = siege.endpoint.requests();
    let mut wire = H2Wire::open(&siege.house.h2(), &[]).await;

    for stream in (1..200).step_by(2) {
        if !wire.write(&head(stream, &block(stream))).await {
            break;
        }
    }
    let end = wire.end(Duration::from_secs(3)).await;

    let peak = resident_peak(siege.house.gateway.pid());
    println!(
        "{} answers, {} resets, {:?}; at most {peak} KiB after {} KiB",
        end.answers.len(),
        end.resets.len(),
        end.goaway,
        siege.resident
    );
    assert!(
        peak < siege.resident + BOUND,
        "{} KiB became {peak} KiB",
        siege.resident
    );
    assert!(
        end.answers.iter().all(|(_, head)| head[0] != 0x88),
        "none of them is served"
    );
    assert_eq!(siege.endpoint.requests(), asked, "none of them is passed on");
    siege.assert_good_is_served().await;
}

/// One long entry in the table, named thousands of times (the HPACK bomb, CVE-2016-6581).
#[tokio::test(flavor = "multi_thread")]
async fn one_long_field_named_thousands_of_times_is_refused_cheaply() {
    assert_cheap(|stream| {
        let mut block = start();
        if stream == 1 {
            // With incremental indexing (RFC 7541 6.2.1): the first entry of the dynamic table, 62.
            block.push(0x40);
            h2wire::string(&mut block, b"x-bomb");
            h2wire::string(&mut block, &[b'z'; 3_900]);
        }
        block.extend(vec![0x80 | 62; 4 * FRAME]);
        block
    })
    .await;
}

/// CVE-2026-49975, CVE-2026-47774: fields of nothing, one byte each on the wire.
#[tokio::test(flavor = "multi_thread")]
async fn many_empty_fields_are_refused_cheaply() {
    // Static entries without a value (RFC 7541 appendix A): accept-language, cache-control, user-agent.
    for entry in [17_u8, 24, 58] {
        assert_cheap(move |_| [start(), vec![0x80 | entry; 4 * FRAME]].concat()).await;
    }
}

/// The same with cookie crumbs (RFC 9113 8.2.3), which become one field only after they were many.
#[tokio::test(flavor = "multi_thread")]
async fn many_cookie_crumbs_are_refused_cheaply() {
    assert_cheap(|_| [start(), vec![0x80 | 32; 4 * FRAME]].concat()).await;
    assert_cheap(|_| {
        let mut block = start();
        for _ in 0..2_000 {
            // A literal value for the name at 32, not remembered (RFC 7541 6.2.2).
            h2wire::integer(&mut block, 0, 4, 32);
            h2wire::string(&mut block, b"a=b");
        }
        block
    })
    .await;
}

/// Heads that fit one by one, held open on every stream at once: in sum they do not.
#[tokio::test(flavor = "multi_thread")]
async fn many_large_heads_in_flight_are_bounded_together() {
    let mut siege = Siege::begin().await;
    siege.endpoint.behave(crate::support::Behaviour::Hang);
    let mut wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let value = "v".repeat(4_000);
    let block = [
        start(),
        h2wire::fields(&[("x-a", &value), ("x-b", &value), ("x-c", &value), ("x-d", &value)]),
    ]
    .concat();

    for stream in (1..200).step_by(2) {
        if !wire.write(&head(stream, &block)).await {
            break;
        }
    }
    let end = wire.end(Duration::from_secs(2)).await;

    let peak = resident_peak(siege.house.gateway.pid());
    println!(
        "{} answers, {} resets, {:?}; {peak} KiB after {}",
        end.answers.len(),
        end.resets.len(),
        end.goaway,
        siege.resident
    );
    assert!(peak < siege.resident + BOUND);
    siege.assert_good_is_served().await;
}

/// Beside the bombs: a browser's crumbs and a large but honest head.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_but_honest_head_is_served() {
    let siege = Siege::begin().await;
    let mut wire = H2Wire::open(&siege.house.h2(), &[]).await;
    let long = "v".repeat(16_000);
    let mut fields = h2wire::request("GET", "/open/x", HOST);
    fields.push(("x-long", &long));
    fields.extend([("cookie", "a=b"); 50]);

    let block = h2wire::fields(&fields);
    let mut frames = h2wire::frame(HEADERS, h2wire::END_STREAM, 1, &block[..FRAME]);
    frames.extend(h2wire::frame(CONTINUATION, END_HEADERS, 1, &block[FRAME..]));
    assert!(wire.write(&frames).await);

    assert_eq!(wire.answer(1).await[0], 0x88);
    let cookies = siege.endpoint.last().headers.get_all("cookie").iter().count();
    assert_eq!(cookies, 1, "crumbs are one field for an HTTP/1.1 endpoint");
}
