//! What a byte may be part of, looked up instead of compared.

/// Part of a token (RFC 9110 section 5.6.2): a method or a field's name.
pub(crate) const TOKEN: u8 = 1;
/// Part of a host and its port. What would end an authority, or begin another one, is not (RFC 3986 section 3.2).
pub(crate) const HOST: u8 = 2;
/// Part of a chunk's extension: a tab, a blank, and visible ASCII.
pub(crate) const EXTENSION: u8 = 4;

static CLASSES: [u8; 256] = classes();

/// True when the byte is of this class.
pub(crate) fn is(byte: u8, class: u8) -> bool {
    of(byte) & class != 0
}

/// How many of the first bytes are of this class.
pub(crate) fn span_of(bytes: &[u8], class: u8) -> usize {
    let (fours, _) = bytes.as_chunks::<4>();
    let is_none_outside = |[a, b, c, d]: &[u8; 4]| of(*a) & of(*b) & of(*c) & of(*d) & class != 0;
    let mut length = fours.iter().take_while(|four| is_none_outside(four)).count() * 4;
    while bytes.get(length).is_some_and(|&byte| is(byte, class)) {
        length += 1;
    }
    length
}

fn of(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Where the first byte stands that is no part of a line's text (RFC 9110 section 5.5): a control byte other than
/// the tab, so that the bytes of a line's end are found too.
///
/// Every byte of every head goes through here, eight at once.
pub(crate) fn first_control(bytes: &[u8]) -> Option<usize> {
    let controls = |word| below::<b' '>(word) | equal::<0x7f>(word);
    let mut from = 0;
    while let Some(at) = first(bytes.get(from..)?, controls) {
        if bytes.get(from + at) != Some(&b'\t') {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Where the first byte stands that is not visible ASCII.
pub(crate) fn first_not_graphic(bytes: &[u8]) -> Option<usize> {
    first(bytes, |word| {
        below::<b'!'>(word) | equal::<0x7f>(word) | (word & HIGHS)
    })
}

/// The highest bit of each of eight bytes.
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Where the first byte stands that `suspects` marks by its highest bit. Marks above the first may be wrong: a
/// subtraction borrows from them.
fn first(bytes: &[u8], suspects: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let marks = suspects(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    // Filled up with a byte that nobody suspects.
    let mut word = [b'0'; 8];
    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let marks = suspects(u64::from_le_bytes(word));
    (marks != 0).then(|| at + marks.trailing_zeros() as usize / 8)
}

/// Marks bytes below an ASCII one.
const fn below<const BYTE: u8>(word: u64) -> u64 {
    word.wrapping_sub(u64::from_ne_bytes([BYTE; 8])) & !word & HIGHS
}

/// Marks bytes that are this one.
const fn equal<const BYTE: u8>(word: u64) -> u64 {
    below::<1>(word ^ u64::from_ne_bytes([BYTE; 8]))
}

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut index = 0;
    while index < classes.len() {
        #[expect(
            clippy::indexing_slicing,
            clippy::cast_possible_truncation,
            reason = "`index` counts up to 255"
        )]
        {
            classes[index] = classes_of(index as u8);
        }
        index += 1;
    }
    classes
}

const fn classes_of(byte: u8) -> u8 {
    let is_token = byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        );
    let is_extension = matches!(byte, b'\t' | b' '..=b'~');
    let is_host = byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'/' | b'?' | b'#' | b'@' | b'\\' | b',' | b'"' | b'<' | b'>'
        );
    let mut classes = 0;
    if is_token {
        classes |= TOKEN;
    }
    if is_extension {
        classes |= EXTENSION;
    }
    if is_host {
        classes |= HOST;
    }
    classes
}
