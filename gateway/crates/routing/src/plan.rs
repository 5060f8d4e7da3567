//! What `routing` is told: matches, regions, jurisdictions and pools.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use portcullis_model::{JurisdictionId, Origin, PoolId, RegionId};

/// Everything the room is told, apart from the matches that stand with their routes.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutingPlan {
    /// The region this gateway stands in.
    pub local: RegionId,
    /// Every region with its failover order; the local one is always here.
    pub regions: BTreeMap<RegionId, RegionPlan>,
    /// Which regions a jurisdiction has.
    pub jurisdictions: BTreeMap<JurisdictionId, Vec<RegionId>>,
    /// Every pool.
    pub pools: Vec<PoolPlan>,
}

/// A region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionPlan {
    /// Where it is written.
    pub origin: Origin,
    /// Where its traffic goes when it cannot serve, nearest first; a region that is not listed is never used.
    pub failover: Vec<RegionId>,
}

/// What a route matches; everything given must match.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchPlan {
    /// Where it is written.
    pub origin: Origin,
    /// Exact hosts or `*.example.com`; empty: any host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// The methods; empty: any. `HEAD` is allowed where `GET` is.
    pub methods: Vec<Method>,
    /// Fields that must be there.
    pub headers: Vec<(HeaderName, ValuePattern)>,
    /// Query parameters that must be there.
    pub query: Vec<(String, ValuePattern)>,
}

/// A host a route serves.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum HostPattern {
    /// This host, in canonical form.
    Exact(String),
    /// `*.example.com` as `example.com`: one or more labels before it.
    Wildcard(String),
}

/// A path a route serves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PathPattern {
    /// Segments, canonical; `/a/**` matches `/a` and everything below it.
    Segments {
        /// The segments in order.
        segments: Vec<SegmentPattern>,
        /// True with a final `**`.
        prefix: bool,
    },
    /// An anchored regular expression over the canonical path.
    Regex(String),
}

/// One segment of a path pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SegmentPattern {
    /// This segment, canonical.
    Literal(String),
    /// `*` or `{name}`: any one non-empty segment.
    Any(Option<Arc<str>>),
}

/// A value that must be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ValuePattern {
    /// Exactly this.
    Exact(String),
    /// `*`: any value.
    Present,
    /// An anchored regular expression.
    Regex(String),
}

/// One service: its endpoints in every region.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolPlan {
    /// Its name.
    pub id: PoolId,
    /// Where it is written.
    pub origin: Origin,
    /// Its sites.
    pub sites: Vec<SitePlan>,
    /// What is spoken to the endpoints.
    pub protocol: Protocol,
    /// Whether endpoints are reached over TLS (the material is `identity`'s).
    pub tls: bool,
    /// How health is found out.
    pub health: HealthPlan,
    /// Bounds on the pool, per gateway.
    pub limits: PoolLimits,
    /// How many second attempts it may be asked for.
    pub retry: RetryBudgetPlan,
}

/// A pool's endpoints in one region.
#[derive(Clone, Debug, PartialEq)]
pub struct SitePlan {
    /// The region.
    pub region: RegionId,
    /// Where it is written.
    pub origin: Origin,
    /// The endpoints; never empty.
    pub endpoints: Vec<EndpointPlan>,
    /// Requests per second inside the SLO; kept for the steering plan.
    pub capacity_per_second: Option<u32>,
}

/// One endpoint, or a name that stands for several.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointPlan {
    /// Where it is written.
    pub origin: Origin,
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share among its site's endpoints, 1 to 1,000; default 100.
    pub weight: u16,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum EndpointAddress {
    /// An address and port.
    Socket(SocketAddr),
    /// A name that is resolved while running; every address it gives is an endpoint.
    Dns {
        /// The name, lower case.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// Under TLS the client's own protocol as far as ALPN allows, in plaintext HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    H1,
    /// HTTP/2 only; in plaintext with prior knowledge.
    H2,
}

/// How a pool's health is found out.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthPlan {
    /// The probe; `None`: endpoints are up until passive evidence says otherwise.
    pub probe: Option<ProbePlan>,
    /// Between probes; jittered by 20 %.
    pub interval: Duration,
    /// For one probe.
    pub timeout: Duration,
    /// Failures in a row that take an endpoint down.
    pub fall: u8,
    /// Passes in a row that bring it up; the first pass alone makes a new endpoint usable.
    pub rise: u8,
}

impl Default for HealthPlan {
    fn default() -> Self {
        Self {
            probe: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            fall: 2,
            rise: 2,
        }
    }
}

/// What a probe does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ProbePlan {
    /// `GET` of this path; any 2xx passes.
    Http {
        /// The path.
        path: String,
    },
    /// A connection, with the TLS handshake where the pool has TLS.
    Tcp,
}

/// Bounds on a pool, per gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolLimits {
    /// Requests in flight to the pool; one more is refused with `pool-full`.
    pub connections: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { connections: 2_048 }
    }
}

/// How many second attempts a pool may be asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudgetPlan {
    /// In hundredths of a percent of the requests.
    pub share: u16,
    /// And so many per second beside.
    pub min_per_second: u32,
}

impl Default for RetryBudgetPlan {
    fn default() -> Self {
        Self {
            share: 1_000,
            min_per_second: 10,
        }
    }
}

/// How a route makes second attempts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPlan {
    /// Attempts beyond the first that are paid for, 0 to 2; an attempt that was not processed is free.
    pub attempts: u8,
    /// How far a second attempt may go.
    pub scope: RetryScope,
}

impl Default for RetryPlan {
    fn default() -> Self {
        Self {
            attempts: 1,
            scope: RetryScope::Any,
        }
    }
}

/// How far a second attempt may go.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RetryScope {
    /// Another endpoint of the same region.
    Region,
    /// Any allowed region.
    #[default]
    Any,
}

/// Where a request may be processed.
#[derive(Clone, Debug, PartialEq)]
pub struct ResidencyPlan {
    /// Where it is written.
    pub origin: Origin,
    /// Whether the verified identity says it; without it `default` always holds.
    pub from: Option<ResidencySource>,
    /// The jurisdictions when the identity says nothing; empty: a request without a value is refused.
    pub default: Vec<JurisdictionId>,
}

/// What of the verified identity says where a request may be processed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ResidencySource {
    /// `claim.region`: the principal's `region` attribute, a jurisdiction's name.
    Region,
    /// `claim.<path>` for any other claim.
    Claim(Vec<Arc<str>>),
}
