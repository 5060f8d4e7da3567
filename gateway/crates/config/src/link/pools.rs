//! Pools: plaintext, identities, and whether traffic of this region can get there at all.

use portcullis_model::{Origin, Problem, Problems, RegionId};

use super::{has_workload_api, is_written};
use crate::file::GatewayFile;
use crate::file::regions::{Endpoint, Pool};
use crate::file::section::{At, entries, items};

pub(super) fn check(file: &GatewayFile, local: Option<&RegionId>, problems: &mut Problems) {
    let svid = file.identity.get().and_then(|own| own.svid.at());
    if let (true, Some(own)) = (has_workload_api(file), svid) {
        let message = "our identity comes from the Workload API, so this one would never be shown";
        let problem = Problem::error("conflicting-keys", &own.origin, message);
        problems.push(problem.with_hint("remove `identity.svid`, or `gateway.workload_api`"));
    }
    for entry in entries(&file.pools) {
        let Some(pool) = entry.value.get() else { continue };
        plaintext(pool, &entry.name, problems);
        identity(file, pool, problems);
        sites(file, pool, &entry.name, local, problems);
    }
}

fn endpoints(pool: &Pool) -> impl Iterator<Item = &At<Endpoint>> {
    let sites = entries(&pool.sites).filter_map(|site| site.value.get());
    items(&pool.endpoints).chain(sites.flat_map(|site| items(&site.endpoints)))
}

/// Where an endpoint outside loopback stands, for the problem about it.
fn outside_loopback(endpoint: &Endpoint) -> Option<(String, &Origin)> {
    if let Some(at) = endpoint.address.at() {
        return (!at.value.ip().is_loopback()).then(|| (at.value.to_string(), &at.origin));
    }
    let at = endpoint.dns.at()?;
    let is_loopback = at.value.host == "localhost" || at.value.host.ends_with(".localhost");
    (!is_loopback).then(|| (format!("{}:{}", at.value.host, at.value.port), &at.origin))
}

fn plaintext(pool: &Pool, name: &At<String>, problems: &mut Problems) {
    if is_written(&pool.tls) {
        if let Some(At { value: true, origin }) = pool.danger_plaintext.at() {
            let message = "`danger_plaintext` does nothing here: the pool has `tls`";
            problems.push(Problem::warning("unused", origin, message));
        }
        return;
    }
    if pool.danger_plaintext.or(false) {
        return;
    }
    for (endpoint, origin) in endpoints(pool).filter_map(|at| outside_loopback(&at.value)) {
        let message = format!(
            "pool {:?} would send plaintext to {endpoint}, outside loopback",
            name.value
        );
        let hint = "give the pool `tls`, or write `danger_plaintext: true`";
        problems.push(Problem::error("plaintext", origin, message).with_hint(hint));
    }
}

fn identity(file: &GatewayFile, pool: &Pool, problems: &mut Problems) {
    let Some(expected) = pool.tls.get().and_then(|tls| tls.expect.at()) else {
        return;
    };
    if has_workload_api(file) {
        return;
    }
    let has_svid = file.identity.get().is_some_and(|own| is_written(&own.svid));
    if !has_svid && !matches!(&file.identity, crate::file::section::Key::Broken) {
        let message = "`expect` is mTLS, and the gateway has no identity of its own";
        let hint =
            "add `identity: { svid: { chain: …, key: … } }`, or `gateway: { workload_api: unix:///… }`";
        problems.push(Problem::error("missing-identity", &expected.origin, message).with_hint(hint));
    }
    let domain = expected.value.trust_domain();
    let has_bundle = entries(&file.trust)
        .filter_map(|entry| entry.value.get())
        .filter(|trust| is_written(&trust.pem) || is_written(&trust.bundle))
        .any(|trust| trust.spiffe.get().is_some_and(|named| named == domain));
    if !has_bundle {
        let message = format!("nobody gives the trust bundle of {domain}, by which `expect` is verified");
        let hint = format!("add `trust: {{ …: {{ spiffe: {domain}, pem: … }} }}`");
        problems.push(Problem::error("missing-bundle", &expected.origin, message).with_hint(hint));
    }
}

fn sites(
    file: &GatewayFile,
    pool: &Pool,
    name: &At<String>,
    local: Option<&RegionId>,
    problems: &mut Problems,
) {
    let mut regions: Vec<&str> = super::region_names(file).map(|at| at.value.as_str()).collect();
    regions.sort_unstable();
    regions.dedup();
    if let (true, Some(at)) = (regions.len() > 1, pool.endpoints.at()) {
        let message = format!(
            "pool {:?} does not say in which region its endpoints stand",
            name.value
        );
        let hint = format!(
            "write `sites: {{ {}: {{ endpoints: [ … ] }} }}`",
            regions.first().unwrap_or(&"…")
        );
        problems.push(Problem::error("missing-region", &at.origin, message).with_hint(hint));
    }
    let (Some(local), true) = (local, is_written(&pool.sites)) else {
        return;
    };
    let failover: Vec<&str> = entries(&file.regions)
        .find(|entry| entry.name.value == local.as_str())
        .and_then(|entry| entry.value.get())
        .into_iter()
        .flat_map(|region| items(&region.failover))
        .map(|at| at.value.as_str())
        .collect();
    let is_reachable = entries(&pool.sites)
        .any(|site| site.name.value == local.as_str() || failover.contains(&site.name.value.as_str()));
    if !is_reachable {
        let message = format!(
            "no site of pool {:?} is in region {local} or where it fails over to",
            name.value
        );
        let problem = Problem::warning("unreachable-pool", &name.origin, message);
        problems.push(problem.with_hint(format!(
            "add a site, or `regions: {{ {local}: {{ failover: [ … ] }} }}`"
        )));
    }
}
