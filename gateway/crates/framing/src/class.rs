//! What a byte may be part of, looked up instead of compared.

/// Part of a token (RFC 9110 section 5.6.2): a method or a field's name.
pub(crate) const TOKEN: u8 = 1;
/// Part of a line: a blank, a tab, anything visible, and what is not ASCII (RFC 9110 section 5.5).
pub(crate) const TEXT: u8 = 2;
/// Part of a request target: visible ASCII.
pub(crate) const GRAPHIC: u8 = 4;
/// Part of a host and its port. What would end an authority, or begin another one, is not (RFC 3986 section 3.2).
pub(crate) const HOST: u8 = 8;
/// Part of a chunk's extension: [`TEXT`] that is ASCII.
pub(crate) const EXTENSION: u8 = 16;

static CLASSES: [u8; 256] = classes();

/// True when the byte is of one of these classes.
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASSES
        .get(usize::from(byte))
        .is_some_and(|classes| classes & class != 0)
}

/// True when every byte is of one of these classes.
pub(crate) fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|&byte| is(byte, class))
}

/// Where the first byte stands that is no [`TEXT`].
///
/// Looks at eight bytes at once, and at single ones only where eight hold a suspect: this is the one test that
/// every byte of every head goes through.
pub(crate) fn first_control(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        if may_hold_control(u64::from_ne_bytes(*word))
            && let Some(index) = word.iter().position(|&byte| !is(byte, TEXT))
        {
            return Some(at + index);
        }
        at += 8;
    }
    rest.iter()
        .position(|&byte| !is(byte, TEXT))
        .map(|index| at + index)
}

/// True when one of eight bytes is below the blank or is DEL; a tab counts too, and is sorted out by the caller.
const fn may_hold_control(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const BLANKS: u64 = u64::from_ne_bytes([b' '; 8]);
    const DELETES: u64 = u64::from_ne_bytes([0x7f; 8]);
    let low = word.wrapping_sub(BLANKS) & !word;
    let delete = word ^ DELETES;
    let delete = delete.wrapping_sub(ONES) & !delete;
    (low | delete) & HIGHS != 0
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
    let is_graphic = byte.is_ascii_graphic();
    let is_host = is_graphic
        && !matches!(
            byte,
            b'/' | b'?' | b'#' | b'@' | b'\\' | b',' | b'"' | b'<' | b'>'
        );
    let mut classes = 0;
    if is_token {
        classes |= TOKEN;
    }
    if is_extension {
        classes |= EXTENSION | TEXT;
    }
    if byte >= 0x80 {
        classes |= TEXT;
    }
    if is_graphic {
        classes |= GRAPHIC;
    }
    if is_host {
        classes |= HOST;
    }
    classes
}
