//! The framing guard: the bytes of one connection are one unambiguous request after another, or they are refused.
//!
//! It stands before Pingora on purpose. What Pingora would repair (two lengths, a folded field, an odd target) and
//! what Pingora would answer by itself never reaches it, so that every refusal is ours and recorded.

mod body;
mod head;

use portcullis_model::{Reason, Rejection};

pub(crate) use body::{BodyFraming, Boundary};
pub(crate) use head::{HeadFacts, HeadLimits, HeadScanner};

/// The bytes are not an acceptable request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameFault {
    /// What is answered.
    pub(crate) reason: Reason,
    /// What exactly was wrong; for the log, never sent.
    pub(crate) why: &'static str,
}

impl FrameFault {
    /// A request that is malformed.
    pub(crate) const fn malformed(why: &'static str) -> Self {
        Self {
            reason: Reason::FrameMalformed,
            why,
        }
    }

    /// A request that is refused for this reason.
    pub(crate) const fn new(reason: Reason, why: &'static str) -> Self {
        Self { reason, why }
    }
}

impl From<FrameFault> for Rejection {
    fn from(fault: FrameFault) -> Self {
        Self::new(fault.reason).with_private(fault.why)
    }
}

/// True for the characters of a token (RFC 9110 section 5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
