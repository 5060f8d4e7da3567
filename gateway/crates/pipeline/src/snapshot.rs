//! Everything a request may read, immutable and swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode};
use portcullis_admission::AdmissionRuntime;
use portcullis_admission::contract::Contract;
use portcullis_admission::limit::LimitRef;
use portcullis_admission::plan::UnknownOperations;
use portcullis_admission::policy::AuthorizeRule;
use portcullis_identity::{Authenticator, Forwarding, IdentityRuntime, UpstreamTls};
use portcullis_model::{ContractId, Guard, ListenerId, Origin, PoolId, RouteId};
use portcullis_routing::RoutingRuntime;
use portcullis_routing::pool::Pool;
use portcullis_routing::residency::Residency;
use portcullis_routing::route_table::RouteTable;

use crate::plan::{ConnectionLimits, GatewayPlan, ListenerRole, RoutePlan};

/// One compiled configuration.
pub struct Snapshot {
    /// A short hash of everything that was read.
    pub revision: Arc<str>,
    /// What it was compiled from.
    pub plan: Arc<GatewayPlan>,
    /// The doors.
    pub listeners: BTreeMap<ListenerId, ListenerBundle>,
    /// Who.
    pub identity: IdentityRuntime,
    /// May it.
    pub admission: AdmissionRuntime,
    /// Where.
    pub routing: RoutingRuntime,
    /// Every route, in the order written.
    pub routes: Vec<Arc<RouteBundle>>,
}

impl Snapshot {
    /// A listener's bundle.
    #[must_use]
    pub fn listener(&self, id: &ListenerId) -> Option<&ListenerBundle> {
        self.listeners.get(id)
    }

    /// A route by its name.
    #[must_use]
    pub fn route(&self, id: &RouteId) -> Option<&Arc<RouteBundle>> {
        self.routes.iter().find(|route| route.plan.id == *id)
    }

    /// A pool by its name.
    #[must_use]
    pub fn pool(&self, id: &PoolId) -> Option<Arc<Pool>> {
        self.routing.pool(id)
    }
}

/// What a door needs while running.
pub struct ListenerBundle {
    /// What it does.
    pub role: ListenerRole,
    /// Bounds on its connections.
    pub limits: ConnectionLimits,
    /// The `shed` stage's limits.
    pub rate_limits: Vec<LimitRef>,
    /// Its routes.
    pub routes: RouteTable<Arc<RouteBundle>>,
}

/// One route, ready to serve.
pub struct RouteBundle {
    /// What it was compiled from.
    pub plan: RoutePlan,
    /// `None` on a public route.
    pub authenticator: Option<Authenticator>,
    /// Limits that need no principal; they run before it is asked for.
    pub early_limits: Vec<LimitRef>,
    /// Limits that need one.
    pub limits: Vec<LimitRef>,
    /// The contract.
    pub contract: Option<ContractBundle>,
    /// All must allow.
    pub authorize: Vec<AuthorizeRule>,
    /// True when a policy is among the rules: the others need no more than the principal.
    pub asks_policy: bool,
    /// True when a policy of the route reads the body.
    pub reads_body: bool,
    /// Where it may be processed.
    pub residency: Option<Residency>,
    /// What happens to an admitted request.
    pub action: Action,
}

/// A route's contract.
pub struct ContractBundle {
    /// Its name.
    pub id: ContractId,
    /// The compiled document.
    pub contract: Arc<Contract>,
    /// The definition's mode narrowed by the reference.
    pub guard: Guard,
    /// Where the reference is written.
    pub origin: Origin,
    /// What happens to an operation that the document does not have.
    pub unknown_operations: UnknownOperations,
}

/// What happens to an admitted request.
pub enum Action {
    /// It is forwarded.
    Forward {
        /// To one of these endpoints.
        pool: Arc<Pool>,
        /// Over this TLS; `None` in plaintext.
        tls: Option<Arc<UpstreamTls>>,
        /// What its endpoints are told of the principal; `None`: nothing.
        forwarding: Option<Arc<Forwarding>>,
    },
    /// It is answered with the key set by which endpoints verify what they are told.
    KeySet,
    /// It is answered here.
    Answer {
        /// The status.
        status: StatusCode,
        /// The fields.
        headers: HeaderMap,
        /// The body.
        body: bytes::Bytes,
    },
}

impl Action {
    /// The TLS toward the endpoints that it forwards to.
    #[must_use]
    pub const fn tls(&self) -> Option<&Arc<UpstreamTls>> {
        match self {
            Self::Forward { tls, .. } => tls.as_ref(),
            Self::KeySet | Self::Answer { .. } => None,
        }
    }
}

/// The one place where a new configuration takes over: one atomic swap.
pub struct SnapshotStore {
    current: ArcSwap<Snapshot>,
}

impl SnapshotStore {
    /// A store that serves this snapshot.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
        }
    }

    /// The snapshot of now; a request calls this once.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Publishes another snapshot; requests under way finish on theirs.
    pub fn publish(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
    }
}
