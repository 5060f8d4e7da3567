//! What a byte may be part of, looked up instead of compared.

/// Part of a token (RFC 9110 section 5.6.2): a method or a field's name.
pub(crate) const TOKEN: u8 = 1;
/// Part of a line: a blank, a tab, anything visible, and what is not ASCII (RFC 9110 section 5.5).
pub(crate) const TEXT: u8 = 2;
/// Part of a host and its port. What would end an authority, or begin another one, is not (RFC 3986 section 3.2).
pub(crate) const HOST: u8 = 4;
/// Part of a chunk's extension: [`TEXT`] that is ASCII.
pub(crate) const EXTENSION: u8 = 8;

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

/// True when every byte is visible ASCII.
pub(crate) fn all_graphic(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(true, |is_graphic, byte| is_graphic & byte.is_ascii_graphic())
}

/// True when every byte is [`TEXT`] or part of a line end.
///
/// Every byte of every head goes through here, so that it has no way out of the middle: without one the compiler
/// looks at many bytes at once.
pub(crate) fn is_free_of_controls(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |is_free, &byte| {
        let is_text = (byte >= b' ') & (byte != 0x7f);
        is_free & (is_text | (byte == b'\t') | (byte == b'\r') | (byte == b'\n'))
    })
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
        classes |= EXTENSION | TEXT;
    }
    if byte >= 0x80 {
        classes |= TEXT;
    }
    if is_host {
        classes |= HOST;
    }
    classes
}
