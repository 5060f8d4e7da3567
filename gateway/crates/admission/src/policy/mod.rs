//! May this principal do that: Rego in process, OPA-made Wasm, and built-in rules.
//!
//! Start with [`PolicyInput`] (what a policy is told, the contract with the authors in `policies/`), then
//! [`Policy`] (compiled once, asked per request), then [`authorize`] (a route's list: all must allow).
//! A decision that was made for the same facts is not made again ([`Remembering`]).
//! Everything fails closed: no decision, a wrong one, an error, a panic or a spent budget never allow.
//! Nothing here reads a file or a socket; the program and its data come with the plan.

mod authorize;
mod budget;
mod compiled;
mod decision;
mod engine;
mod fault;
mod input;
mod memory;
mod rego;
mod spiffe_pattern;
#[cfg(test)]
mod test_facts;
pub mod testing;
mod wasm;

pub use authorize::{Allowed, AuthorizeOutcome, AuthorizeRule, RuleTrace, authorize};
pub use compiled::{Ask, Policy};
pub use decision::Decision;
pub use fault::PolicyFault;
pub use input::{ClientCertificate, GatewayFacts, PolicyInput, RouteFacts};
pub use memory::{Obstacle, Recall, Remembering};
pub use spiffe_pattern::{SpiffePattern, SpiffePatternFault};
