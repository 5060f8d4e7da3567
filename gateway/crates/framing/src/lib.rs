//! The framing guard: the bytes of an HTTP/1 connection are one unambiguous message after another, or refused.
//!
//! Bytes in, verdict out: nothing here waits, copies or keeps a byte. What a lenient parser would repair (two
//! lengths, a folded field, a lone line feed) is where two programs come to see different messages in the same
//! bytes, so nothing is repaired. Start with [`request`] and [`response`] for heads and with [`body`] for what
//! follows them; every verdict is the same however the bytes were cut into reads.

mod class;
mod fault;
mod span;
mod line;
mod field;
mod host;
pub mod request;
pub mod response;
pub mod body;
mod chunks;
mod trailers;
pub mod websocket;

pub use body::{BodyFraming, BodyReader, Step};
pub use fault::Fault;
pub use field::Bounds;
pub use request::{RequestHead, RequestScanner};
pub use response::{Asked, ResponseHead, ResponseScanner};
pub use span::{Field, Span};
pub use trailers::is_trailer_allowed;
pub use websocket::FrameTracker;
