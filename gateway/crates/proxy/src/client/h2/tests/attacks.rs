//! What a client may not do to a connection: each budget spent over the wire, and just not.

use std::sync::atomic::Ordering;

use http::StatusCode;
use portcullis_model::Reason;
use portcullis_pipeline::plan::ConnectionLimits;

use super::house::{House, until};
use super::raw::{HANGING_HEAD, HEAD, Raw, frame, request};
use crate::client::h2::allowances::{PINGS, PROVOKED_RESETS, SETTINGS};
use crate::client::h2::frames::{flag, kind};
use crate::client::h2::settings::{MAX_HEADS, MAX_STREAMS};

/// CVE-2019-9512, and every other budget alike: its own tests are the meter's.
#[tokio::test]
async fn a_spent_budget_ends_the_connection_and_one_just_kept_does_not() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    for _ in 0..PINGS.burst - 1 {
        raw.send(&frame(kind::PING, 0, 0, &[0; 8])).await;
    }
    assert!(raw.is_alive().await, "the last one of the budget");

    for _ in 0..PINGS.burst {
        raw.send(&frame(kind::PING, 0, 0, &[0; 8])).await;
    }

    assert_eq!(
        raw.next_of(kind::GOAWAY).await.code(),
        h2::Reason::ENHANCE_YOUR_CALM
    );
    assert_eq!(raw.next().await, None);
    assert_eq!(house.ended("pings"), 1);
    drop(raw);
    house.end().await;
}

#[tokio::test]
async fn a_flood_never_reaches_the_engine() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    let mut flood = Vec::new();
    for _ in 0..SETTINGS.burst {
        flood.extend(frame(kind::SETTINGS, 0, 0, &[]));
    }

    raw.send(&flood).await;

    assert_eq!(
        raw.next_of(kind::GOAWAY).await.code(),
        h2::Reason::ENHANCE_YOUR_CALM
    );
    assert_eq!(house.ended("settings"), 1);
}

/// CVE-2025-8671, MadeYouReset: a WINDOW_UPDATE of nothing is a stream error of the client that we must answer.
#[tokio::test]
async fn resets_that_a_client_provokes_end_its_connection() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;

    for stream in 0..=PROVOKED_RESETS.burst {
        let id = stream * 2 + 1;
        raw.send(&request(id, HANGING_HEAD)).await;
        raw.send(&frame(
            kind::PRIORITY,
            0,
            id,
            &id.to_be_bytes().iter().copied().chain([0]).collect::<Vec<_>>(),
        ))
        .await;
    }

    assert_eq!(
        raw.next_of(kind::GOAWAY).await.code(),
        h2::Reason::ENHANCE_YOUR_CALM
    );
    assert_eq!(house.ended("provoked-resets"), 1);
}

/// CVE-2023-44487, Rapid Reset: by the meter's budget, or by h2's bound on streams that nobody saw.
#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;

    for stream in 0..2000_u32 {
        let id = stream * 2 + 1;
        let pair = [
            request(id, HANGING_HEAD),
            frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8]),
        ];
        raw.send(&pair.concat()).await;
    }

    assert_eq!(
        raw.next_of(kind::GOAWAY).await.code(),
        h2::Reason::ENHANCE_YOUR_CALM
    );
    assert_eq!(house.ended("engine-bound") + house.ended("resets"), 1);
}

/// RFC 9113 section 6.9.1, h2spec 6.9.1/3: the stream was answered already.
#[tokio::test]
async fn a_window_opened_too_wide_is_an_error_after_the_answer_too() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    raw.send(&request(1, HEAD)).await;
    raw.next_of(kind::DATA).await;
    assert!(raw.is_alive().await);

    for _ in 0..2 {
        raw.send(&frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]))
            .await;
    }

    let reset = raw.next_of(kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.code()), (1, h2::Reason::FLOW_CONTROL_ERROR));
    assert!(raw.is_alive().await);
    drop(raw);
    house.end().await;
}

/// RFC 9113 sections 8.2.2 and 8.3.1: h2 answers with a reset; it is counted and recorded.
#[tokio::test]
async fn malformed_requests_are_reset_counted_and_recorded() {
    let fields: [&[u8]; 3] = [
        b"\x00\x0aconnection\x05close",
        b"\x00\x02te\x04gzip",
        b"\x00\x11transfer-encoding\x07chunked",
    ];
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    let mut id = 1;
    let mut blocks = vec![
        // No :path, no :method, :path twice, a response's pseudo-header.
        HEAD[..2].to_vec(),
        HEAD[1..].to_vec(),
        [HEAD, &[0x84]].concat(),
        [HEAD, &[0x88]].concat(),
    ];
    blocks.extend(fields.map(|field| [HEAD, field].concat()));
    let count = blocks.len();

    for block in blocks {
        raw.send(&request(id, &block)).await;
        let reset = raw.next_of(kind::RST_STREAM).await;
        assert_eq!((reset.stream, reset.code()), (id, h2::Reason::PROTOCOL_ERROR));
        id += 2;
    }
    raw.send(&request(id, &[HEAD, b"\x00\x02te\x08trailers"].concat()))
        .await;
    assert_eq!(
        raw.next_of(kind::HEADERS).await.stream,
        id,
        "the acceptance beside it"
    );

    assert_eq!(house.ended("malformed"), count as u64);
    let refused = house.service.refused.lock().unwrap().clone();
    assert_eq!(refused, vec![(Reason::FrameMalformed, None); count]);
}

