//! The promises of the limiter: never more than written, eviction never grants, refunds are exact, all or nothing.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::Quota;
use http::{HeaderMap, Method};
use portcullis_model::{Guard, LimitId, Mode, Origin, Query, Reason, RequestHead, UrlScheme};
use proptest::prelude::*;

use super::buckets::Buckets;
use super::*;
use crate::metrics::Metrics;
use crate::plan::{KeyPart, LimitPlan};

fn quota(interval: Duration, burst: u32) -> Quota {
    Quota::with_period(interval)
        .unwrap()
        .allow_burst(NonZeroU32::new(burst).unwrap())
}

/// Spreads small numbers over shards as hashes would.
fn key(number: u64) -> u128 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (u128::from(mixed) << 64) | u128::from(number)
}

/// Panics when some window has more admissions than a burst and what refilled in it.
fn assert_bounded(admitted: &[Duration], interval: Duration, burst: u32) {
    for (first, start) in admitted.iter().enumerate() {
        for (count, end) in admitted.iter().skip(first).enumerate() {
            let refilled = (*end - *start).as_nanos() / interval.as_nanos();
            assert!(
                (count as u128) < u128::from(burst) + refilled,
                "{} in {:?}",
                count + 1,
                *end - *start
            );
        }
    }
}

mod properties {
    use super::*;

    proptest! {
        /// In no window of any length are there more admissions than the burst and what refilled in it.
        #[test]
        fn never_more_than_burst_and_rate(
            interval in 1_u64..5_000,
            burst in 1_u32..20,
            steps in proptest::collection::vec(0_u64..10_000, 1..200),
        ) {
            let (interval, epoch) = (Duration::from_micros(interval), Instant::now());
            let buckets = Buckets::new(quota(interval, burst), epoch);
            let (mut now, mut admitted) = (Duration::ZERO, Vec::new());
            for step in steps {
                now += Duration::from_micros(step);
                if buckets.take(key(1), epoch + now).is_ok() {
                    admitted.push(now);
                }
            }
            assert_bounded(&admitted, interval, burst);
        }

        /// A client that comes no faster than the rate is never refused.
        #[test]
        fn the_written_rate_is_always_admitted(interval in 1_u64..5_000, burst in 1_u32..20, extra in 0_u64..100) {
            let (interval, epoch) = (Duration::from_micros(interval), Instant::now());
            let buckets = Buckets::new(quota(interval, burst), epoch);
            let mut now = epoch;
            for _ in 0..100 {
                prop_assert!(buckets.take(key(1), now).is_ok());
                now += interval + Duration::from_nanos(extra);
            }
        }

        /// Whatever a full table admits, a table without bound that saw the same admissions would admit too.
        #[test]
        fn eviction_never_grants(
            burst in 1_u32..4,
            visits in proptest::collection::vec((0_u64..60, 0_u64..400), 1..400),
        ) {
            let (interval, epoch) = (Duration::from_micros(1_000), Instant::now());
            let bounded = Buckets::with_max_keys(quota(interval, burst), epoch, 16);
            let mut model: HashMap<u64, Vec<Duration>> = HashMap::new();
            let mut now = Duration::ZERO;
            for (number, step) in visits {
                now += Duration::from_micros(step);
                if bounded.take(key(number), epoch + now).is_ok() {
                    model.entry(number).or_default().push(now);
                }
                prop_assert!(bounded.len() <= 16);
            }
            for admitted in model.values() {
                assert_bounded(admitted, interval, burst);
            }
        }

        /// What is taken and given back at once leaves no trace: every later answer is as if it had never come.
        #[test]
        fn a_refund_is_exact(
            burst in 1_u32..6,
            steps in proptest::collection::vec((0_u64..3_000, any::<bool>()), 1..200),
        ) {
            let (interval, epoch) = (Duration::from_micros(1_000), Instant::now());
            let refunding = Buckets::new(quota(interval, burst), epoch);
            let plain = Buckets::new(quota(interval, burst), epoch);
            let mut now = epoch;
            for (step, is_refunded) in steps {
                now += Duration::from_micros(step);
                let answer = refunding.take(key(1), now);
                if !is_refunded {
                    prop_assert_eq!(answer.map(|one| one.remaining), plain.take(key(1), now).map(|one| one.remaining));
                } else if let Ok(admitted) = answer {
                    refunding.refund(key(1), &admitted);
                }
            }
        }

        /// Refunds that come late, in any order, never let more through than the bound: of the requests that kept
        /// what they took, no window has more than the burst and what refilled in it.
        #[test]
        fn late_refunds_never_grant(
            burst in 1_u32..6,
            steps in proptest::collection::vec((0_u64..2_500, 0_usize..8), 1..200),
        ) {
            let (interval, epoch) = (Duration::from_micros(1_000), Instant::now());
            let buckets = Buckets::new(quota(interval, burst), epoch);
            let (mut now, mut pending, mut kept) = (Duration::ZERO, Vec::new(), Vec::new());
            for (step, choice) in steps {
                now += Duration::from_micros(step);
                if let Ok(admitted) = buckets.take(key(1), epoch + now) {
                    pending.push((now, admitted));
                }
                if choice < pending.len() {
                    buckets.refund(key(1), &pending.remove(choice).1);
                } else if choice == 7 {
                    kept.extend(pending.drain(..).map(|(at, _)| at));
                }
            }
            kept.extend(pending.into_iter().map(|(at, _)| at));
            kept.sort();
            assert_bounded(&kept, interval, burst);
        }
    }
}

