use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::attempt::{Failure, TransportKind};
use crate::fixture::{AP, Bench, EU_1, EU_2, US, attempt, only, pool_plan, probed, site, three_regions};
use crate::plan::PoolPlan;
use crate::pool::CandidateReason;

const LOW: u64 = 0;
const HIGH: u64 = u64::MAX;

fn address(selection: Result<Selection, Rejection>) -> String {
    selection.unwrap().endpoint.address.to_string()
}

fn codes(selection: &Selection) -> Vec<String> {
    selection
        .why
        .iter()
        .map(|reason| format!("{} {}", reason.region, reason.code.as_str()))
        .collect()
}

fn refused(selection: Result<Selection, Rejection>) -> Reason {
    selection.map(|selection| selection.endpoint).unwrap_err().reason
}

fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn the_local_region_serves_while_it_can() {
    let bench = Bench::new(three_regions());

    assert_eq!(bench.addresses([LOW, HIGH].into_iter()), set(&[EU_1, EU_2]));
    assert!(bench.select(LOW).unwrap().why.is_empty());
}

#[test]
fn shares_within_a_region_follow_the_weights() {
    let mut plan = three_regions();
    plan.sites[2].endpoints[0].weight = 900;
    let bench = Bench::new(plan);

    let picked = (0..1_000_u64).map(|step| address(bench.select(step * (u64::MAX / 1_000))));
    let first = picked.filter(|address| address == EU_1).count();

    assert!((895..=905).contains(&first), "{first}");
}

#[test]
fn a_region_without_a_usable_endpoint_passes_on_in_the_failover_order() {
    let bench = Bench::new(probed(three_regions()));
    bench.probe(EU_1, true);
    bench.probe(US, true);
    bench.probe(AP, true);
    assert_eq!(bench.addresses([LOW, HIGH].into_iter()), set(&[EU_1]));

    bench.probe(EU_1, false);
    bench.probe(EU_1, false);
    let selection = bench.select(LOW).unwrap();
    assert_eq!(codes(&selection), ["eu PROBE_FAIL", "eu WARMING"]);
    assert_eq!(
        selection.why[0].to_string(),
        format!("eu/{EU_1} PROBE_FAIL(2, refused)")
    );
    assert_eq!(address(Ok(selection)), US);

    bench.probe(US, false);
    bench.probe(US, false);
    assert_eq!(address(bench.select(LOW)), AP);
}

#[test]
fn an_endpoint_that_never_passed_a_probe_is_not_used_even_when_nothing_else_is_left() {
    let bench = Bench::new(probed(three_regions()));

    assert_eq!(refused(bench.select(LOW)), Reason::NoEndpoint);
}

#[test]
fn a_refusal_says_why_and_when_to_come_back() {
    let bench = Bench::new(probed(three_regions()));

    let detail = bench.select(LOW).unwrap_err().detail.unwrap();

    assert!(detail.retry_after.is_some());
    assert_eq!(&*detail.decided_by.unwrap().path, "pools.orders");
    assert!(detail.private.unwrap().contains("us/10.1.0.1:80 WARMING"));
}

#[test]
fn a_pool_without_the_local_region_goes_along_the_failover_order() {
    let bench = Bench::new(pool_plan(vec![site("ap", &[AP]), site("us", &[US])]));

    assert_eq!(address(bench.select(LOW)), US);
}

#[test]
fn residency_wins_over_the_preference() {
    let bench = Bench::new(three_regions());

    let selection = bench.select_in(&only(&["ap"])).unwrap();

    assert_eq!(codes(&selection), ["eu RESIDENCY", "us RESIDENCY"]);
    assert_eq!(address(Ok(selection)), AP);
}

#[test]
fn residency_fails_closed() {
    let bench = Bench::new(probed(three_regions()));
    bench.probe(US, true);

    // The other region could serve; no region of ours is allowed; nobody could serve.
    assert_eq!(
        refused(bench.select_in(&only(&["eu"]))),
        Reason::ResidencyUnavailable
    );
    assert_eq!(refused(bench.select_in(&only(&[]))), Reason::ResidencyUnavailable);
    assert_eq!(
        refused(bench.select_in(&only(&["mars"]))),
        Reason::ResidencyUnavailable
    );
    bench.probe(US, false);
    bench.probe(US, false);
    assert_eq!(refused(bench.select_in(&only(&["eu"]))), Reason::NoEndpoint);
}

