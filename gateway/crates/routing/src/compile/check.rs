//! What is wrong with a plan. `config` resolves names with better hints; this holds for every plan, however made.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_model::{Origin, Problem, Problems, RegionId};

use crate::plan::{EndpointAddress, EndpointPlan, PoolPlan, ProbePlan, RoutingPlan, SitePlan};
use crate::steering::Preference;

/// Endpoints a pool may list; each is looked at by every selection and probed by every gateway.
const MOST_ENDPOINTS: usize = 1_024;
/// The largest weight.
const MOST_WEIGHT: u16 = 1_000;
/// The shortest time between probes: more often they would be load.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Every problem of the plan.
pub(super) fn problems_of(plan: &RoutingPlan) -> Problems {
    let mut problems = Problems::new();
    check_regions(plan, &mut problems);
    check_jurisdictions(plan, &mut problems);
    let preference = Preference::of(&plan.regions, &plan.local);
    let mut names = BTreeSet::new();
    for pool in &plan.pools {
        if !names.insert(&pool.id) {
            let message = format!("there are two pools named \"{}\"", pool.id);
            problems.push(Problem::error("duplicate-name", &pool.origin, message));
        }
        check_pool(pool, plan, &preference, &mut problems);
    }
    problems
}

fn check_regions(plan: &RoutingPlan, problems: &mut Problems) {
    if !plan.regions.contains_key(&plan.local) {
        let message = format!("the local region \"{}\" is not configured", plan.local);
        problems.push(Problem::error(
            "unknown-reference",
            &Origin::of("gateway.region"),
            message,
        ));
    }
    // Regions that fail over to each other are fine: only the local region's own list is ever followed.
    for (id, region) in &plan.regions {
        let mut listed = BTreeSet::new();
        for next in &region.failover {
            if !plan.regions.contains_key(next) {
                problems.push(unknown_region(&region.origin, next));
            } else if next == id || !listed.insert(next) {
                let message = format!("\"{next}\" adds nothing to the failover of \"{id}\"");
                problems.push(Problem::warning("redundant-failover", &region.origin, message));
            }
        }
    }
}

fn check_jurisdictions(plan: &RoutingPlan, problems: &mut Problems) {
    for (id, regions) in &plan.jurisdictions {
        let origin = Origin::of(format!("jurisdictions.{id}"));
        if regions.is_empty() {
            let message =
                format!("the jurisdiction \"{id}\" has no region, so that nothing could be processed there");
            problems.push(Problem::error("empty-jurisdiction", &origin, message));
        }
        for region in regions
            .iter()
            .filter(|region| !plan.regions.contains_key(*region))
        {
            problems.push(unknown_region(&origin, region));
        }
    }
}

fn check_pool(pool: &PoolPlan, plan: &RoutingPlan, preference: &Preference, problems: &mut Problems) {
    let mut regions = BTreeSet::new();
    for site in &pool.sites {
        if !plan.regions.contains_key(&site.region) {
            problems.push(unknown_region(&site.origin, &site.region));
        }
        if !regions.insert(&site.region) {
            let message = format!("pool \"{}\" has two sites in \"{}\"", pool.id, site.region);
            problems.push(Problem::error("duplicate-site", &site.origin, message));
        }
        check_site(site, problems);
    }
    let count: usize = pool.sites.iter().map(|site| site.endpoints.len()).sum();
    if pool.sites.is_empty() {
        problems.push(Problem::error(
            "empty-pool",
            &pool.origin,
            format!("pool \"{}\" has no site", pool.id),
        ));
    } else if count > MOST_ENDPOINTS {
        let message = format!(
            "pool \"{}\" lists {count} endpoints, at most {MOST_ENDPOINTS} are allowed",
            pool.id
        );
        problems
            .push(Problem::error("too-many-endpoints", &pool.origin, message).with_hint("use a DNS name"));
    } else if !preference.regions().iter().any(|region| regions.contains(region)) {
        let message = format!(
            "pool \"{}\" has no site that a gateway in \"{}\" may send to",
            pool.id, plan.local
        );
        let hint = format!(
            "add a site, or name one of its regions in the failover of \"{}\"",
            plan.local
        );
        problems.push(Problem::warning("unreachable-pool", &pool.origin, message).with_hint(hint));
    }
    check_numbers(pool, problems);
}

