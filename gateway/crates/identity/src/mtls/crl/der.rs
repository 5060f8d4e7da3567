//! DER, as much of it as reading a revocation list takes whose structure was checked already.

/// One element: its tag, what is in it, and all of it with its head.
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// The two ways to write a time.
pub(super) const TIMES: [u8; 2] = [0x17, 0x18];

/// Takes the first element off `bytes`; `None` when no whole one stands there.
pub(super) fn take<'a>(bytes: &mut &'a [u8]) -> Option<Element<'a>> {
    let all = *bytes;
    let (&tag, rest) = all.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        // Four octets of length are more than any bound of ours; none at all would be BER.
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        rest = after;
        digits.iter().try_fold(0usize, |length, digit| {
            length.checked_mul(256)?.checked_add(usize::from(*digit))
        })?
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = all.get(..all.len().checked_sub(after.len())?)?;
    *bytes = after;
    Some(Element { tag, content, whole })
}

/// The same, when it has this tag.
pub(super) fn take_as<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    let mut rest = *bytes;
    let element = take(&mut rest).filter(|element| element.tag == tag)?;
    *bytes = rest;
    Some(element)
}

/// The octets of a BIT STRING that has no unused bits.
pub(super) fn take_bits<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    match take_as(bytes, BIT_STRING)?.content.split_first() {
        Some((0, bits)) => Some(bits),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_one_after_the_other() {
        let mut bytes: &[u8] = &[SEQUENCE, 1, 7, INTEGER, 0x81, 2, 8, 9];

        let first = take(&mut bytes).unwrap();
        let second = take_as(&mut bytes, INTEGER).unwrap();

        assert_eq!((first.tag, first.content), (SEQUENCE, &[7][..]));
        assert_eq!(
            (second.content, second.whole),
            (&[8, 9][..], &[INTEGER, 0x81, 2, 8, 9][..])
        );
        assert!(bytes.is_empty());
    }

    #[test]
    fn what_is_cut_endless_or_of_another_kind_is_not_taken() {
        for mut bytes in [
            &[][..],
            &[SEQUENCE],
            &[SEQUENCE, 2, 7],
            &[SEQUENCE, 0x80, 7, 0, 0],
            &[SEQUENCE, 0x85, 0, 0, 0, 0, 1, 7],
            &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 7],
        ] {
            assert!(take(&mut bytes).is_none(), "{bytes:?}");
        }
        let mut other: &[u8] = &[SEQUENCE, 0];
        assert!(take_as(&mut other, INTEGER).is_none());
        assert_eq!(other.len(), 2, "nothing was taken");
    }

    #[test]
    fn bits_that_end_within_an_octet_are_no_signature() {
        assert_eq!(take_bits(&mut &[BIT_STRING, 2, 0, 9][..]), Some(&[9][..]));
        assert_eq!(take_bits(&mut &[BIT_STRING, 2, 4, 0x90][..]), None);
        assert_eq!(take_bits(&mut &[BIT_STRING, 0][..]), None);
    }
}
