//! Why bytes are refused.

use portcullis_model::{Reason, Rejection};

/// The bytes are not an acceptable message; nothing after them can be trusted to be one either.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fault {
    /// What is answered.
    pub reason: Reason,
    /// What exactly was wrong; for the log, never sent.
    pub why: &'static str,
}

impl Fault {
    /// A fault with this reason.
    pub(crate) const fn new(reason: Reason, why: &'static str) -> Self {
        Self { reason, why }
    }

    /// Bytes that are not one unambiguous message.
    pub(crate) const fn malformed(why: &'static str) -> Self {
        Self::new(Reason::FrameMalformed, why)
    }

    /// More bytes or fields than a head may have.
    pub(crate) const fn too_large(why: &'static str) -> Self {
        Self::new(Reason::HeadTooLarge, why)
    }

    /// The same fault in an endpoint's answer, where the client is not to blame.
    pub(crate) const fn of_endpoint(self) -> Self {
        Self::new(Reason::EndpointProtocol, self.why)
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        Self::new(fault.reason).with_private(fault.why)
    }
}
