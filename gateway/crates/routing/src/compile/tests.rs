use std::sync::Arc;

use portcullis_model::{JurisdictionId, RegionId};

use super::*;
use crate::fixture::{AP, EU_1, boards, plan, pool_plan, probed, site, three_regions};
use crate::plan::PoolPlan;

fn codes(plan: &RoutingPlan) -> Vec<&'static str> {
    match compile(plan, None, &boards()) {
        Ok((_, warnings)) => warnings.iter().map(|problem| problem.code).collect(),
        Err(problems) => problems.iter().map(|problem| problem.code).collect(),
    }
}

fn codes_of(change: impl FnOnce(&mut PoolPlan)) -> Vec<&'static str> {
    let mut pool = three_regions();
    change(&mut pool);
    codes(&plan(vec![pool]))
}

fn orders(runtime: &RoutingRuntime) -> Arc<Pool> {
    runtime.pool(&PoolId::from("orders")).unwrap()
}

#[test]
fn a_good_plan_has_no_problems() {
    assert!(codes(&plan(vec![three_regions()])).is_empty());
}

#[test]
fn an_equal_pool_is_the_same_pool_and_a_changed_one_is_new() {
    let boards = boards();
    let first = compile(&plan(vec![three_regions()]), None, &boards).unwrap().0;
    let second = compile(&plan(vec![three_regions()]), Some(&first), &boards)
        .unwrap()
        .0;
    assert!(Arc::ptr_eq(&orders(&first), &orders(&second)));

    let mut changed = three_regions();
    changed.limits.connections = 7;
    let third = compile(&plan(vec![changed]), Some(&second), &boards).unwrap().0;
    assert!(!Arc::ptr_eq(&orders(&second), &orders(&third)));
}

#[test]
fn a_changed_failover_order_is_a_new_pool() {
    let boards = boards();
    let mut plan = plan(vec![three_regions()]);
    let first = compile(&plan, None, &boards).unwrap().0;

    plan.regions
        .get_mut(&RegionId::from("eu"))
        .unwrap()
        .failover
        .reverse();
    let second = compile(&plan, Some(&first), &boards).unwrap().0;

    assert!(!Arc::ptr_eq(&orders(&first), &orders(&second)));
    assert_eq!(
        orders(&second).preference().regions(),
        ["eu", "ap", "us"].map(RegionId::from)
    );
}

#[test]
fn evidence_outlives_a_changed_pool() {
    let boards = boards();
    let now = Instant::now();
    let first = compile(&plan(vec![probed(three_regions())]), None, &boards)
        .unwrap()
        .0;
    let endpoint = orders(&first).endpoints().into_iter().next().unwrap();
    boards.health.record_probe(&endpoint, Ok(()), now);

    let mut changed = probed(three_regions());
    changed.limits.connections = 7;
    let second = compile(&plan(vec![changed]), Some(&first), &boards).unwrap().0;

    let up = |runtime: &RoutingRuntime| {
        orders(runtime)
            .reports(now)
            .iter()
            .filter(|report| report.state.as_str() == "up")
            .count()
    };
    assert_eq!(up(&second), 1);
}

#[test]
fn compiling_leaves_no_trace_on_the_board_and_an_old_snapshot_does_not_turn_rules_back() {
    let boards = boards();
    let now = Instant::now();
    let old = compile(&plan(vec![three_regions()]), None, &boards).unwrap().0;
    let new = compile(&plan(vec![probed(three_regions())]), Some(&old), &boards)
        .unwrap()
        .0;
    assert!(boards.health.snapshot(now).is_empty());

    // The new one is asked first; the old one, which has no probe, must not make its endpoints up.
    assert!(!orders(&new).was_checked());
    assert_eq!(orders(&old).endpoints().len(), 4);
    assert!(!orders(&new).was_checked());
    assert!(
        boards
            .health
            .snapshot(now)
            .iter()
            .all(|(_, state)| state.as_str() == "warming")
    );
}

#[test]
fn what_nobody_has_is_swept() {
    let boards = boards();
    let now = Instant::now();
    let first = compile(&plan(vec![three_regions()]), None, &boards).unwrap().0;
    assert_eq!(orders(&first).endpoints().len(), 4);
    boards
        .addresses
        .record_failure("gone.internal", 80, "no such name");

    let smaller = compile(
        &plan(vec![pool_plan(vec![site("eu", &[EU_1])])]),
        Some(&first),
        &boards,
    )
    .unwrap()
    .0;
    smaller.sweep();
    assert_eq!(
        boards.health.snapshot(now).len(),
        4,
        "the first runtime still holds them"
    );

    drop(first);
    smaller.sweep();
    assert_eq!(boards.health.snapshot(now).len(), 1);
    assert!(boards.addresses.snapshot().is_empty());

    let none = compile(&plan(Vec::new()), Some(&smaller), &boards).unwrap().0;
    drop(smaller);
    none.sweep();
    assert!(boards.health.snapshot(now).is_empty());
}