/// The http crate cuts a target at its `#`; the hall refuses what it sees of it.
#[tokio::test]
async fn a_fragment_in_a_path_reaches_the_hall() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    let whole = request(1, b"\x82\x87\x04\x05/none\x01\x01a");
    let cut = request(3, b"\x82\x87\x04\x07/none#x\x01\x01a");

    raw.send(&whole).await;
    assert_eq!(raw.next_of(kind::HEADERS).await.payload[0], 0x89, "204");
    let (front, back) = cut.split_at(14);
    raw.send(front).await;
    assert!(!house.serving.is_finished());
    raw.send(back).await;

    // The service answers 204 for `/none` and 200 for what it does not know.
    assert_eq!(raw.next_of(kind::HEADERS).await.payload[0], 0x88);
}

/// A block that adds one field of 30 octets to the table and repeats it so often.
fn bomb(repeats: usize) -> Vec<u8> {
    let mut block = HANGING_HEAD.to_vec();
    block.extend(b"\x40\x01x\x1e");
    block.extend([b'v'; 30]);
    block.extend(std::iter::repeat_n(0xbe, repeats));
    block
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_answered_431_and_recorded() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;

    // 63 octets a field, 32 KiB allowed.
    raw.send(&request(1, &bomb(600))).await;
    let answer = raw.next_of(kind::HEADERS).await;
    assert_eq!(answer.stream, 1);
    until(|| house.ended("head-too-large") == 1).await;

    let status = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(
        *house.service.refused.lock().unwrap(),
        [(Reason::HeadTooLarge, status)]
    );
    assert!(raw.is_alive().await);
}

/// CVE-2026-49975, the HTTP/2 Bomb: heads of a kilobyte on the wire and of many in memory.
#[tokio::test]
async fn decoded_heads_in_flight_are_bounded() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;
    // 30 KiB each.
    let bombs = MAX_HEADS / (30 * 1024) + 4;
    let before = resident();

    for stream in 0..u32::try_from(bombs).unwrap() {
        raw.send(&request(stream * 2 + 1, &bomb(480))).await;
    }

    until(|| house.ended("heads-in-flight") >= 3).await;
    let live = house.service.waiting.load(Ordering::SeqCst);
    assert!(live * 30 * 1024 <= MAX_HEADS, "{live} heads are in flight");
    assert!(live >= MAX_HEADS / (34 * 1024), "{live} heads are in flight");
    assert!(raw.is_alive().await);
    assert!(resident().saturating_sub(before) < 64 << 20);
}

/// The same for as many streams as fit, bombs of the listener's whole bound, trailers too.
#[tokio::test]
async fn a_connection_stays_under_64_mib_whatever_it_sends() {
    let limits = ConnectionLimits {
        max_header_bytes: 64 * 1024,
        ..ConnectionLimits::default()
    };
    let (house, pipe) = House::with(limits);
    let mut raw = Raw::greet(pipe, &[]).await;
    let before = resident();
    let tiny = HANGING_HEAD;

    for stream in 0..MAX_STREAMS {
        let id = stream * 2 + 1;
        raw.send(&frame(kind::HEADERS, flag::END_HEADERS, id, tiny)).await;
        let mut trailers = b"\x40\x01x\x01v".to_vec();
        trailers.extend(std::iter::repeat_n(0xbe, 1800));
        raw.send(&frame(
            kind::HEADERS,
            flag::END_HEADERS | flag::END_STREAM,
            id,
            &trailers,
        ))
        .await;
    }
    until(|| house.service.waiting.load(Ordering::SeqCst) == MAX_STREAMS as usize).await;
    assert!(raw.is_alive().await);

    let grown = resident().saturating_sub(before);
    println!("{} KiB for a hundred trailer sections of 64 KiB", grown >> 10);
    assert!(grown < 64 << 20, "{grown} octets");
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_and_the_rest_goes_on() {
    let (house, pipe) = House::with(ConnectionLimits::default());
    let mut raw = Raw::greet(pipe, &[]).await;

    for stream in 0..=MAX_STREAMS {
        raw.send(&request(stream * 2 + 1, HANGING_HEAD)).await;
    }

    let reset = raw.next_of(kind::RST_STREAM).await;
    assert_eq!(
        (reset.stream, reset.code()),
        (MAX_STREAMS * 2 + 1, h2::Reason::REFUSED_STREAM)
    );
    until(|| house.service.waiting.load(Ordering::SeqCst) == MAX_STREAMS as usize).await;
    assert_eq!(house.ended("too-many"), 1);
    assert!(raw.is_alive().await);
}

/// Memory of this process, in octets.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