#[test]
fn a_full_table_limits_newcomers_until_a_bucket_is_full_again() {
    let (interval, epoch) = (Duration::from_secs(1), Instant::now());
    let buckets = Buckets::with_max_keys(quota(interval, 2), epoch, 16);
    let newcomers = || (1_000..2_000).map(key);
    for number in 0..1_000 {
        let _ = buckets.take(key(number), epoch);
    }
    assert_eq!(buckets.len(), 16);

    assert!(newcomers().all(|key| buckets.take(key, epoch).unwrap_err() == interval));
    let later = epoch + interval;
    assert_eq!(
        newcomers()
            .filter(|key| buckets.take(*key, later).is_ok())
            .count(),
        16
    );
    assert_eq!(buckets.len(), 16);
}

#[test]
fn a_table_never_has_more_than_its_bound_of_keys() {
    let epoch = Instant::now();
    let buckets = Buckets::new(quota(Duration::from_secs(1), 1), epoch);

    for number in 0..200_000 {
        let _ = buckets.take(key(number), epoch);
    }

    assert_eq!(buckets.len(), MAX_KEYS);
}

#[test]
fn a_time_before_the_last_one_does_not_refill() {
    let epoch = Instant::now();
    let buckets = Buckets::new(quota(Duration::from_secs(1), 1), epoch);

    assert!(buckets.take(key(1), epoch + Duration::from_secs(5)).is_ok());
    assert!(buckets.take(key(1), epoch).is_err());
}

fn plan(name: &str, count: u32, burst: u32) -> LimitPlan {
    LimitPlan {
        id: LimitId::from(name),
        origin: Origin::of(format!("rate_limits.{name}")),
        key: vec![KeyPart::ClientAddress],
        count: NonZeroU32::new(count).unwrap(),
        per: Duration::from_secs(60),
        burst: NonZeroU32::new(burst).unwrap(),
        guard: Guard::ENFORCE,
    }
}

fn compiled(plan: &LimitPlan) -> Arc<Limit> {
    Arc::new(Limit::compile(plan).unwrap().0)
}

fn reference(plan: &LimitPlan) -> LimitRef {
    LimitRef::new(compiled(plan), None, Origin::of("routes[0].rate_limits[0]"))
}

fn observed(plan: &LimitPlan) -> LimitRef {
    let guard = Guard {
        mode: Mode::Observe,
        share: Guard::FULL_SHARE,
    };
    LimitRef::new(
        compiled(plan),
        Some(guard),
        Origin::of("routes[0].rate_limits[1]"),
    )
}

/// One request of one client.
fn ask(table: &LimitTable, limits: &[LimitRef], now: Instant) -> LimitOutcome {
    ask_with(
        table,
        limits,
        Charge {
            reason: Reason::RateLimited,
            roll: 0,
            now,
        },
    )
}