#[test]
fn the_gauges_say_what_is_there() {
    let registry = Registry::new();
    let boards = Boards::new(&registry).unwrap();
    let runtime = compile(&plan(vec![three_regions()]), None, &boards).unwrap().0;

    runtime.refresh_metrics(Instant::now());

    let families = registry.gather();
    let endpoints = families
        .iter()
        .find(|family| family.name() == "portcullis_endpoints")
        .unwrap();
    let up: f64 = endpoints
        .get_metric()
        .iter()
        .filter(|metric| metric.get_label().iter().any(|label| label.value() == "up"))
        .map(|metric| metric.get_gauge().get_value())
        .sum();
    assert!((up - 4.0).abs() < f64::EPSILON);
}

#[test]
fn regions_that_are_not_configured_are_problems() {
    let mut plan = plan(vec![pool_plan(vec![site("mars", &[EU_1]), site("eu", &[AP])])]);
    plan.regions
        .get_mut(&RegionId::from("us"))
        .unwrap()
        .failover
        .push(RegionId::from("pluto"));
    plan.jurisdictions
        .insert(JurisdictionId::from("X"), vec![RegionId::from("venus")]);

    assert_eq!(codes(&plan), ["unknown-reference"; 3]);

    plan.local = RegionId::from("moon");
    assert_eq!(
        codes(&plan)
            .iter()
            .filter(|code| **code == "unknown-reference")
            .count(),
        4
    );
}

#[test]
fn regions_may_fail_over_to_each_other_and_what_adds_nothing_is_a_warning() {
    let mut plan = plan(vec![three_regions()]);
    plan.regions
        .get_mut(&RegionId::from("us"))
        .unwrap()
        .failover
        .push(RegionId::from("us"));

    assert_eq!(codes(&plan), ["redundant-failover"]);
    assert!(compile(&plan, None, &boards()).is_ok());
}

#[test]
fn an_empty_jurisdiction_is_a_problem() {
    let mut plan = plan(vec![three_regions()]);
    plan.jurisdictions.insert(JurisdictionId::from("X"), Vec::new());

    assert_eq!(codes(&plan), ["empty-jurisdiction"]);
}

#[test]
fn empty_and_doubled_things_are_problems() {
    assert_eq!(codes_of(|pool| pool.sites.clear()), ["empty-pool"]);
    assert_eq!(codes_of(|pool| pool.sites[0].endpoints.clear()), ["empty-site"]);
    assert_eq!(
        codes_of(|pool| pool.sites.push(site("eu", &[AP]))),
        ["duplicate-site"]
    );
    assert_eq!(
        codes_of(|pool| pool.sites[0] = site("ap", &[AP, AP])),
        ["duplicate-endpoint"]
    );
    assert_eq!(
        codes(&plan(vec![three_regions(), three_regions()])),
        ["duplicate-name"]
    );
}

#[test]
fn a_pool_that_no_gateway_here_can_reach_is_a_warning() {
    let mut plan = plan(vec![pool_plan(vec![site("us", &[AP])])]);
    plan.regions
        .get_mut(&RegionId::from("eu"))
        .unwrap()
        .failover
        .clear();

    assert_eq!(codes(&plan), ["unreachable-pool"]);
    assert!(compile(&plan, None, &boards()).is_ok());
}

#[test]
fn numbers_out_of_range_are_problems() {
    assert_eq!(
        codes_of(|pool| pool.sites[0].endpoints[0].weight = 0),
        ["out-of-range"]
    );
    assert_eq!(
        codes_of(|pool| pool.sites[0].endpoints[0].weight = 1_001),
        ["out-of-range"]
    );
    assert_eq!(
        codes_of(|pool| pool.sites[0].capacity_per_second = Some(0)),
        ["out-of-range"]
    );
    assert_eq!(codes_of(|pool| pool.limits.connections = 0), ["out-of-range"]);
    assert_eq!(codes_of(|pool| pool.retry.share = 10_001), ["out-of-range"]);
    let unhealthy = codes_of(|pool| {
        pool.health.fall = 0;
        pool.health.rise = 0;
        pool.health.interval = std::time::Duration::ZERO;
        pool.health.timeout = std::time::Duration::ZERO;
        pool.health.probe = Some(crate::plan::ProbePlan::Http {
            path: "healthz".to_owned(),
        });
    });
    assert_eq!(unhealthy, ["out-of-range"; 5]);
}

#[test]
fn endpoints_that_cannot_be_reached_are_problems() {
    let bad = [
        "10.0.0.1:0",
        "0.0.0.0:80",
        "224.0.0.1:80",
        "orders.internal:0",
        "Orders.internal:80",
        "a..b:80",
        "-a.b:80",
        "a b:80",
        "127.0.0.01:80",
    ];

    for address in bad {
        let codes = codes_of(|pool| pool.sites[0] = site("ap", &[address]));
        assert_eq!(codes, ["invalid-endpoint"], "{address}");
    }
    for address in ["orders.internal:80", "a_b.svc:80", "[2001:db8::1]:80"] {
        assert!(
            codes_of(|pool| pool.sites[0] = site("ap", &[address])).is_empty(),
            "{address}"
        );
    }
}

#[test]
fn a_pool_of_too_many_endpoints_is_a_problem() {
    let addresses: Vec<String> = (0..1_100_u32)
        .map(|n| format!("10.1.{}.{}:80", n / 250, 1 + n % 250))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();

    assert_eq!(
        codes_of(|pool| pool.sites[0] = site("ap", &addresses)),
        ["too-many-endpoints"]
    );
}
