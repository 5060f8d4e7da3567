//! Pools, their sites and endpoints, and which endpoint a request gets.

mod addresses;
mod in_flight;
mod roster;
mod select;
mod why;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use portcullis_model::{EndpointId, PoolId};

pub use addresses::{AddressBoard, NameState};
pub use in_flight::InFlight;
pub use select::{Permit, SelectQuery, Selection};
pub use why::{CandidateReason, Code, Why};

use crate::attempt::{Attempt, Budget, Reach};
use crate::compile::Boards;
use crate::health::{EndpointState, Rules};
use crate::metrics::Metrics;
use crate::plan::{HealthPlan, PoolPlan, Protocol};
use crate::residency::AllowedRegions;
use crate::steering::Preference;
use in_flight::Load;
use roster::Roster;

/// One service: its endpoints in every region, compiled.
#[derive(Debug)]
pub struct Pool {
    plan: PoolPlan,
    preference: Arc<Preference>,
    boards: Boards,
    /// Newer configurations have higher ones; see [`crate::health`].
    epoch: u64,
    budget: Arc<Budget>,
    load: Arc<Load>,
    roster: ArcSwapOption<Roster>,
}

/// An endpoint to probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProbeTarget {
    /// Which.
    pub endpoint: EndpointId,
    /// The name it was resolved from: the `Host` of a probe and the name TLS verifies.
    pub dns: Option<Arc<str>>,
}

/// What an operator sees of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointReport {
    /// Which.
    pub endpoint: EndpointId,
    /// The name it was resolved from.
    pub dns: Option<Arc<str>>,
    /// Its weight.
    pub weight: u16,
    /// Its state.
    pub state: EndpointState,
    /// The share of successes among recent attempts, and how many attempts that stands on.
    pub success: (f64, u32),
}

impl Pool {
    pub(crate) fn new(plan: PoolPlan, preference: Arc<Preference>, boards: Boards) -> Self {
        let epoch = boards.health.next_epoch();
        let budget = boards.budgets.of(&plan.id);
        let load = boards.in_flight.of(&plan.id);
        Self {
            plan,
            preference,
            boards,
            epoch,
            budget,
            load,
            roster: ArcSwapOption::empty(),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &PoolId {
        &self.plan.id
    }

    /// What it was compiled from.
    #[must_use]
    pub const fn plan(&self) -> &PoolPlan {
        &self.plan
    }

    /// What is spoken to its endpoints.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.plan.protocol
    }

    /// True when its endpoints are reached over TLS.
    #[must_use]
    pub const fn tls(&self) -> bool {
        self.plan.tls
    }

    /// How its health is found out.
    #[must_use]
    pub const fn health(&self) -> &HealthPlan {
        &self.plan.health
    }

    /// The regions it may be asked in, best first.
    #[must_use]
    pub fn preference(&self) -> &Preference {
        &self.preference
    }

    /// The endpoints to probe; none for a pool without a probe.
    #[must_use]
    pub fn probe_targets(&self) -> Vec<ProbeTarget> {
        if self.plan.health.probe.is_none() {
            return Vec::new();
        }
        let roster = self.roster();
        let members = roster.sites.iter().flat_map(|site| &site.members);
        members
            .map(|member| ProbeTarget {
                endpoint: member.cell.id().clone(),
                dns: member.dns.clone(),
            })
            .collect()
    }

    /// Every endpoint it has now.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointId> {
        let roster = self.roster();
        let members = roster.sites.iter().flat_map(|site| &site.members);
        members.map(|member| member.cell.id().clone()).collect()
    }

    /// Every endpoint with what is known of it, for listings and metrics.
    #[must_use]
    pub fn reports(&self, now: Instant) -> Vec<EndpointReport> {
        let roster = self.roster();
        let members = roster.sites.iter().flat_map(|site| &site.members);
        members
            .map(|member| {
                let machine = member.cell.lock();
                EndpointReport {
                    endpoint: member.cell.id().clone(),
                    dns: member.dns.clone(),
                    weight: member.weight,
                    state: machine.state(now),
                    success: machine.success(),
                }
            })
            .collect()
    }

    /// True once every endpoint was probed and every name was resolved once, whatever came of it: a gateway is not
    /// ready before.
    #[must_use]
    pub fn was_checked(&self) -> bool {
        let roster = self.roster();
        roster.sites.iter().all(|site| {
            site.members.iter().all(|member| member.cell.lock().was_checked())
                && site
                    .unresolved
                    .iter()
                    .all(|(host, port)| self.boards.addresses.was_asked(host, *port))
        })
    }

    /// Requests in flight to the pool through this gateway.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.load.count()
    }

    /// Second attempts that the budget holds now.
    #[must_use]
    pub fn budget_remaining(&self, now: Instant) -> f64 {
        self.budget.remaining(&self.plan.retry, now)
    }

    /// True when an endpoint that is up, allowed, within reach and not tried yet exists.
    #[must_use]
    pub fn has_usable(&self, allowed: &AllowedRegions, reach: &Reach, tried: &[Attempt]) -> bool {
        let roster = self.roster();
        self.preference
            .among(allowed)
            .filter(|region| reach.admits(region))
            .filter_map(|region| roster.site(region))
            .any(|site| {
                site.members
                    .iter()
                    .any(|member| member.cell.is_usable() && !member.is_among(tried))
            })
    }

    pub(crate) fn is_from(&self, plan: &PoolPlan, preference: &Preference, boards: &Boards) -> bool {
        self.plan == *plan && *self.preference == *preference && self.boards.are_the_same(boards)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.boards.metrics
    }

    /// The endpoints as configuration and DNS have them now.
    fn roster(&self) -> Arc<Roster> {
        let generation = self.boards.addresses.generation();
        if let Some(roster) = self.roster.load_full()
            && roster.generation == generation
        {
            return roster;
        }
        let rules = Rules::of(&self.plan.health);
        let made = Arc::new(Roster::make(
            &self.plan,
            &self.boards,
            self.epoch,
            rules,
            generation,
        ));
        self.roster.store(Some(Arc::clone(&made)));
        made
    }
}
