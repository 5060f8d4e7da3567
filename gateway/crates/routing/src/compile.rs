//! From the plan to what answers requests, reusing every pool that did not change.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use portcullis_model::{EndpointId, PoolId, Problems, RegionId};
use prometheus::{Error, Registry};

use crate::attempt::RetryBudgets;
use crate::health::HealthBoard;
use crate::metrics::Metrics;
use crate::plan::{EndpointAddress, ResidencyPlan, RoutingPlan};
use crate::pool::{AddressBoard, InFlight, Pool};
use crate::residency::{Jurisdictions, Residency};
use crate::steering::Preference;

/// What outlives reloads: evidence and counters, no configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Boards {
    /// The health of every endpoint.
    pub health: Arc<HealthBoard>,
    /// What DNS answered.
    pub addresses: Arc<AddressBoard>,
    /// What second attempts may cost.
    pub budgets: Arc<RetryBudgets>,
    /// How many requests are in flight to each pool.
    pub in_flight: Arc<InFlight>,
    /// What the room counts.
    pub metrics: Arc<Metrics>,
}

impl Boards {
    /// Empty boards, with the room's metrics registered.
    ///
    /// # Errors
    /// When the registry already has the room's metrics.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            health: Arc::new(HealthBoard::new()),
            addresses: Arc::new(AddressBoard::new()),
            budgets: Arc::new(RetryBudgets::new()),
            in_flight: Arc::new(InFlight::new()),
            metrics: Arc::new(Metrics::register(registry)?),
        })
    }

    pub(crate) fn are_the_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.health, &other.health)
            && Arc::ptr_eq(&self.addresses, &other.addresses)
            && Arc::ptr_eq(&self.budgets, &other.budgets)
            && Arc::ptr_eq(&self.in_flight, &other.in_flight)
            && Arc::ptr_eq(&self.metrics, &other.metrics)
    }
}

/// The room, compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RoutingRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    local: RegionId,
    pools: BTreeMap<PoolId, Arc<Pool>>,
    jurisdictions: Jurisdictions,
    boards: Boards,
}

/// Compiles a plan. A pool whose plan and order of regions are those of `previous` is the same pool afterwards.
///
/// Nothing here touches the evidence on the boards: a plan that is refused, or only checked, leaves no trace.
///
/// # Errors
/// Every problem of the plan, when one of them is an error.
pub fn compile(
    plan: &RoutingPlan,
    previous: Option<&RoutingRuntime>,
    boards: &Boards,
) -> Result<(RoutingRuntime, Problems), Problems> {
    let problems = check::problems_of(plan);
    if problems.has_errors() {
        return Err(problems);
    }
    let preference = Arc::new(Preference::of(&plan.regions, &plan.local));
    let jurisdictions = plan.jurisdictions.iter().map(|(id, regions)| {
        (
            id.clone(),
            Arc::new(regions.iter().cloned().collect::<BTreeSet<_>>()),
        )
    });
    let pool = |plan: &crate::plan::PoolPlan| {
        let same = previous
            .and_then(|runtime| runtime.pool(&plan.id))
            .filter(|pool| pool.is_from(plan, &preference, boards));
        same.unwrap_or_else(|| Arc::new(Pool::new(plan.clone(), Arc::clone(&preference), boards.clone())))
    };
    let inner = Inner {
        local: plan.local.clone(),
        pools: plan
            .pools
            .iter()
            .map(|plan| (plan.id.clone(), pool(plan)))
            .collect(),
        jurisdictions: Arc::new(jurisdictions.collect()),
        boards: boards.clone(),
    };
    problems.into_result(RoutingRuntime {
        inner: Arc::new(inner),
    })
}

impl RoutingRuntime {
    /// A pool by its name.
    #[must_use]
    pub fn pool(&self, id: &PoolId) -> Option<Arc<Pool>> {
        self.inner.pools.get(id).cloned()
    }

    /// All pools, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.inner.pools.values()
    }

    /// The region this gateway stands in.
    #[must_use]
    pub fn local(&self) -> &RegionId {
        &self.inner.local
    }

    /// The names to resolve, each once.
    #[must_use]
    pub fn dns_names(&self) -> Vec<(Arc<str>, u16)> {
        let endpoints = self
            .pools()
            .flat_map(|pool| &pool.plan().sites)
            .flat_map(|site| &site.endpoints);
        let names: BTreeSet<(Arc<str>, u16)> = endpoints
            .filter_map(|endpoint| match &endpoint.address {
                EndpointAddress::Dns { host, port } => Some((Arc::clone(host), *port)),
                EndpointAddress::Socket(_) => None,
            })
            .collect();
        names.into_iter().collect()
    }

    /// A route's residency rule, compiled against the jurisdictions of this runtime.
    #[must_use]
    pub fn residency(&self, plan: &ResidencyPlan) -> Residency {
        Residency::compile(plan, &self.inner.jurisdictions)
    }

    /// True once every pool was checked: probed and resolved once, whatever came of it.
    #[must_use]
    pub fn was_checked(&self) -> bool {
        self.pools().all(|pool| pool.was_checked())
    }

    /// Forgets on the boards what this runtime does not have and nobody holds any more; called from time to time
    /// with the published runtime.
    pub fn sweep(&self) {
        let boards = &self.inner.boards;
        let pools: BTreeSet<PoolId> = self.inner.pools.keys().cloned().collect();
        let endpoints: BTreeSet<EndpointId> = self.pools().flat_map(|pool| pool.endpoints()).collect();
        boards.health.sweep(&endpoints);
        boards.addresses.sweep(&self.dns_names().into_iter().collect());
        boards.budgets.sweep(&pools);
        boards.in_flight.sweep(&pools);
    }

    /// Brings the room's gauges up to date; called before each export.
    pub fn refresh_metrics(&self, now: Instant) {
        self.inner.boards.metrics.refresh(self.inner.pools.values(), now);
    }
}

#[cfg(test)]
mod tests;
