//! Endpoints that lie over HTTP/2: the same fates as over HTTP/1.

use std::sync::Arc;

use http::Method;

use crate::attacks::answers::{Fate, MANY, fate};
use crate::support::h2wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, fields, frame,
};
use crate::support::{H2Scripted, House};

/// RST_STREAM's codes (RFC 9113 7).
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const PUSH_PROMISE: u8 = 5;

async fn open() -> (House, H2Scripted) {
    let endpoint = H2Scripted::start().await;
    let house = House::open(&format!(
        r#"{MANY}
pools: {{ main: {{ protocol: h2, endpoints: [{{ address: "{}" }}] }} }}
routes:
  - {{ name: open, match: {{ path: "/open/**" }}, public: true, pool: main, timeouts: {{ request: 5s, idle: 2s }} }}
"#,
        endpoint.address
    ));
    (house, endpoint)
}

fn head(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS,
        stream,
        &fields(&[&[(":status", "200")], more].concat()),
    )
}

/// Clients of both protocols meet these frames so, and then good answers.
async fn assert_fate(
    what: &str,
    play: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static,
    is_right: impl Fn(&Fate) -> bool,
) {
    let (house, endpoint) = open().await;
    let play: crate::support::h2scripted::Play = Arc::new(play);
    for dial in [house.plain(), house.h2()] {
        for method in [Method::GET, Method::DELETE] {
            endpoint.play(None);
            assert_eq!(dial.get("/open/good", &[]).await.body, "good", "{what}");
            endpoint.play(Some(Arc::clone(&play)));
            let mut client = dial.connect().await.unwrap();
            let fate = fate(&mut client, method.clone()).await;
            assert!(is_right(&fate), "{method} of {what}: {fate:?}");
            endpoint.play(None);
            for _ in 0..3 {
                assert_eq!(dial.get("/open/good", &[]).await.body, "good", "after {what}");
            }
        }
    }
}

fn is_502(fate: &Fate) -> bool {
    matches!(fate, Fate::Refused(502, code) if code == "endpoint-protocol" || code == "endpoint-reset")
}

fn is_broken(fate: &Fate) -> bool {
    matches!(fate, Fate::Broken(200) | Fate::Gone) || is_502(fate)
}

/// RFC 9113 8.1, 8.2, 8.3.2: a head that HTTP/1.1 could not say, or that says two things.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_an_http2_answer_with_two_readings_is_a_502() {
    let heads: [&[(&str, &str)]; 17] = [
        &[],
        &[("x", "no status")],
        &[(":status", "999")],
        &[(":status", "99")],
        &[(":status", "abc")],
        &[(":status", "101")],
        &[(":status", "200"), (":status", "204")],
        &[("x", "before"), (":status", "200")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
        &[(":status", "200"), ("X-Upper", "1")],
        &[(":status", "200"), ("x y", "1")],
        &[(":status", "200"), ("x", "a\r\nset-cookie: evil=1")],
        &[(":status", "200"), ("x", "a\nb")],
        &[(":status", "200"), ("x\r\ny", "1")],
        &[
            (":status", "200"),
            ("content-length", "4"),
            ("content-length", "5"),
        ],
        &[(":status", "200"), ("content-length", "+4")],
    ];

    for said in heads {
        let block = fields(said);
        let play = move |stream| {
            [
                frame(HEADERS, END_HEADERS, stream, &block),
                frame(DATA, END_STREAM, stream, b"body"),
            ]
            .concat()
        };
        assert_fate(&format!("{said:?}"), play, is_502).await;
    }
}

/// RFC 9113 8.1.1: a body that is not as long as it was said to be.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_http2_of_another_length_breaks_off() {
    for length in ["3", "5", "0"] {
        let play = move |stream| {
            [
                head(stream, &[("content-length", length)]),
                frame(DATA, END_STREAM, stream, b"body"),
            ]
            .concat()
        };
        // An answer that is said to be empty may be just that.
        let is_right =
            |fate: &Fate| is_broken(fate) || (length == "0" && *fate == Fate::Whole(200, Vec::new()));
        assert_fate(&format!("a length of {length}"), play, is_right).await;
    }
    let whole = |stream| {
        [
            head(stream, &[("content-length", "4")]),
            frame(DATA, END_STREAM, stream, b"body"),
        ]
        .concat()
    };
    assert_fate("a right length", whole, |fate| {
        *fate == Fate::Whole(200, b"body".to_vec())
    })
    .await;
}

