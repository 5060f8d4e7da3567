//! `regions`, `jurisdictions` and `pools`.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{JurisdictionId, Origin, PoolId, RegionId};
use portcullis_routing::plan::{
    EndpointAddress, EndpointPlan, HealthPlan, PoolLimits, PoolPlan, ProbePlan, Protocol, RegionPlan,
    RetryBudgetPlan, RoutingPlan, SitePlan,
};

use super::Resolver;
use crate::file::GatewayFile;
use crate::file::guards::exactly_one;
use crate::file::regions::{Endpoint, Health, Pool, Probe};
use crate::file::section::{At, Key, List, entries, items};
use crate::file::units::Whole;
use crate::link;

/// A fall or rise of the file as the plan's number; the reader has bounded it.
fn small(key: &Key<Whole<1, 100>>, default: u8) -> u8 {
    key.get()
        .and_then(|number| u8::try_from(number.0).ok())
        .unwrap_or(default)
}

/// Endpoints without a weight of their own share alike.
const DEFAULT_WEIGHT: u16 = 100;

pub(super) fn plan(file: &GatewayFile, local: &RegionId, resolver: &mut Resolver<'_, '_>) -> RoutingPlan {
    let mut regions: BTreeMap<RegionId, RegionPlan> = link::region_names(file)
        .map(|name| (RegionId::from(name.value.as_str()), RegionPlan::default()))
        .collect();
    regions.entry(local.clone()).or_default();
    for entry in entries(&file.regions) {
        let Some(region) = entry.value.get() else { continue };
        let failover = items(&region.failover)
            .map(|name| RegionId::from(name.value.as_str()))
            .collect();
        let plan = RegionPlan {
            origin: entry.name.origin.clone(),
            failover,
        };
        regions.insert(RegionId::from(entry.name.value.as_str()), plan);
    }
    RoutingPlan {
        local: local.clone(),
        regions,
        jurisdictions: entries(&file.jurisdictions)
            .filter_map(|entry| {
                let regions = entry
                    .value
                    .get()?
                    .iter()
                    .map(|name| RegionId::from(name.value.as_str()));
                Some((JurisdictionId::from(entry.name.value.as_str()), regions.collect()))
            })
            .collect(),
        pools: entries(&file.pools)
            .filter_map(|entry| pool(&entry.name, entry.value.get()?, local, resolver))
            .collect(),
    }
}

fn pool(
    name: &At<String>,
    pool: &Pool,
    local: &RegionId,
    resolver: &mut Resolver<'_, '_>,
) -> Option<PoolPlan> {
    let health = pool
        .health
        .at()
        .map_or_else(HealthPlan::default, |at| health(&at.value, &at.origin, resolver));
    let limits = PoolLimits::default();
    let connections = pool.limits.get().and_then(|bounds| bounds.connections.get());
    let budget = RetryBudgetPlan::default();
    let retry = pool.retry.get().map_or(budget, |retry| RetryBudgetPlan {
        share: retry.budget.get().map_or(budget.share, |share| share.0),
        min_per_second: bounded(
            retry.min_per_second.get().map(|count| count.0),
            budget.min_per_second,
        ),
    });
    let sites = sites(name, pool, local, resolver)?;
    Some(PoolPlan {
        id: PoolId::from(name.value.as_str()),
        origin: name.origin.clone(),
        sites,
        protocol: pool.protocol.or(Protocol::Auto),
        tls: !pool.tls.is_absent(),
        health,
        limits: PoolLimits {
            connections: bounded(connections.map(|count| count.0), limits.connections),
        },
        retry,
    })
}

fn bounded(number: Option<u64>, default: u32) -> u32 {
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(default)
}

