//! What the hall is told: listeners and routes, by the names that connect the rooms, beside every room's own plan.
//!
//! A `GatewayPlan` exists only when it is valid: names resolve, units are parsed, patterns are well-formed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use crate::stages::normalize::{PathOddities, PathOddity};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use portcullis_admission::plan::{AdmissionPlan, AuthorizePlan, GuardRef};
use portcullis_identity::plan::IdentityPlan;
use portcullis_model::{ContractId, IssuerId, LimitId, ListenerId, Origin, PoolId, RouteId, TrustId};
use portcullis_routing::plan::{MatchPlan, ResidencyPlan, RetryPlan, RoutingPlan};

/// Everything that may change while the gateway runs.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayPlan {
    /// Who.
    pub identity: IdentityPlan,
    /// May it.
    pub admission: AdmissionPlan,
    /// Where.
    pub routing: RoutingPlan,
    /// The doors.
    pub listeners: Vec<ListenerPlan>,
    /// The routes, in the order written.
    pub routes: Vec<RoutePlan>,
    /// Whose `Forwarded` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Ceiling for all bodies held at once, in bytes.
    pub held_bodies: u64,
    /// The deny list's file.
    pub deny_list: Option<DenyListPlan>,
}

/// Where the deny list is; what stands in it changes on its own and is no part of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct DenyListPlan {
    /// The file.
    pub path: Arc<Path>,
    /// Where it is named.
    pub origin: Origin,
}

/// A door, without its addresses (those are fixed until restart).
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerPlan {
    /// Its name.
    pub id: ListenerId,
    /// Where it is written.
    pub origin: Origin,
    /// What it does.
    pub role: ListenerRole,
    /// True when it terminates TLS (its material is `identity`'s).
    pub tls: bool,
    /// Bounds on its connections.
    pub limits: ConnectionLimits,
    /// The `shed` stage's limits.
    pub rate_limits: Vec<GuardRef<LimitId>>,
}

/// What a listener does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenerRole {
    /// Serves routes.
    Serve,
    /// Answers 308 to the same URL over HTTPS; the port is left out when it is 443.
    RedirectToHttps {
        /// The port of the HTTPS URL.
        port: u16,
    },
}

/// Bounds on a listener's connections; every one of them is finite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// From the first byte of a head to its end.
    pub header_timeout: Duration,
    /// For the TLS handshake.
    pub handshake_timeout: Duration,
    /// Without a request.
    pub idle_timeout: Duration,
    /// Least average rate of a request body, in bytes per second.
    pub body_rate: u64,
    /// Size of one head.
    pub max_header_bytes: usize,
    /// Fields of one head.
    pub max_headers: usize,
    /// Connections of the listener.
    pub max_connections: usize,
    /// Connections of one address.
    pub per_address: usize,
    /// Handshakes of one address, per second.
    pub handshakes_per_address: u32,
    /// Requests of one connection.
    pub requests_per_connection: u32,
    /// Age at which a connection is told to go.
    pub connection_age: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_rate: 1024,
            max_header_bytes: 32 * 1024,
            max_headers: 128,
            max_connections: 100_000,
            per_address: 200,
            handshakes_per_address: 50,
            requests_per_connection: 10_000,
            connection_age: Duration::from_secs(3600),
        }
    }
}

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutePlan {
    /// Its name.
    pub id: RouteId,
    /// Where it is written.
    pub origin: Origin,
    /// What it matches.
    pub matches: MatchPlan,
    /// The listeners it stands on; never empty, every one serves routes.
    pub listeners: Vec<ListenerId>,
    /// True: openness was spelt out; `authenticate` is empty.
    pub public: bool,
    /// Schemes in order; the first credential that is present decides.
    pub authenticate: Vec<SchemePlan>,
    /// The route's limits.
    pub rate_limits: Vec<GuardRef<LimitId>>,
    /// The contract.
    pub contract: Option<GuardRef<ContractId>>,
    /// All must allow.
    pub authorize: Vec<AuthorizePlan>,
    /// What happens to an admitted request.
    pub action: ActionPlan,
    /// Its class of traffic.
    pub class: Class,
    /// Where it may be processed; `None`: anywhere.
    pub residency: Option<ResidencyPlan>,
    /// Its deadlines.
    pub timeouts: RouteTimeouts,
    /// Largest request body; `None`: unlimited streaming.
    pub body_max: Option<u64>,
    /// Second attempts.
    pub retry: RetryPlan,
    /// True when a WebSocket upgrade may pass.
    pub websocket: bool,
    /// Cross-origin rules.
    pub cors: Option<CorsPlan>,
    /// What its endpoint reads in a path the way we do; nothing by default.
    pub path_allow: PathOddities,
    /// What changes in the target and host.
    pub rewrite: RewritePlan,
    /// Fields of the outgoing request.
    pub request_fields: FieldsPlan,
    /// Fields of the answer.
    pub response_fields: FieldsPlan,
}

/// One way to prove who is asking.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemePlan {
    /// Where it is written.
    pub origin: Origin,
    /// Which.
    pub scheme: SchemeKind,
}

/// Which way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SchemeKind {
    /// A bearer token of this issuer.
    Jwt(IssuerId),
    /// A client certificate under these anchors.
    Mtls(TrustId),
}

/// What happens to an admitted request.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionPlan {
    /// It is forwarded.
    Pool(PoolId),
    /// It is answered here.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Arc<str>,
        /// `Content-Type`; `text/plain; charset=utf-8` by default.
        content_type: HeaderValue,
    },
    /// It is answered with the key set by which endpoints verify identity assertions.
    KeySet,
    /// It is sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// An absolute URL or an absolute path; sent as it is.
        to: HeaderValue,
    },
}

/// A class of traffic.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Served last to be shed.
    Critical,
    /// The rest.
    #[default]
    Default,
    /// Shed first.
    Sheddable,
}

impl Class {
    /// The word used everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Default => "default",
            Self::Sheddable => "sheddable",
        }
    }
}

/// A route's deadlines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteTimeouts {
    /// From the end of the request head to the end of the response head.
    pub request: Duration,
    /// Between bytes after it.
    pub idle: Duration,
    /// For a connection to an endpoint, with its TLS handshake.
    pub connect: Duration,
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            connect: Duration::from_secs(2),
        }
    }
}

/// Cross-origin rules (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, PartialEq)]
pub struct CorsPlan {
    /// Where it is written.
    pub origin: Origin,
    /// Exact origins; `*` alone: any, without credentials.
    pub origins: Vec<String>,
    /// Methods beyond the safelisted ones.
    pub methods: Vec<Method>,
    /// Request fields beyond the safelisted ones.
    pub headers: Vec<HeaderName>,
    /// Response fields a script may read.
    pub expose: Vec<HeaderName>,
    /// Whether credentials may be sent.
    pub credentials: bool,
    /// How long a preflight may be remembered.
    pub max_age: Duration,
}

/// What changes in the target and host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RewritePlan {
    /// Replaces the literal part of the matched prefix.
    pub prefix: Option<String>,
    /// The outgoing `Host`.
    pub host: HostRewrite,
}

/// The outgoing `Host`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HostRewrite {
    /// The client's.
    #[default]
    Keep,
    /// The endpoint's name or address.
    Pool,
    /// This one.
    Name(HeaderValue),
}

/// Fields to set and to remove.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldsPlan {
    /// Set, replacing every value there was.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}
