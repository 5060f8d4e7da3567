//! Whether a request's `:path` holds a `#`: the http crate cuts a target there without a word, so that what the
//! hall would see is not what the client sent (RFC 9113 section 8.3.1 allows no fragment).
//!
//! Only the pseudo-header fields at the front of a header block are walked over, and only literals are read (RFC
//! 7541 section 6): what stands in the dynamic table stood in a literal before. A `:path` whose *name* is taken from
//! the dynamic table, or that begins in a CONTINUATION frame, is not found; no encoder does either, and the hall, the
//! endpoint and the log see the same cut target then.

/// Static table (RFC 7541 appendix A): `:path` with two values, and the first field that is not a pseudo-header.
const PATHS: std::ops::RangeInclusive<usize> = 4..=5;
const FIRST_REGULAR: usize = 15;
/// The first entry of the dynamic table.
const DYNAMIC: usize = 62;
/// `:path` in Huffman code.
const PATH_CODED: [u8; 4] = [0xb9, 0x58, 0xd3, 0x3f];
/// `#` in Huffman code, and its length in bits (RFC 7541 appendix B).
const HASH: u32 = 0xffa;
const HASH_BITS: u32 = 12;
/// How many codes there are of each length in bits, from 5 on: the code is canonical.
const CODES: [u32; 26] = [
    10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4,
];
const SHORTEST: u32 = 5;

/// True when the `:path` of this header block holds a `#`.
pub(crate) fn is_in_path(mut block: &[u8]) -> bool {
    while let Some((true, found)) = field(&mut block) {
        if found {
            return true;
        }
    }
    false
}

/// Steps over one representation: whether pseudo-header fields may follow, and whether this was what is looked for.
fn field(block: &mut &[u8]) -> Option<(bool, bool)> {
    let first = *block.first()?;
    if first & 0x80 != 0 {
        let index = integer(block, 7)?;
        return Some((!(FIRST_REGULAR..DYNAMIC).contains(&index), false));
    }
    if first & 0xe0 == 0x20 {
        integer(block, 5)?;
        return Some((true, false));
    }
    let name = integer(block, if first & 0x40 == 0 { 4 } else { 6 })?;
    let (is_path, may_follow) = if name == 0 {
        match string(block)? {
            (name, true) => (name == PATH_CODED, true),
            (name, false) => (name == b":path", name.starts_with(b":")),
        }
    } else {
        (PATHS.contains(&name), !(FIRST_REGULAR..DYNAMIC).contains(&name))
    };
    let (value, is_coded) = string(block)?;
    let found = is_path
        && if is_coded {
            has_coded_hash(value)
        } else {
            value.contains(&b'#')
        };
    Some((may_follow, found))
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1); `None` when it is cut off or too large to matter.
fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let (first, mut rest) = block.split_first()?;
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        for shift in [0, 7, 14] {
            let (next, after) = rest.split_first()?;
            rest = after;
            value += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                *block = rest;
                return Some(value);
            }
        }
        return None;
    }
    *block = rest;
    Some(value)
}

/// A string (RFC 7541 section 5.2), and whether it is in Huffman code.
fn string<'a>(block: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
    let is_coded = block.first()? & 0x80 != 0;
    let len = integer(block, 7)?;
    let (string, rest) = block.split_at_checked(len)?;
    *block = rest;
    Some((string, is_coded))
}

/// True when there is a `#` in this Huffman code.
fn has_coded_hash(coded: &[u8]) -> bool {
    // Its code begins with nine ones, which hardly any path has in a row.
    let is_suspect = coded.contains(&0xff)
        || coded
            .array_windows()
            .any(|[left, right]| left.trailing_ones() + right.leading_ones() >= 9);
    is_suspect && walk(coded)
}