fn ask_with(table: &LimitTable, limits: &[LimitRef], charge: Charge) -> LimitOutcome {
    let (query, headers) = (Query::default(), HeaderMap::new());
    let head = RequestHead {
        method: &Method::GET,
        scheme: UrlScheme::Https,
        host: "api.example.com",
        path: "/",
        query: &query,
        headers: &headers,
        client: "192.0.2.1".parse().unwrap(),
    };
    check(
        table,
        limits,
        &LimitFacts {
            head: &head,
            sni: None,
            route: None,
            principal: None,
        },
        charge,
    )
}

#[test]
fn the_burst_is_admitted_and_the_next_request_refused_with_its_fields() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let limits = [reference(&plan("per_address", 60, 2))];

    let first = ask(&table, &limits, now);
    assert!(first.verdict.is_ok() && ask(&table, &limits, now).verdict.is_ok());
    let rejection = ask(&table, &limits, now).verdict.unwrap_err();

    assert_eq!(rejection.reason, Reason::RateLimited);
    let detail = rejection.detail.unwrap();
    assert_eq!(detail.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(
        detail.public.as_deref(),
        Some("rate limit \"per_address\" is used up")
    );
    assert_eq!(
        detail.decided_by.unwrap().path.as_ref(),
        "routes[0].rate_limits[0]"
    );
    let fields: HashMap<_, _> = detail
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert!(
        fields["ratelimit-policy"].starts_with("\"per_address\";q=60;w=60;pk=:"),
        "{fields:?}"
    );
    assert!(
        fields["ratelimit"].starts_with("\"per_address\";r=0;t=1;pk=:"),
        "{fields:?}"
    );
    let told = first.fields.unwrap();
    assert!(
        told.limit
            .to_str()
            .unwrap()
            .starts_with("\"per_address\";r=1;t=1;pk=:"),
        "{told:?}"
    );
}

#[test]
fn what_was_refused_is_admitted_once_retry_after_has_passed() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let limits = [reference(&plan("slow", 1, 1))];
    assert!(ask(&table, &limits, now).verdict.is_ok());

    let rejection = ask(&table, &limits, now).verdict.unwrap_err();

    let wait = rejection.detail.unwrap().retry_after.unwrap();
    assert_eq!(wait, Duration::from_secs(60));
    assert!(
        ask(&table, &limits, now + wait - Duration::from_secs(1))
            .verdict
            .is_err()
    );
    assert!(ask(&table, &limits, now + wait).verdict.is_ok());
}

#[test]
fn a_refused_request_pays_none_of_the_limits_of_its_point() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let (wide, narrow) = (reference(&plan("wide", 60, 5)), reference(&plan("narrow", 60, 1)));
    let both = [wide.clone(), observed(&plan("watched", 60, 5)), narrow];
    assert!(ask(&table, &both, now).verdict.is_ok());
    for _ in 0..10 {
        assert!(ask(&table, &both, now).verdict.is_err());
    }

    let left = ask(&table, std::slice::from_ref(&wide), now);

    assert_eq!(left.decisions[0].remaining, 3);
    let watched = ask(&table, &[observed(&plan("watched", 60, 5))], now);
    assert_eq!(watched.decisions[0].remaining, 3);
}

#[test]
fn a_limit_in_observe_mode_counts_and_reports_but_never_refuses() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let limits = [observed(&plan("next", 60, 1))];

    let first = ask(&table, &limits, now);
    let second = ask(&table, &limits, now);

    assert!(first.verdict.is_ok() && first.observed.is_empty());
    assert!(second.verdict.is_ok());
    assert_eq!(second.observed[0].guard, "limit:next");
    assert_eq!(second.observed[0].reason, Reason::RateLimited);
    assert_eq!(second.fields, None);
}

#[test]
fn a_limit_that_is_off_is_not_asked_and_a_share_is_enforced_for_its_rolls() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let limit = compiled(&plan("partly", 60, 1));
    let guard =
        |mode, share| LimitRef::new(Arc::clone(&limit), Some(Guard { mode, share }), Origin::default());
    let charge = |roll| Charge {
        reason: Reason::RateLimited,
        roll,
        now,
    };

    assert!(ask(&table, &[guard(Mode::Off, 10_000)], now).decisions.is_empty());
    let half = [guard(Mode::Enforce, 5_000)];
    assert!(ask_with(&table, &half, charge(0)).verdict.is_ok());
    assert!(ask_with(&table, &half, charge(4_999)).verdict.is_err());
    let beyond = ask_with(&table, &half, charge(5_000));
    assert!(beyond.verdict.is_ok());
    assert_eq!(beyond.observed.len(), 1);
}