fn check_numbers(pool: &PoolPlan, problems: &mut Problems) {
    let mut refuse = |is_wrong: bool, message: &str| {
        if is_wrong {
            let message = format!("pool \"{}\": {message}", pool.id);
            problems.push(Problem::error("out-of-range", &pool.origin, message));
        }
    };
    let health = &pool.health;
    refuse(health.fall == 0, "`fall` is at least 1");
    refuse(health.rise == 0, "`rise` is at least 1");
    refuse(
        health.interval < SHORTEST_INTERVAL,
        "the probe interval is at least 100ms",
    );
    refuse(health.timeout.is_zero(), "the probe timeout is more than zero");
    let is_path = |path: &str| path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok();
    let is_bad_path = matches!(&health.probe, Some(ProbePlan::Http { path }) if !is_path(path));
    refuse(is_bad_path, "the path of the probe is not an absolute path");
    refuse(
        pool.limits.connections == 0,
        "a limit of 0 requests in flight refuses everything",
    );
    refuse(pool.retry.share > 10_000, "the retry budget is at most 100%");
}

fn check_site(site: &SitePlan, problems: &mut Problems) {
    if site.endpoints.is_empty() {
        let message = format!("the site in \"{}\" has no endpoint", site.region);
        problems.push(Problem::error("empty-site", &site.origin, message));
    }
    if site.capacity_per_second == Some(0) {
        let message = format!("the site in \"{}\" has a capacity of 0", site.region);
        problems
            .push(Problem::error("out-of-range", &site.origin, message).with_hint("leave it out instead"));
    }
    let mut addresses = BTreeSet::new();
    for endpoint in &site.endpoints {
        if !addresses.insert(&endpoint.address) {
            let message = format!("{} stands twice in \"{}\"", named(endpoint), site.region);
            problems.push(Problem::error("duplicate-endpoint", &endpoint.origin, message));
        }
        check_endpoint(endpoint, problems);
    }
}

fn check_endpoint(endpoint: &EndpointPlan, problems: &mut Problems) {
    if !(1..=MOST_WEIGHT).contains(&endpoint.weight) {
        let message = format!(
            "the weight of {} is {}, not from 1 to {MOST_WEIGHT}",
            named(endpoint),
            endpoint.weight
        );
        problems.push(Problem::error("out-of-range", &endpoint.origin, message));
    }
    let is_possible = match &endpoint.address {
        EndpointAddress::Socket(address) => {
            address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
        }
        EndpointAddress::Dns { host, port } => *port != 0 && is_dns_name(host),
    };
    if !is_possible {
        let message = format!("nothing can be reached at {}", named(endpoint));
        problems.push(Problem::error("invalid-endpoint", &endpoint.origin, message));
    }
}

/// A name in lower case without a final dot: labels of letters, digits, `-` and `_`. A last label of digits alone
/// would make it an address, to some resolvers at least.
fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= 253 && host.split('.').all(is_label) && !host.rsplit('.').next().is_some_and(is_number)
}

fn named(endpoint: &EndpointPlan) -> String {
    match &endpoint.address {
        EndpointAddress::Socket(address) => format!("endpoint {address}"),
        EndpointAddress::Dns { host, port } => format!("endpoint {host}:{port}"),
    }
}

fn unknown_region(origin: &Origin, region: &RegionId) -> Problem {
    Problem::error(
        "unknown-reference",
        origin,
        format!("unknown region \"{region}\""),
    )
    .with_hint("name it under `regions`")
}