fn sites(
    name: &At<String>,
    pool: &Pool,
    local: &RegionId,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Vec<SitePlan>> {
    let written = [
        ("endpoints", !pool.endpoints.is_absent()),
        ("sites", !pool.sites.is_absent()),
    ];
    exactly_one(&written, pool.has_refused_keys, &name.origin, resolver.problems)?;
    if let Some(endpoints) = pool.endpoints.at() {
        let endpoints_plan = self::endpoints(endpoints, resolver);
        return Some(vec![SitePlan {
            region: local.clone(),
            origin: endpoints.origin.clone(),
            endpoints: endpoints_plan,
            capacity_per_second: None,
        }]);
    }
    let at = pool.sites.at()?;
    if at.value.0.is_empty() {
        resolver.error("bad-value", &at.origin, "the pool has no site");
    }
    let mut sites = Vec::new();
    for entry in entries(&pool.sites) {
        let Some(site) = entry.value.get() else { continue };
        let Some(endpoints) = site.endpoints.at() else {
            continue;
        };
        let endpoints = self::endpoints(endpoints, resolver);
        let region = RegionId::from(entry.name.value.as_str());
        let origin = entry.name.origin.clone();
        sites.push(SitePlan {
            region,
            origin,
            endpoints,
            capacity_per_second: None,
        });
    }
    Some(sites)
}

fn endpoints(list: &At<List<Endpoint>>, resolver: &mut Resolver<'_, '_>) -> Vec<EndpointPlan> {
    if list.value.items.is_empty() && !list.value.broken {
        resolver.error("bad-value", &list.origin, "there is no endpoint");
    }
    let mut plans: Vec<EndpointPlan> = Vec::new();
    for At {
        value: endpoint,
        origin,
    } in list.value.iter()
    {
        let Some(address) = address(endpoint, origin, resolver) else {
            continue;
        };
        if let Some(first) = plans.iter().find(|plan| plan.address == address) {
            let message = "the endpoint stands here twice";
            let hint = format!(
                "the first one is on line {}; give one of them a weight instead",
                first.origin.line
            );
            resolver.error_with_hint("duplicate-endpoint", origin, message, hint);
            continue;
        }
        let weight = endpoint
            .weight
            .get()
            .and_then(|weight| u16::try_from(weight.0).ok());
        plans.push(EndpointPlan {
            origin: origin.clone(),
            address,
            weight: weight.unwrap_or(DEFAULT_WEIGHT),
        });
    }
    plans
}

fn address(endpoint: &Endpoint, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> Option<EndpointAddress> {
    let written = [
        ("address", !endpoint.address.is_absent()),
        ("dns", !endpoint.dns.is_absent()),
    ];
    exactly_one(&written, endpoint.has_refused_keys, origin, resolver.problems)?;
    if let Some(dns) = endpoint.dns.get() {
        return Some(EndpointAddress::Dns {
            host: Arc::from(dns.host.as_str()),
            port: dns.port,
        });
    }
    let address = endpoint.address.at()?;
    if address.value.port() == 0 || address.value.ip().is_unspecified() {
        let message = format!("nothing can be reached at {}", address.value);
        resolver.error("bad-value", &address.origin, message);
        return None;
    }
    Some(EndpointAddress::Socket(address.value))
}

fn health(health: &Health, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> HealthPlan {
    let default = HealthPlan::default();
    let plan = HealthPlan {
        probe: health
            .probe
            .at()
            .and_then(|at| probe(&at.value, &at.origin, resolver)),
        interval: health.interval.get().map_or(default.interval, |period| period.0),
        timeout: health.timeout.get().map_or(default.timeout, |period| period.0),
        fall: small(&health.fall, default.fall),
        rise: small(&health.rise, default.rise),
    };
    if health.probe.is_absent() && !health.has_refused_keys {
        let message = "without a `probe` the other keys of `health` do nothing";
        resolver.error_with_hint("missing-key", origin, message, "add `probe: { http: /healthz }`");
    }
    if plan.timeout > plan.interval {
        let origin = health.timeout.at().map_or(origin, |at| &at.origin);
        resolver.error(
            "out-of-range",
            origin,
            "the timeout of a probe is longer than its interval",
        );
    }
    plan
}

fn probe(probe: &Probe, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> Option<ProbePlan> {
    let written = [("http", !probe.http.is_absent()), ("tcp", !probe.tcp.is_absent())];
    exactly_one(&written, probe.has_refused_keys, origin, resolver.problems)?;
    if let Some(path) = probe.http.at() {
        let is_path = path.value.starts_with('/') && path.value.parse::<http::uri::PathAndQuery>().is_ok();
        if !is_path {
            let message = format!("{:?} is not the path of a probe", path.value);
            resolver.error_with_hint("bad-value", &path.origin, message, "write one like /healthz");
            return None;
        }
        return Some(ProbePlan::Http {
            path: path.value.clone(),
        });
    }
    let tcp = probe.tcp.at()?;
    if !tcp.value {
        resolver.error_with_hint(
            "bad-value",
            &tcp.origin,
            "`tcp: false` is no probe",
            "leave `probe` out instead",
        );
        return None;
    }
    Some(ProbePlan::Tcp)
}
