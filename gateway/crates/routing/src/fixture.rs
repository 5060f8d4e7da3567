//! A small fleet for tests: eu (two endpoints), us and ap (one each); eu fails over to us, then ap.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use portcullis_model::{JurisdictionId, Origin, PoolId, RegionId, Rejection};
use prometheus::Registry;

use crate::attempt::{Attempt, Failure, Outcome, Reach};
use crate::compile::{Boards, RoutingRuntime, compile};
use crate::plan::{
    EndpointAddress, EndpointPlan, HealthPlan, PoolLimits, PoolPlan, ProbePlan, Protocol, RegionPlan,
    RetryBudgetPlan, RoutingPlan, SitePlan,
};
use crate::pool::{Pool, SelectQuery, Selection};
use crate::residency::AllowedRegions;

pub(crate) const EU_1: &str = "10.0.0.1:80";
pub(crate) const EU_2: &str = "10.0.0.2:80";
pub(crate) const US: &str = "10.1.0.1:80";
pub(crate) const AP: &str = "10.2.0.1:80";

pub(crate) fn site(region: &str, addresses: &[&str]) -> SitePlan {
    let endpoint = |address: &&str| EndpointPlan {
        origin: Origin::of(format!("endpoint {address}")),
        address: address.parse().map_or_else(
            |_| {
                let (host, port) = address.rsplit_once(':').unwrap();
                EndpointAddress::Dns {
                    host: Arc::from(host),
                    port: port.parse().unwrap(),
                }
            },
            EndpointAddress::Socket,
        ),
        weight: 100,
    };
    SitePlan {
        region: RegionId::from(region),
        origin: Origin::of(format!("site {region}")),
        endpoints: addresses.iter().map(endpoint).collect(),
        capacity_per_second: None,
    }
}

pub(crate) fn pool_plan(sites: Vec<SitePlan>) -> PoolPlan {
    PoolPlan {
        id: PoolId::from("orders"),
        origin: Origin::of("pools.orders"),
        sites,
        protocol: Protocol::Auto,
        tls: false,
        health: HealthPlan::default(),
        limits: PoolLimits::default(),
        retry: RetryBudgetPlan::default(),
    }
}

pub(crate) fn probed(mut plan: PoolPlan) -> PoolPlan {
    plan.health.probe = Some(ProbePlan::Tcp);
    plan
}

pub(crate) fn three_regions() -> PoolPlan {
    pool_plan(vec![
        site("ap", &[AP]),
        site("us", &[US]),
        site("eu", &[EU_1, EU_2]),
    ])
}

pub(crate) fn plan(pools: Vec<PoolPlan>) -> RoutingPlan {
    let region = |failover: &[&str]| RegionPlan {
        origin: Origin::of("regions"),
        failover: failover.iter().copied().map(RegionId::from).collect(),
    };
    RoutingPlan {
        local: RegionId::from("eu"),
        regions: BTreeMap::from([
            (RegionId::from("eu"), region(&["us", "ap"])),
            (RegionId::from("us"), region(&["eu"])),
            (RegionId::from("ap"), region(&[])),
        ]),
        jurisdictions: BTreeMap::from([
            (JurisdictionId::from("EU"), vec![RegionId::from("eu")]),
            (JurisdictionId::from("US"), vec![RegionId::from("us")]),
        ]),
        pools,
    }
}

pub(crate) fn boards() -> Boards {
    Boards::new(&Registry::new()).unwrap()
}

pub(crate) fn only(regions: &[&str]) -> AllowedRegions {
    let regions: BTreeSet<RegionId> = regions.iter().copied().map(RegionId::from).collect();
    AllowedRegions::Only(Arc::new(regions))
}

pub(crate) fn attempt(region: &str, address: &str, failure: Failure) -> Attempt {
    let address: SocketAddr = address.parse().unwrap();
    let endpoint = portcullis_model::EndpointId {
        pool: PoolId::from("orders"),
        region: RegionId::from(region),
        address,
    };
    Attempt { endpoint, failure }
}

/// A pool with boards of its own, and a way to ask it.
pub(crate) struct Bench {
    pub(crate) runtime: RoutingRuntime,
    pub(crate) boards: Boards,
    pub(crate) now: Instant,
}

impl Bench {
    pub(crate) fn new(pool: PoolPlan) -> Self {
        let boards = boards();
        let runtime = compile(&plan(vec![pool]), None, &boards).unwrap().0;
        Self {
            runtime,
            boards,
            now: Instant::now(),
        }
    }

    pub(crate) fn pool(&self) -> Arc<Pool> {
        self.runtime.pool(&PoolId::from("orders")).unwrap()
    }

    pub(crate) fn select(&self, roll: u64) -> Result<Selection, Rejection> {
        self.select_within(&AllowedRegions::All, &[], &Reach::Anywhere, roll)
    }

    pub(crate) fn select_in(&self, allowed: &AllowedRegions) -> Result<Selection, Rejection> {
        self.select_within(allowed, &[], &Reach::Anywhere, 0)
    }

    pub(crate) fn select_within(
        &self,
        allowed: &AllowedRegions,
        tried: &[Attempt],
        reach: &Reach,
        roll: u64,
    ) -> Result<Selection, Rejection> {
        self.pool().select(&SelectQuery {
            allowed,
            tried,
            reach,
            roll,
            now: self.now,
            assume_healthy: false,
        })
    }

    pub(crate) fn addresses(&self, rolls: impl Iterator<Item = u64>) -> BTreeSet<String> {
        rolls
            .map(|roll| self.select(roll).unwrap().endpoint.address.to_string())
            .collect()
    }

    pub(crate) fn probe(&self, address: &str, passes: bool) {
        let result = if passes { Ok(()) } else { Err("refused".to_owned()) };
        self.boards
            .health
            .record_probe(&self.endpoint(address), result, self.now);
    }

    /// Lets requests to an endpoint fail until it is ejected.
    pub(crate) fn eject(&self, address: &str) {
        let endpoint = self.endpoint(address);
        for _ in 0..3 {
            let reset = Outcome::Transport(crate::attempt::TransportKind::Reset);
            self.boards.health.record_attempt(&endpoint, reset, self.now);
        }
    }

    fn endpoint(&self, address: &str) -> portcullis_model::EndpointId {
        let mut endpoints = self.pool().endpoints().into_iter();
        endpoints
            .find(|endpoint| endpoint.address.to_string() == address)
            .unwrap()
    }
}