#[test]
fn the_binding_limit_is_told_first_and_others_only_when_nearly_used_up() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let names = |outcome: &LimitOutcome| {
        let fields = outcome.fields.clone().unwrap();
        let text = fields.limit.to_str().unwrap().to_owned();
        text.split(", ")
            .map(|one| one.split(';').next().unwrap().trim_matches('"').to_owned())
            .collect::<Vec<_>>()
    };
    let limits = [
        reference(&plan("a", 60, 10)),
        reference(&plan("b", 60, 11)),
        reference(&plan("c", 60, 1_000)),
    ];

    assert_eq!(names(&ask(&table, &limits, now)), ["a"]);
    let mut last = ask(&table, &limits, now);
    for _ in 0..7 {
        last = ask(&table, &limits, now);
    }
    assert_eq!(names(&last), ["a", "b"]);
}

#[test]
fn fields_of_two_points_are_one_list() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let fields = |name: &str| ask(&table, &[reference(&plan(name, 60, 10))], now).fields;

    let merged = RateLimitFields::merge(fields("early"), fields("late")).unwrap();

    assert!(
        merged
            .policy
            .to_str()
            .unwrap()
            .contains("\"early\";q=60;w=60;pk=:")
    );
    assert!(
        merged
            .policy
            .to_str()
            .unwrap()
            .contains(", \"late\";q=60;w=60;pk=:")
    );
    assert_eq!(
        RateLimitFields::merge(None, fields("one")).map(|fields| fields.headers().len()),
        Some(2)
    );
    assert_eq!(RateLimitFields::merge(None, None), None);
}

#[test]
fn an_unchanged_limit_keeps_its_buckets_over_a_reload_and_a_changed_one_does_not() {
    let (table, now) = (LimitTable::new(), Instant::now());
    assert!(ask(&table, &[reference(&plan("l", 60, 1))], now).verdict.is_ok());

    let mut moved = plan("l", 60, 1);
    moved.origin = Origin::of("elsewhere");
    assert!(ask(&table, &[reference(&moved)], now).verdict.is_err());
    assert!(ask(&table, &[reference(&plan("l", 60, 2))], now).verdict.is_ok());
}

#[test]
fn a_sweep_forgets_the_limits_that_are_gone_and_no_others() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let (gone, kept) = (compiled(&plan("gone", 60, 1)), compiled(&plan("kept", 60, 1)));
    let limits = [&gone, &kept].map(|limit| LimitRef::new(Arc::clone(limit), None, Origin::default()));
    assert!(ask(&table, &limits, now).verdict.is_ok());

    table.sweep([&kept]);

    assert_eq!((table.entries(&gone), table.entries(&kept)), (0, 1));
    assert!(ask(&table, &limits[1..], now).verdict.is_err());
}

#[test]
fn decisions_and_keys_are_counted() {
    let registry = prometheus::Registry::new();
    let table = LimitTable::with_metrics(Metrics::register(&registry).unwrap());
    let (limit, now) = (compiled(&plan("per_address", 60, 1)), Instant::now());
    let limits = [LimitRef::new(Arc::clone(&limit), None, Origin::default())];
    let _ = (ask(&table, &limits, now), ask(&table, &limits, now));
    table.publish_entries();
    let text = || {
        prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    };

    let counted =
        r#"portcullis_limit_decisions_total{limit="per_address",mode="enforce",result="limited"} 1"#;
    assert!(text().contains(counted), "{}", text());
    assert!(text().contains(r#"portcullis_limit_entries{limit="per_address"} 1"#));
    table.sweep([]);
    assert!(!text().contains("portcullis_limit_entries{"));
}

#[test]
fn threads_together_take_no_more_than_the_burst() {
    let (table, now) = (LimitTable::new(), Instant::now());
    let limits = [reference(&plan("shared", 1, 100))];

    let admitted: usize = std::thread::scope(|scope| {
        let ask_often = || {
            (0..100)
                .filter(|_| ask(&table, &limits, now).verdict.is_ok())
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask_often)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });

    assert_eq!(admitted, 100);
}