#[test]
fn an_endpoint_is_tried_once_only() {
    let bench = Bench::new(three_regions());
    let failure = Failure::of(Outcome::Transport(TransportKind::Refused));
    let mut tried = vec![attempt("eu", EU_1, failure)];
    let select = |tried: &[Attempt]| bench.select_within(&AllowedRegions::All, tried, &Reach::Anywhere, LOW);
    assert_eq!(address(select(&tried)), EU_2);

    tried.push(attempt("eu", EU_2, failure));
    let selection = select(&tried).unwrap();
    assert_eq!(codes(&selection), ["eu TRIED", "eu TRIED"]);
    assert_eq!(address(Ok(selection)), US);
}

#[test]
fn the_reach_of_a_second_attempt_is_kept() {
    let bench = Bench::new(three_regions());
    let select = |reach: Reach| bench.select_within(&AllowedRegions::All, &[], &reach, LOW);

    assert_eq!(
        address(select(Reach::Beyond(["eu".into()].into_iter().collect()))),
        US
    );
    assert_eq!(address(select(Reach::Within("ap".into()))), AP);
    assert_eq!(refused(select(Reach::Within("mars".into()))), Reason::NoEndpoint);
}

#[test]
fn a_full_pool_refuses_until_a_place_is_given_back() {
    let mut plan = three_regions();
    plan.limits.connections = 2;
    let bench = Bench::new(plan);
    let first = bench.select(LOW).unwrap();
    let _second = bench.select(LOW).unwrap();
    assert_eq!(bench.pool().in_flight(), 2);
    assert_eq!(refused(bench.select(LOW)), Reason::PoolFull);

    drop(first);

    assert!(bench.select(LOW).is_ok());
}

#[test]
fn a_refused_selection_takes_no_place() {
    let bench = Bench::new(probed(three_regions()));

    assert!(bench.select(LOW).is_err());

    assert_eq!(bench.pool().in_flight(), 0);
}

#[test]
fn an_ejected_endpoint_gets_one_trial_when_its_time_has_come() {
    let mut bench = Bench::new(three_regions());
    bench.eject(EU_1);
    assert_eq!(bench.addresses([LOW, HIGH].into_iter()), set(&[EU_2]));

    bench.now += Duration::from_secs(7);
    let mut trial = bench.select(LOW).unwrap();
    assert_eq!(trial.endpoint.address.to_string(), EU_1);
    assert_eq!(codes(&trial), ["eu TRIAL"]);
    assert_eq!(address(bench.select(LOW)), EU_2);

    trial.permit.record(Outcome::Ok, bench.now);
    assert_eq!(bench.addresses([LOW, HIGH].into_iter()), set(&[EU_1, EU_2]));
}

#[test]
fn a_trial_whose_request_vanished_is_given_back() {
    let mut bench = Bench::new(three_regions());
    bench.eject(EU_1);
    bench.now += Duration::from_secs(7);

    drop(bench.select(LOW).unwrap());

    assert_eq!(codes(&bench.select(LOW).unwrap()), ["eu TRIAL"]);
}

#[test]
fn a_second_attempt_is_never_a_trial() {
    let mut bench = Bench::new(three_regions());
    bench.eject(EU_1);
    bench.now += Duration::from_secs(7);
    let tried = [attempt(
        "eu",
        EU_2,
        Failure::of(Outcome::Transport(TransportKind::Refused)),
    )];

    assert_eq!(
        address(bench.select_within(&AllowedRegions::All, &tried, &Reach::Anywhere, LOW)),
        US
    );
}

#[test]
fn a_pool_keeps_three_in_ten_of_its_endpoints() {
    let bench = Bench::new(three_regions());

    [EU_1, EU_2, US, AP]
        .into_iter()
        .for_each(|address| bench.eject(address));

    // Of four endpoints at most two: a third would be more than 70 %.
    let ejected = bench
        .pool()
        .reports(bench.now)
        .iter()
        .filter(|report| report.state.as_str() == "ejected")
        .count();
    assert_eq!(ejected, 2);
    assert_eq!(address(bench.select(LOW)), US);
}