/// Steps from code to code.
fn walk(coded: &[u8]) -> bool {
    let mut bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1)));
    loop {
        // The first code of each length follows from those that are shorter.
        let (mut code, mut first, mut length) = (0, 0, 0);
        loop {
            let Some(bit) = bits.next() else {
                return false;
            };
            code = code << 1 | bit;
            first <<= 1;
            length += 1;
            let Some(index) = u32::checked_sub(length, SHORTEST) else {
                continue;
            };
            let Some(count) = CODES.get(index as usize) else {
                return false;
            };
            if code - first < *count {
                break;
            }
            first += count;
        }
        if length == HASH_BITS && code == HASH {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use bytes::{BufMut, BytesMut};
    use proptest::prelude::*;

    use super::*;

    /// `/a#b` in Huffman code.
    const CODED: &[u8] = &[0x60, 0x7f, 0xf5, 0x1f];

    fn literal(first: u8, value: &[u8], is_coded: bool) -> Vec<u8> {
        let mut bytes = vec![
            first,
            u8::try_from(value.len()).unwrap() | if is_coded { 0x80 } else { 0 },
        ];
        bytes.extend(value);
        bytes
    }

    #[test]
    fn a_fragment_is_found_in_every_form_of_a_literal() {
        for first in [0x04, 0x14, 0x44, 0x05, 0x45] {
            assert!(is_in_path(
                &[&[0x82, 0x87][..], &literal(first, b"/a#b", false)].concat()
            ));
            assert!(is_in_path(
                &[&[0x82, 0x87][..], &literal(first, CODED, true)].concat()
            ));
            assert!(!is_in_path(&literal(first, b"/a?b", false)));
        }
        assert!(is_in_path(
            &[&b"\x40\x05:path"[..], &literal(0, b"/#", false)[1..]].concat()
        ));
        assert!(is_in_path(
            &[&[0x40, 0x84][..], &PATH_CODED, &literal(0, CODED, true)[1..]].concat()
        ));
    }

    #[test]
    fn other_fields_may_hold_a_number_sign() {
        let cookie = [&[0x82, 0x84, 0x87][..], &literal(0x60, b"a=#", false)].concat();

        assert!(!is_in_path(&cookie));
        assert!(!is_in_path(
            &[&b"\x40\x01x\x01#"[..], &literal(0x04, b"/#", false)].concat()
        ));
        assert!(
            !is_in_path(&literal(0x01, b"a#", false)),
            "an authority is judged elsewhere"
        );
    }

    #[test]
    fn a_block_that_is_cut_off_is_no_trouble() {
        let block = [&[0x82, 0x87][..], &literal(0x44, CODED, true)].concat();

        assert!((0..block.len()).all(|end| !is_in_path(&block[..end])));
        assert!(!is_in_path(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]));
    }

    /// The block of a request as h2's own client writes it.
    async fn block_of(path: &str) -> Vec<u8> {
        use tokio::io::AsyncReadExt;

        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (mut client, connection) = h2::client::handshake(near).await.unwrap();
        let uri = format!("https://a{path}");
        let _answer = client
            .send_request(http::Request::get(uri).body(()).unwrap(), true)
            .unwrap();
        tokio::spawn(connection);
        far.read_exact(&mut [0; 24]).await.unwrap();
        loop {
            let mut head = [0; 9];
            far.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            far.read_exact(&mut payload).await.unwrap();
            if head[3] == 1 {
                return payload;
            }
        }
    }

    #[tokio::test]
    async fn paths_of_a_real_encoder_hold_none() {
        for path in [
            "/",
            "/a@b",
            "/$!?&",
            "/a/b?c=d&e=%23",
            "/hhh?~~~~!()'+**",
            "/zzz&&&&???",
        ] {
            assert!(!is_in_path(&block_of(path).await), "{path}");
        }
    }

    proptest! {
        /// No bytes make it panic, and a plain path is found out exactly.
        #[test]
        fn a_plain_path_is_judged_exactly(path in prop::collection::vec(any::<u8>(), 0..100), noise in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut block = BytesMut::new();
            block.put_slice(&[0x82, 0x04]);
            block.put_u8(u8::try_from(path.len()).unwrap());
            block.put_slice(&path);
            prop_assert_eq!(is_in_path(&block), path.contains(&b'#'));
            is_in_path(&noise);
            has_coded_hash(&noise);
            walk(&noise);
        }

        /// The quick look never misses what the walk finds.
        #[test]
        fn the_quick_look_misses_nothing(noise in prop::collection::vec(prop::sample::select(vec![0x60_u8, 0x7f, 0xf5, 0xfa, 0x8f, 0xff, 0x1f, 0x00, 0x3f, 0xfd]), 0..20)) {
            prop_assert_eq!(has_coded_hash(&noise), walk(&noise));
        }
    }
}
