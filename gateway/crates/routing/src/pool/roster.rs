//! A pool's endpoints as configuration and DNS have them at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_model::{EndpointId, RegionId};
use prometheus::IntCounter;

use crate::attempt::Attempt;
use crate::compile::Boards;
use crate::health::{Cell, PoolHealth, Rules};
use crate::plan::{EndpointAddress, PoolPlan, SitePlan};

/// The endpoints of all sites.
#[derive(Debug)]
pub(super) struct Roster {
    /// The address board's generation it was made from.
    pub(super) generation: u64,
    pub(super) health: Arc<PoolHealth>,
    pub(super) sites: Vec<Site>,
}

/// The endpoints of one region.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) region: RegionId,
    pub(super) members: Vec<Member>,
    /// Names without an address.
    pub(super) unresolved: Vec<Unresolved>,
    pub(super) selections: IntCounter,
    pub(super) ejections: IntCounter,
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) cell: Arc<Cell>,
    pub(super) dns: Option<Arc<str>>,
    pub(super) weight: u16,
}

impl Member {
    pub(super) fn is_among(&self, tried: &[Attempt]) -> bool {
        tried.iter().any(|attempt| attempt.endpoint == *self.cell.id())
    }
}

/// An endpoint before it is on the board: its address, name and weight.
type Draft = (SocketAddr, Option<Arc<str>>, u16);
/// A name and port without an address.
type Unresolved = (Arc<str>, u16);

impl Roster {
    /// Every address of a name is an endpoint with the name's weight. An address that stands in a site twice is one
    /// endpoint, as written first.
    pub(super) fn make(plan: &PoolPlan, boards: &Boards, epoch: u64, rules: Rules, generation: u64) -> Self {
        let health = boards.health.pool(&plan.id);
        let mut drafts = BTreeMap::new();
        for site in &plan.sites {
            drafts.insert(&site.region, draft(site, boards));
        }
        let id = |region: &RegionId, address| EndpointId {
            pool: plan.id.clone(),
            region: region.clone(),
            address,
        };
        let ids: Vec<EndpointId> = drafts
            .iter()
            .flat_map(|(region, (members, _))| members.iter().map(|(address, ..)| id(region, *address)))
            .collect();
        let mut cells = health.enrol(epoch, rules, &ids).into_iter();

        let sites = drafts.into_iter().map(|(region, (members, unresolved))| Site {
            region: region.clone(),
            members: members
                .into_iter()
                .zip(cells.by_ref())
                .map(|((_, dns, weight), cell)| Member { cell, dns, weight })
                .collect(),
            unresolved,
            selections: boards.metrics.selections(&plan.id, region),
            ejections: boards.metrics.ejections(&plan.id, region),
        });
        let sites = sites.collect();
        Self {
            generation,
            health,
            sites,
        }
    }

    pub(super) fn site(&self, region: &RegionId) -> Option<&Site> {
        self.sites.iter().find(|site| site.region == *region)
    }
}

fn draft(site: &SitePlan, boards: &Boards) -> (Vec<Draft>, Vec<Unresolved>) {
    let mut members = Vec::with_capacity(site.endpoints.len());
    let mut unresolved = Vec::new();
    let mut seen = BTreeSet::new();
    for endpoint in &site.endpoints {
        match &endpoint.address {
            EndpointAddress::Socket(address) => {
                if seen.insert(*address) {
                    members.push((*address, None, endpoint.weight));
                }
            }
            EndpointAddress::Dns { host, port } => {
                let addresses = boards.addresses.addresses(host, *port);
                if addresses.is_empty() {
                    unresolved.push((Arc::clone(host), *port));
                }
                let new = addresses.iter().filter(|address| seen.insert(**address));
                members.extend(new.map(|address| (*address, Some(Arc::clone(host)), endpoint.weight)));
            }
        }
    }
    (members, unresolved)
}
