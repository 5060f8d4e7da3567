//! Newtypes for the names that connect things, so that a pool's name can never stand where a route's should.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id for a name as it stands in the configuration.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
    )+};
}

name_id! {
    /// A listener by its name under `listeners`.
    ListenerId,
    /// A route by its `name`.
    RouteId,
    /// A pool by its name under `pools`.
    PoolId,
    /// A region by its name under `regions`.
    RegionId,
    /// A jurisdiction by its name under `jurisdictions`.
    JurisdictionId,
    /// A token issuer by its name under `issuers`.
    IssuerId,
    /// A set of trust anchors by its name under `trust`.
    TrustId,
    /// A contract by its name under `contracts`.
    ContractId,
    /// A policy by its name under `policies`.
    PolicyId,
    /// A rate limit by its name under `rate_limits`.
    LimitId,
}

/// One address of one pool in one region: the unit that is probed, ejected and picked.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct EndpointId {
    /// The pool it serves.
    pub pool: PoolId,
    /// The region it stands in.
    pub region: RegionId,
    /// Where it listens.
    pub address: SocketAddr,
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pool, self.region, self.address)
    }
}
