//! What may be asked: the operations of an OpenAPI 3.0 or 3.1 document, compiled once.
//!
//! Whatever a document says about a request is enforced, or it is a problem when the document is loaded; annotations
//! (`callbacks`, `links`, `responses`, `security`, `deprecated`, …) say nothing about which requests fit. Violations
//! name a place and what the contract asks for there, never what was sent.
//!
//! Start with [`Contract::operation`], then [`Operation::validate_head`] and [`BodyGate`].

mod body;
mod coerce;
mod compile;
mod compile_body;
mod compile_parameter;
mod dialect;
mod document;
mod json;
mod lookup;
mod media;
mod operation;
mod parameter;
mod schema;
mod shape;
mod teller;
mod template;
#[cfg(test)]
mod tests;
mod translate;
mod violation;

pub use body::{BodyGate, HeldBody};
pub use json::{MAX_DEPTH, MAX_VALUES, parse_strict};
pub use lookup::{Contract, Lookup, OperationMatch};
pub use operation::{BodyNeed, Operation, PathParams};
pub use violation::MAX_VIOLATIONS;
