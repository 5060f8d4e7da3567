//! WebSocket frames (RFC 6455 section 5): where they end, in any pieces.

use portcullis_framing::websocket::{FrameTracker, close_frame};
use proptest::collection::vec;
use proptest::prelude::*;

/// One frame, as either side may send it.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
    /// Longer forms of the length than are needed: no side may send them, and they pass all the same.
    width: usize,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let len = self.payload.len();
        match (self.width, len) {
            (0, 0..126) => bytes.push(masked | len as u8),
            (0 | 1, 0..=0xffff) => {
                bytes.push(masked | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            _ => {
                bytes.push(masked | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(self.mask.into_iter().flatten());
        bytes.extend(&self.payload);
        bytes
    }
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        1 => vec(any::<u8>(), 120..130),
        1 => (0_usize..70_000).prop_map(|len| vec![7; len]),
    ];
    // Every opcode but close, with every flag: fragments, control frames between them, and compressed ones (RSV1).
    let first = any::<u8>().prop_filter("close", |first| first & 0x0f != 8);
    let frame = (first, any::<Option<[u8; 4]>>(), payload, 0_usize..3);
    vec(
        frame.prop_map(|(first, mask, payload, width)| Frame {
            first,
            mask,
            payload,
            width,
        }),
        0..6,
    )
}

/// Cuts bytes where it is told to.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn a_boundary_is_where_a_frame_ends_and_nowhere_else(frames in frames(), cuts in vec(any::<usize>(), 0..12)) {
        let mut boundaries = vec![0];
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend(frame.bytes());
            boundaries.push(bytes.len());
        }

        let mut tracker = FrameTracker::default();
        let mut passed = 0;
        for piece in pieces(&bytes, &cuts) {
            tracker.pass(piece);
            passed += piece.len();
            prop_assert_eq!(tracker.is_between(), boundaries.contains(&passed), "after {} bytes", passed);
        }
        prop_assert!(!tracker.has_closed());
    }

    #[test]
    fn the_rest_of_a_frame_is_exactly_what_is_missing(frames in frames(), cut in any::<usize>(), cuts in vec(any::<usize>(), 0..6)) {
        let mut boundaries = vec![0];
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend(frame.bytes());
            boundaries.push(bytes.len());
        }
        let cut = cut % (bytes.len() + 1);
        let end = boundaries.iter().copied().find(|end| *end >= cut).unwrap();

        let mut tracker = FrameTracker::default();
        tracker.pass(&bytes[..cut]);
        let mut finished = 0;
        for piece in pieces(&bytes[cut..], &cuts) {
            finished += tracker.finish(piece);
        }

        prop_assert_eq!(cut + finished, end);
        prop_assert!(tracker.is_between());
    }

    #[test]
    fn any_bytes_in_any_pieces_are_tracked_alike(bytes in vec(any::<u8>(), 0..400), cuts in vec(any::<usize>(), 0..12)) {
        let (mut whole, mut cut) = (FrameTracker::default(), FrameTracker::default());

        whole.pass(&bytes);
        pieces(&bytes, &cuts).into_iter().for_each(|piece| cut.pass(piece));

        prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    }

    #[test]
    fn a_close_frame_is_one_frame_that_a_tracker_knows(status in any::<u16>(), reason in ".{0,80}", mask in any::<Option<[u8; 4]>>()) {
        let frame = close_frame(status, &reason, mask);
        let mut tracker = FrameTracker::default();

        tracker.pass(&frame);

        prop_assert!(tracker.is_between() && tracker.has_closed());
        let start = if mask.is_some() { 6 } else { 2 };
        let unmasked: Vec<u8> = match mask {
            None => frame[start..].to_vec(),
            Some(mask) => frame[start..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect(),
        };
        prop_assert_eq!(&unmasked[..2], &status.to_be_bytes()[..]);
        let said = std::str::from_utf8(&unmasked[2..]).unwrap();
        prop_assert!(reason.starts_with(said) && unmasked.len() <= 125);
        prop_assert!(said.len() == reason.len() || said.len() > 119);
    }
}

/// RFC 6455 section 5.2: the most significant bit of a 64-bit length must be 0.
#[test]
fn after_a_length_that_the_protocol_does_not_have_there_is_no_boundary() {
    let mut tracker = FrameTracker::default();

    tracker.pass(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert!(!tracker.is_between());
    assert_eq!(tracker.finish(&[0; 100]), 100);

    assert!(!tracker.is_between());
}

/// RFC 6455 section 5.7: the examples there.
#[test]
fn the_examples_of_the_specification_end_where_they_end() {
    let examples: [&[u8]; 5] = [
        &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
        &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
        &[0x01, 0x03, 0x48, 0x65, 0x6c],
        &[0x80, 0x02, 0x6c, 0x6f],
        &[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
    ];
    for example in examples {
        let mut tracker = FrameTracker::default();
        for (at, byte) in example.iter().enumerate() {
            tracker.pass(std::slice::from_ref(byte));
            assert_eq!(
                tracker.is_between(),
                at + 1 == example.len(),
                "{example:x?} after {at}"
            );
        }
    }
    let mut tracker = FrameTracker::default();
    tracker.pass(&[0x88, 0x02, 0x03, 0xe8]);
    assert!(tracker.has_closed() && tracker.is_between());
}

/// Behind a frame that has not ended, and behind a length that no frame has, nothing of ours may stand.
#[test]
fn a_frame_ends_or_nothing_stands_behind_it() {
    let class = &crate::attacks::WEBSOCKETS;
    for bytes in class.refused {
        assert!(
            !crate::laws::websocket(bytes).contains(&bytes.len()),
            "{bytes:x?}"
        );
    }
    for bytes in class.accepted {
        assert!(crate::laws::websocket(bytes).contains(&bytes.len()), "{bytes:x?}");
    }
}