#[test]
fn a_single_endpoint_is_never_ejected() {
    let bench = Bench::new(pool_plan(vec![site("eu", &[EU_1])]));

    (0..10).for_each(|_| bench.eject(EU_1));

    assert_eq!(address(bench.select(LOW)), EU_1);
}

#[test]
fn when_every_allowed_region_is_out_an_ejected_endpoint_is_tried_once_a_second() {
    let mut bench = Bench::new(three_regions());
    bench.eject(EU_1);
    bench.eject(EU_2);
    let eu = only(&["eu"]);

    let taken: Vec<String> = (0..4)
        .filter_map(|_| {
            let mut selection = bench.select_in(&eu).ok()?;
            selection.permit.record(Outcome::Silence, bench.now);
            Some(selection.endpoint.address.to_string())
        })
        .collect();
    assert_eq!(taken, [EU_1, EU_2]);
    assert_eq!(refused(bench.select_in(&eu)), Reason::ResidencyUnavailable);

    bench.now += Duration::from_secs(1);
    assert!(bench.select_in(&eu).is_ok());
}

#[test]
fn an_answer_is_recorded_once_and_a_broken_one_takes_its_success_back() {
    let bench = Bench::new(three_regions());
    let success = || {
        bench
            .pool()
            .reports(bench.now)
            .iter()
            .map(|report| report.success)
            .find(|(_, n)| *n > 0)
            .unwrap()
    };
    let mut selection = bench.select(LOW).unwrap();

    selection.permit.record(Outcome::Ok, bench.now);
    selection.permit.record(Outcome::Ok, bench.now);
    assert_eq!(success(), (1.0, 1));

    selection
        .permit
        .record(Outcome::Transport(TransportKind::Reset), bench.now);
    selection
        .permit
        .record(Outcome::Transport(TransportKind::Reset), bench.now);
    assert_eq!(success().1, 1);
    assert!((success().0 - 0.88).abs() < 1e-9);
}

fn named_pool() -> PoolPlan {
    pool_plan(vec![site("eu", &["orders.internal:80", EU_1])])
}

#[test]
fn every_address_of_a_name_is_an_endpoint() {
    let bench = Bench::new(named_pool());
    let selection = bench.select(LOW).unwrap();
    assert_eq!(selection.dns, None);
    assert_eq!(bench.runtime.dns_names(), [(Arc::from("orders.internal"), 80)]);

    // One of the answers is the endpoint that is written beside the name: still one endpoint.
    let answer = ["10.9.0.1", "10.9.0.2", "10.0.0.1"].map(|text| text.parse().unwrap());
    bench.boards.addresses.publish("orders.internal", 80, &answer);

    let all: BTreeSet<String> = bench
        .pool()
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect();
    assert_eq!(all, set(&["10.9.0.1:80", "10.9.0.2:80", EU_1]));
    assert_eq!(
        bench.select(HIGH).unwrap().dns.as_deref(),
        Some("orders.internal")
    );
}

#[test]
fn a_name_without_an_address_is_named_in_the_refusal() {
    let bench = Bench::new(pool_plan(vec![
        site("eu", &["orders.internal:80"]),
        site("us", &[US]),
    ]));

    let selection = bench.select(LOW).unwrap();

    assert_eq!(selection.why[0].to_string(), "eu NO_ADDRESS(orders.internal)");
    assert_eq!(address(Ok(selection)), US);
}

#[test]
fn an_offline_look_takes_everything_for_up_and_changes_nothing() {
    let bench = Bench::new(probed(pool_plan(vec![
        site("eu", &["orders.internal:80"]),
        site("us", &[US]),
    ])));
    let pool = bench.pool();
    let select = |allowed: &AllowedRegions| {
        let query = SelectQuery {
            allowed,
            tried: &[],
            reach: &Reach::Anywhere,
            roll: LOW,
            now: bench.now,
            assume_healthy: true,
        };
        pool.select(&query)
    };

    let local = select(&AllowedRegions::All).unwrap();
    assert_eq!(
        (local.dns.as_deref(), local.endpoint.address.to_string()),
        (Some("orders.internal"), "0.0.0.0:80".to_owned())
    );
    assert_eq!(address(select(&only(&["us"]))), US);
    assert_eq!(refused(select(&only(&["ap"]))), Reason::ResidencyUnavailable);
    assert_eq!(refused(bench.select(LOW)), Reason::NoEndpoint);
}

