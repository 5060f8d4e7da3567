//! Nouns that every room speaks.
//!
//! Nothing here reads a clock, a file or a socket, and nothing here decides: a type belongs in this crate
//! when two rooms must agree on it. Start with [`request`] (what a room sees of a request), [`principal`]
//! (who is asking), [`rejection`] (why not) and [`problem`] (what is wrong with a configuration).

pub mod guard;
pub mod ids;
pub mod origin;
pub mod path;
pub mod principal;
pub mod problem;
pub mod reason;
pub mod redacted;
pub mod rejection;
pub mod request;
pub mod timestamp;

pub use guard::{Guard, Mode};
pub use ids::{
    ContractId, EndpointId, IssuerId, JurisdictionId, LimitId, ListenerId, PolicyId, PoolId, RegionId,
    RouteId, TrustId,
};
pub use origin::Origin;
pub use principal::{Attributes, Identity, Principal, Proof, Subject};
pub use problem::{Problem, Problems, Severity};
pub use reason::{Reason, Stage};
pub use redacted::Redacted;
pub use rejection::{Rejection, Violation};
pub use request::{Query, RequestHead, UrlScheme};
pub use spiffe::{SpiffeId, TrustDomain};