/// A stream or a connection that ends in any phase.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_endpoint_that_resets_in_any_phase_is_a_502_or_a_broken_body() {
    let reset = |stream, code: u32| frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    assert_fate(
        "a reset before the head",
        move |stream| reset(stream, INTERNAL_ERROR),
        is_502,
    )
    .await;
    assert_fate(
        "a refused stream",
        move |stream| reset(stream, REFUSED_STREAM),
        is_502,
    )
    .await;
    let in_body = move |stream| {
        [
            head(stream, &[]),
            frame(DATA, 0, stream, b"half"),
            reset(stream, INTERNAL_ERROR),
        ]
        .concat()
    };
    assert_fate("a reset in the body", in_body, is_broken).await;
    // RFC 9113 8.1: NO_ERROR after a whole answer is no failure.
    let after = move |stream| {
        [
            head(stream, &[]),
            frame(DATA, END_STREAM, stream, b"body"),
            reset(stream, 0),
        ]
        .concat()
    };
    assert_fate("a reset after the end", after, |fate| {
        *fate == Fate::Whole(200, b"body".to_vec())
    })
    .await;
    let gone = |_| {
        let last_and_code = [0_u32.to_be_bytes(), INTERNAL_ERROR.to_be_bytes()].concat();
        frame(GOAWAY, 0, 0, &last_and_code)
    };
    assert_fate("GOAWAY with an error", gone, is_502).await;
}

/// Frames that an endpoint may not send, or not so many of (RFC 9113 8.4, 6.10; CVE-2024-27316 the other way round).
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_an_endpoint_may_not_send_cost_it_its_connection() {
    let push = |stream: u32| {
        let block = fields(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
        ]);
        frame(
            PUSH_PROMISE,
            END_HEADERS,
            stream,
            &[2_u32.to_be_bytes().to_vec(), block].concat(),
        )
    };
    assert_fate("a push", push, is_502).await;
    let endless = |stream: u32| {
        let start = frame(HEADERS, 0, stream, &fields(&[(":status", "200")]));
        [
            start,
            frame(CONTINUATION, 0, stream, &fields(&[("x-more", "y")])).repeat(20_000),
        ]
        .concat()
    };
    assert_fate("a head without an end", endless, is_502).await;
    let large = |stream: u32| {
        let value = "y".repeat(8_000);
        let start = frame(HEADERS, 0, stream, &fields(&[(":status", "200")]));
        let piece = frame(CONTINUATION, 0, stream, &fields(&[("x-more", &value)])).repeat(100);
        [start, piece, frame(CONTINUATION, END_HEADERS, stream, &[])].concat()
    };
    assert_fate("a head without measure", large, is_502).await;
    let between = |stream: u32| {
        [
            frame(HEADERS, 0, stream, &fields(&[(":status", "200")])),
            frame(PING, 0, 0, &[0; 8]),
        ]
        .concat()
    };
    assert_fate("a frame inside of a head", between, is_502).await;
    let settings = |_| frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]);
    assert_fate("a window beyond its end", settings, is_502).await;
    let even = |_| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            2,
            &fields(&[(":status", "200")]),
        )
    };
    assert_fate("an answer on a stream of its own", even, is_502).await;
}

/// RFC 9110 15.2: interim answers pass from HTTP/2 too, and a flood of them does not.
#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_of_http2_are_few() {
    let hint = |stream: u32| {
        frame(
            HEADERS,
            END_HEADERS,
            stream,
            &fields(&[(":status", "103"), ("link", "</a>")]),
        )
    };
    let some = move |stream: u32| {
        [
            hint(stream),
            head(stream, &[]),
            frame(DATA, END_STREAM, stream, b"body"),
        ]
        .concat()
    };
    assert_fate("a hint", some, |fate| *fate == Fate::Whole(200, b"body".to_vec())).await;
    let many = move |stream: u32| {
        [
            hint(stream).repeat(5_000),
            head(stream, &[]),
            frame(DATA, END_STREAM, stream, b"evil"),
        ]
        .concat()
    };
    assert_fate("a flood of hints", many, is_502).await;
}
