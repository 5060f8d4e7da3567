//! Every budget has a test that stays just inside and one that spends it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::client::h2::allowances::*;
use crate::client::h2::budget::Budget;

fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn greeted() -> Meter {
    let mut meter = Meter::default();
    meter.receive(0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    meter.receive(0, &encode(kind::SETTINGS, 0, 0, &[])).unwrap();
    meter
}

/// How many of these frames pass at once, and what the next one is told.
fn passing(meter: &mut Meter, frame: &[u8]) -> (u32, Cause) {
    for count in 0..1_000_000 {
        if let Err(cause) = meter.receive(0, frame) {
            return (count, cause);
        }
    }
    panic!("there is no end to it");
}

fn open(meter: &mut Meter, streams: u32) {
    for stream in 0..streams {
        let head = encode(kind::HEADERS, flag::END_HEADERS, stream * 2 + 1, &[0x82]);
        meter.receive(0, &head).unwrap();
        meter.accepted(stream * 2 + 1);
    }
}

/// The frame passes as often as its budget says and not once more; a second gives back what its budget says.
fn keeps(budget: &Budget, cause: Cause, frame: &[u8], already: u32) {
    let mut meter = greeted();

    assert_eq!(passing(&mut meter, frame), (budget.burst - already, cause));

    let mut meter = greeted();
    for _ in 0..budget.burst - already {
        meter.receive(0, frame).unwrap();
    }
    for _ in 0..budget.per_second {
        meter.receive(1000, frame).unwrap();
    }
    assert_eq!(meter.receive(1000, frame), Err(cause));
}

#[test]
fn pings_are_counted_cve_2019_9512() {
    keeps(&PINGS, Cause::Pings, &encode(kind::PING, 0, 0, &[0; 8]), 0);
}

#[test]
fn settings_are_counted_cve_2019_9515() {
    keeps(&SETTINGS, Cause::Settings, &encode(kind::SETTINGS, 0, 0, &[]), 1);
}

#[test]
fn priorities_are_counted_cve_2019_9513() {
    keeps(
        &PRIORITIES,
        Cause::Priorities,
        &encode(kind::PRIORITY, 0, 1, &[0; 5]),
        0,
    );
    keeps(
        &PRIORITIES,
        Cause::Priorities,
        &encode(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1"),
        0,
    );
}

#[test]
fn resets_are_counted_cve_2023_44487() {
    keeps(
        &RESETS,
        Cause::Resets,
        &encode(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        0,
    );
}

#[test]
fn rapid_reset_ends_the_connection_although_every_stream_is_new() {
    let mut meter = greeted();
    for stream in 0..RESETS.burst {
        let id = stream * 2 + 1;
        let pair = [
            encode(kind::HEADERS, flag::END_HEADERS, id, &[0x82]),
            encode(kind::RST_STREAM, 0, id, &[0, 0, 0, 8]),
        ];
        meter.receive(0, &pair.concat()).unwrap();
    }

    let one_more = encode(kind::RST_STREAM, 0, RESETS.burst * 2 + 1, &[0, 0, 0, 8]);

    assert_eq!(meter.receive(0, &one_more), Err(Cause::Resets));
}

#[test]
fn resets_that_the_client_provokes_are_counted_cve_2025_8671() {
    let provoked = encode(kind::RST_STREAM, 0, 1, &[0, 0, 0, 1]);
    let mut meter = greeted();

    for _ in 0..PROVOKED_RESETS.burst {
        meter.send(0, &provoked).unwrap();
    }

    assert_eq!(meter.send(0, &provoked), Err(Cause::ProvokedResets));
}

#[test]
fn resets_of_our_own_are_not_the_clients() {
    let mut meter = greeted();

    for code in [
        h2::Reason::NO_ERROR,
        h2::Reason::CANCEL,
        h2::Reason::INTERNAL_ERROR,
    ] {
        let reset = encode(kind::RST_STREAM, 0, 1, &u32::from(code).to_be_bytes());
        for _ in 0..2 * PROVOKED_RESETS.burst {
            meter.send(0, &reset).unwrap();
        }
    }
}

#[test]
fn data_frames_without_data_are_counted_cve_2019_9518() {
    keeps(&EMPTY_DATA, Cause::EmptyData, &encode(kind::DATA, 0, 1, &[]), 0);
    let padding_only = encode(kind::DATA, flag::PADDED, 1, &[200; 201]);
    keeps(&EMPTY_DATA, Cause::EmptyData, &padding_only, 0);
}

#[test]
fn an_empty_data_frame_that_ends_a_stream_is_free() {
    let mut meter = greeted();

    let end = encode(kind::DATA, flag::END_STREAM, 1, &[]);

    assert!((0..5000).all(|_| meter.receive(0, &end).is_ok()));
}

#[test]
fn window_updates_are_counted_cve_2019_9511() {
    let drip = encode(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);

    keeps(&WINDOW_UPDATES, Cause::WindowUpdates, &drip, 0);
}

#[test]
fn window_updates_are_free_beside_what_we_send() {
    let mut meter = greeted();
    let update = encode(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let data = encode(kind::DATA, 0, 1, &[0; 100]);

    for _ in 0..5000 {
        meter.send(0, &data).unwrap();
        for _ in 0..9 {
            meter.receive(0, &update).unwrap();
        }
    }
}

#[test]
fn pings_are_free_beside_what_we_send() {
    let mut meter = greeted();

    for _ in 0..50_000 {
        meter.send(0, &encode(kind::DATA, 0, 1, &[0; 100])).unwrap();
        meter.receive(0, &encode(kind::PING, 0, 0, &[0; 8])).unwrap();
    }
}

#[test]
fn continuations_are_counted() {
    keeps(
        &CONTINUATIONS,
        Cause::Continuations,
        &encode(kind::CONTINUATION, 0, 1, &[0x82]),
        0,
    );
}

#[test]
fn heads_in_five_frames_are_free() {
    let mut meter = greeted();
    let mut head = encode(kind::HEADERS, 0, 0, &[0x82]);
    for last in [0, 0, 0, 0, flag::END_HEADERS] {
        head.extend(encode(kind::CONTINUATION, last, 0, &[0x82]));
    }

    for stream in 0..5000_u32 {
        head[5..9].copy_from_slice(&(stream * 2 + 1).to_be_bytes());
        meter.receive(0, &head).unwrap();
        meter.accepted(stream * 2 + 1);
    }
}

#[test]
fn header_frames_without_a_header_are_counted_cve_2019_9516() {
    let mut meter = greeted();
    open(&mut meter, 1);
    let empty = encode(kind::HEADERS, flag::END_HEADERS, 1, &[]);

    assert_eq!(
        passing(&mut meter, &empty),
        (EMPTY_HEADERS.burst, Cause::EmptyHeaders)
    );

    keeps(
        &EMPTY_HEADERS,
        Cause::EmptyHeaders,
        &encode(kind::CONTINUATION, 0, 1, &[]),
        0,
    );
}

#[test]
fn unknown_frames_are_counted_by_number_and_by_size() {
    keeps(
        &UNKNOWN_FRAMES,
        Cause::UnknownFrames,
        &encode(0xb, 0, 0, &[0; 8]),
        0,
    );
    let large = encode(0xb, 0, 0, &[0; 16 * 1024]);
    let count = UNKNOWN_BYTES.burst / (16 * 1024);

    assert_eq!(passing(&mut greeted(), &large), (count, Cause::UnknownFrames));
}

#[test]
fn a_mixture_within_every_budget_is_counted_in_sum() {
    let tiny = encode(kind::DATA, 0, 1, &[0; USEFUL - 1]);

    keeps(&FRAMES, Cause::Frames, &tiny, 1);
}

#[test]
fn data_frames_with_data_are_free() {
    let mut meter = greeted();
    let useful = encode(kind::DATA, 0, 1, &[0; USEFUL]);

    assert!((0..100_000).all(|_| meter.receive(0, &useful).is_ok()));
}

#[test]
fn requests_are_the_listeners_to_count() {
    let mut meter = greeted();

    open(&mut meter, 100_000);
}

#[test]
fn a_stream_window_beyond_2_31_is_refused_after_its_answer() {
    let mut meter = greeted();
    open(&mut meter, 1);
    let update = encode(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]);

    meter.receive(0, &update).unwrap();
    assert_eq!(meter.take_overflowed(), None);
    meter.receive(0, &update).unwrap();

    let half = &encode(kind::DATA, 0, 3, &[0; 10])[..12];
    meter.send(0, half).unwrap();
    assert_eq!(meter.take_overflowed(), None, "not within another frame");
    meter.send(0, &[0; 7]).unwrap();
    assert_eq!(meter.take_overflowed(), Some(1));
    assert_eq!(meter.take_overflowed(), None);
}

#[test]
fn a_window_that_h2_answers_for_needs_no_other_answer() {
    let mut meter = greeted();
    open(&mut meter, 1);
    for _ in 0..2 {
        let update = encode(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]);
        meter.receive(0, &update).unwrap();
    }

    meter
        .send(0, &encode(kind::RST_STREAM, 0, 1, &[0, 0, 0, 3]))
        .unwrap();

    assert_eq!(meter.take_overflowed(), None);
}

#[test]
fn the_first_frame_must_be_settings() {
    let mut meter = Meter::default();
    meter.receive(0, &[b'x'; PREFACE]).unwrap();
    assert!(!meter.is_greeted());

    let ack = encode(kind::SETTINGS, flag::ACK, 0, &[]);
    assert_eq!(meter.clone().receive(0, &ack), Err(Cause::FirstFrame));
    let ping = encode(kind::PING, 0, 0, &[0; 8]);
    assert_eq!(meter.clone().receive(0, &ping), Err(Cause::FirstFrame));

    meter.receive(0, &encode(kind::SETTINGS, 0, 0, &[])).unwrap();
    assert!(meter.is_greeted() && !meter.is_acknowledged());
    meter.receive(0, &ack).unwrap();
    assert!(meter.is_acknowledged());
}

#[test]
fn what_h2_says_on_a_stream_that_nobody_has_is_a_refusal() {
    let mut meter = greeted();
    for id in [1, 3, 5, 7] {
        meter
            .receive(0, &encode(kind::HEADERS, flag::END_HEADERS, id, &[0x82]))
            .unwrap();
    }
    meter.accepted(1);

    meter
        .send(0, &encode(kind::HEADERS, flag::END_HEADERS, 1, &[0x88]))
        .unwrap();
    meter
        .send(0, &encode(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]))
        .unwrap();
    meter
        .send(0, &encode(kind::HEADERS, flag::END_HEADERS, 3, &[0x88]))
        .unwrap();
    meter
        .send(0, &encode(kind::RST_STREAM, 0, 3, &[0, 0, 0, 1]))
        .unwrap();
    meter
        .send(0, &encode(kind::RST_STREAM, 0, 5, &[0, 0, 0, 1]))
        .unwrap();

    assert_eq!(meter.take_refused(), [Refused::Answered, Refused::Reset(1)]);
    assert!(meter.take_refused().is_empty());
}

#[test]
fn a_fragment_is_told_at_the_hand_over_however_the_head_is_cut() {
    let block = b"\x82\x87\x04\x03/#x";
    for cut in 1..=9 + block.len() {
        let mut meter = greeted();
        let mut bytes = encode(kind::HEADERS, flag::END_HEADERS, 1, block);
        bytes.extend(encode(kind::HEADERS, flag::END_HEADERS, 1, b"\x40\x01x\x01v"));
        bytes.extend(encode(kind::HEADERS, flag::END_HEADERS, 3, &[0x82, 0x84, 0x87]));

        bytes
            .chunks(cut)
            .for_each(|piece| meter.receive(0, piece).unwrap());

        assert!(meter.accepted(1), "cut every {cut}");
        assert!(!meter.accepted(3));
    }
    let padded = [&[3, 0, 0, 0, 0, 0][..], block, &[0; 3]].concat();
    let flags = flag::END_HEADERS | flag::PADDED | flag::PRIORITY;
    let mut meter = greeted();
    meter
        .receive(0, &encode(kind::HEADERS, flags, 1, &padded))
        .unwrap();
    assert!(meter.accepted(1));
}

#[test]
fn a_client_owes_the_rest_of_a_head_but_may_take_its_time_with_data() {
    let mut meter = greeted();
    assert!(!meter.is_amid());

    meter.receive(0, &encode(kind::HEADERS, 0, 1, &[0x82])).unwrap();
    assert!(meter.is_amid(), "END_HEADERS is to come");
    meter
        .receive(0, &encode(kind::CONTINUATION, flag::END_HEADERS, 1, &[0x84]))
        .unwrap();
    assert!(!meter.is_amid());

    let data = encode(kind::DATA, 0, 1, &[0; 100]);
    meter.receive(0, &data[..20]).unwrap();
    assert!(!meter.is_amid());
    meter.receive(0, &data[20..]).unwrap();
    meter
        .receive(0, &encode(kind::PING, 0, 0, &[0; 8])[..12])
        .unwrap();
    assert!(meter.is_amid());
}

proptest! {
    /// No bytes make it panic or keep much, and what it refuses does not depend on how they are cut.
    #[test]
    fn the_verdict_does_not_depend_on_the_cuts(
        frames in prop::collection::vec((0_u8..18, any::<u8>(), 0_u32..40, 0_usize..20), 0..300),
        cut in 1_usize..100,
    ) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, len) in frames {
            bytes.extend(encode(kind, flags, stream, &vec![0x7f; len]));
        }
        let mut whole = greeted();
        let mut pieces = greeted();

        let verdict = whole.receive(5, &bytes);
        let mut by_piece = Ok(());
        for piece in bytes.chunks(cut) {
            by_piece = pieces.receive(5, piece);
            if by_piece.is_err() {
                break;
            }
        }

        prop_assert_eq!(verdict, by_piece);
        prop_assert!(whole.waiting.len() <= MAX_WAITING);
    }
}