#[test]
fn a_pool_was_checked_once_every_endpoint_and_name_was() {
    let bench = Bench::new(probed(named_pool()));
    assert!(!bench.pool().was_checked());

    bench.probe(EU_1, false);
    assert!(!bench.runtime.was_checked());

    bench
        .boards
        .addresses
        .record_failure("orders.internal", 80, "no such name");
    assert!(bench.runtime.was_checked());
}

#[test]
fn probe_targets_carry_their_names_and_a_pool_without_a_probe_has_none() {
    let bench = Bench::new(probed(named_pool()));
    bench
        .boards
        .addresses
        .publish("orders.internal", 80, &["10.9.0.1".parse().unwrap()]);

    let names: Vec<_> = bench
        .pool()
        .probe_targets()
        .into_iter()
        .map(|target| target.dns)
        .collect();

    assert_eq!(names, [Some(Arc::from("orders.internal")), None]);
    assert!(Bench::new(named_pool()).pool().probe_targets().is_empty());
}

#[test]
fn reasons_are_bounded() {
    let addresses: Vec<String> = (0..100).map(|last| format!("10.0.1.{last}:80")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let bench = Bench::new(probed(pool_plan(vec![site("eu", &addresses), site("us", &[US])])));
    bench.probe(US, true);

    let reasons: Vec<CandidateReason> = bench.select(LOW).unwrap().why;

    assert_eq!(reasons.len(), 32);
}

#[derive(Clone, Debug)]
enum Event {
    Probe(usize, bool),
    Select {
        allowed: Vec<&'static str>,
        roll: u64,
        ends: Option<Outcome>,
    },
    Wait(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    let outcome = prop::sample::select(vec![
        Outcome::Ok,
        Outcome::Correctness,
        Outcome::Silence,
        Outcome::Transport(TransportKind::Refused),
    ]);
    let regions = prop::sample::subsequence(vec!["eu", "us", "ap"], 0..=3);
    prop_oneof![
        2 => (0_usize..4, any::<bool>()).prop_map(|(endpoint, passes)| Event::Probe(endpoint, passes)),
        6 => (regions, any::<u64>(), prop::option::of(outcome))
            .prop_map(|(allowed, roll, ends)| Event::Select { allowed, roll, ends }),
        2 => (0_u64..12).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_selection_stays_within_residency_and_on_endpoints_that_passed(
        events in prop::collection::vec(any_event(), 1..80),
    ) {
        let mut bench = Bench::new(probed(three_regions()));
        let mut passed = BTreeSet::new();
        let mut held = Vec::new();
        for event in events {
            match event {
                Event::Wait(seconds) => bench.now += Duration::from_secs(seconds),
                Event::Probe(endpoint, passes) => {
                    let address = [EU_1, EU_2, US, AP][endpoint];
                    bench.probe(address, passes);
                    if passes {
                        passed.insert(address.to_owned());
                    }
                }
                Event::Select { allowed, roll, ends } => {
                    let regions = only(&allowed);
                    let Ok(mut selection) = bench.select_within(&regions, &[], &Reach::Anywhere, roll) else {
                        continue;
                    };
                    prop_assert!(regions.contains(&selection.endpoint.region));
                    prop_assert!(passed.contains(&selection.endpoint.address.to_string()));
                    match ends {
                        Some(outcome) => selection.permit.record(outcome, bench.now),
                        None => held.push(selection),
                    }
                }
            }
            prop_assert_eq!(bench.pool().in_flight() as usize, held.len());
            let reports = bench.pool().reports(bench.now);
            let out = reports.iter().filter(|report| matches!(report.state.as_str(), "ejected" | "trial")).count();
            prop_assert!(out <= 2);
        }
    }
}
