use proptest::prelude::*;

use super::*;
use crate::fixture::{AP, Bench, EU_1, EU_2, US, attempt, only, pool_plan, probed, site, three_regions};
use crate::plan::RetryBudgetPlan;
use crate::pool::Pool;

const REFUSED: Failure = Failure::of(Outcome::Transport(TransportKind::Refused));
const RESET: Failure = Failure::of(Outcome::Transport(TransportKind::Reset));
const SILENCE: Failure = Failure::of(Outcome::Silence);

fn answer(status: u16) -> Failure {
    Failure::of_answer(StatusCode::from_u16(status).unwrap(), &http::HeaderMap::new())
}

/// What is asked; by default a safe request that may go anywhere, with one attempt beyond the first.
#[derive(Clone, Debug)]
struct Case {
    plan: RetryPlan,
    safe: bool,
    replayable: bool,
    allowed: AllowedRegions,
}

const SAFE: Case = Case {
    plan: RetryPlan {
        attempts: 1,
        scope: RetryScope::Any,
    },
    safe: true,
    replayable: true,
    allowed: AllowedRegions::All,
};

impl Case {
    fn unsafe_method(mut self) -> Self {
        self.safe = false;
        self
    }

    fn streamed(mut self) -> Self {
        self.replayable = false;
        self
    }

    fn in_region(mut self) -> Self {
        self.plan.scope = RetryScope::Region;
        self
    }

    fn attempts(mut self, attempts: u8) -> Self {
        self.plan.attempts = attempts;
        self
    }

    fn allowed(mut self, regions: &[&str]) -> Self {
        self.allowed = only(regions);
        self
    }

    fn next(&self, bench: &Bench, tried: &[Attempt]) -> Next {
        let request = AttemptRequest {
            safe: self.safe,
            replayable: self.replayable,
            allowed: &self.allowed,
            tried,
        };
        let pool: &Pool = &bench.pool();
        let failure = tried.last().unwrap().failure;
        next_attempt(
            &self.plan,
            &bench.boards.budgets,
            pool,
            &request,
            &failure,
            bench.now,
        )
    }

    /// Where the next attempt would go after one failed at the first local endpoint; `-` for nowhere.
    fn goes_to(&self, bench: &Bench, failure: Failure) -> String {
        self.goes_on(bench, &[attempt("eu", EU_1, failure)])
    }

    fn goes_on(&self, bench: &Bench, tried: &[Attempt]) -> String {
        let Next::Again(reach) = self.next(bench, tried) else {
            return "-".to_owned();
        };
        let selection = bench.select_within(&self.allowed, tried, &reach, 0).unwrap();
        selection.endpoint.address.to_string()
    }
}

#[test]
fn what_was_not_processed_goes_to_another_endpoint_with_any_method() {
    let bench = Bench::new(three_regions());
    let refused_stream = Failure::unprocessed(Outcome::Transport(TransportKind::Reset));

    for kind in [
        TransportKind::Refused,
        TransportKind::Tls,
        TransportKind::Identity,
    ] {
        assert_eq!(
            SAFE.unsafe_method()
                .goes_to(&bench, Failure::of(Outcome::Transport(kind))),
            EU_2
        );
    }
    assert_eq!(SAFE.unsafe_method().goes_to(&bench, refused_stream), EU_2);
}

#[test]
fn what_was_not_processed_goes_on_to_another_region_and_is_free() {
    let mut plan = three_regions();
    plan.retry = RetryBudgetPlan {
        share: 0,
        min_per_second: 0,
    };
    let bench = Bench::new(plan);
    let tried = [attempt("eu", EU_1, REFUSED), attempt("eu", EU_2, REFUSED)];

    assert_eq!(SAFE.attempts(0).unsafe_method().goes_on(&bench, &tried), US);
}

#[test]
fn there_are_at_most_two_more_attempts() {
    let bench = Bench::new(three_regions());
    let tried = [
        attempt("eu", EU_1, REFUSED),
        attempt("eu", EU_2, REFUSED),
        attempt("us", US, REFUSED),
    ];

    assert_eq!(SAFE.next(&bench, &tried), Next::GiveUp(Reason::EndpointConnect));
}

#[test]
fn a_streamed_body_is_sent_again_only_when_nothing_of_it_was_sent() {
    let bench = Bench::new(three_regions());

    assert_eq!(SAFE.streamed().goes_to(&bench, REFUSED), EU_2);
    assert_eq!(
        SAFE.streamed()
            .goes_to(&bench, Failure::unprocessed(RESET.outcome)),
        "-"
    );
    assert_eq!(SAFE.streamed().goes_to(&bench, answer(503)), "-");
}

#[test]
fn a_full_region_sends_safe_requests_to_another_one_for_free_and_never_back() {
    let mut plan = three_regions();
    plan.retry = RetryBudgetPlan {
        share: 0,
        min_per_second: 0,
    };
    let bench = Bench::new(plan);
    assert_eq!(
        [503, 429].map(|status| SAFE.goes_to(&bench, answer(status))),
        [US, US]
    );
    assert_eq!(
        SAFE.unsafe_method()
            .next(&bench, &[attempt("eu", EU_1, answer(503))]),
        Next::PassOn
    );

    // Nowhere else to go, with a budget or without.
    let alone = Bench::new(pool_plan(vec![site("eu", &[EU_1, EU_2])]));
    assert_eq!(SAFE.goes_to(&alone, answer(503)), "-");
    assert_eq!(SAFE.in_region().goes_to(&bench, answer(503)), "-");
}

#[test]
fn a_broken_exchange_goes_to_another_region_for_free() {
    let mut plan = three_regions();
    plan.retry = RetryBudgetPlan {
        share: 0,
        min_per_second: 0,
    };
    let bench = Bench::new(plan);

    for failure in [RESET, SILENCE, answer(502), answer(504)] {
        assert_eq!(SAFE.goes_to(&bench, failure), US);
        assert_eq!(SAFE.unsafe_method().goes_to(&bench, failure), "-");
        assert_eq!(SAFE.attempts(0).goes_to(&bench, failure), "-");
    }
}

#[test]
fn a_broken_exchange_stays_in_its_region_only_from_the_budget() {
    let mut plan = pool_plan(vec![site("eu", &[EU_1, EU_2])]);
    plan.retry = RetryBudgetPlan {
        share: 0,
        min_per_second: 1,
    };
    let bench = Bench::new(plan);

    assert_eq!(SAFE.goes_to(&bench, RESET), EU_2);
    assert_eq!(SAFE.goes_to(&bench, RESET), "-");
}

#[test]
fn a_500_costs_the_budget_wherever_it_goes() {
    let mut plan = three_regions();
    plan.retry = RetryBudgetPlan {
        share: 0,
        min_per_second: 2,
    };
    let bench = Bench::new(plan);

    assert_eq!(SAFE.goes_to(&bench, answer(500)), EU_2);
    assert_eq!(SAFE.unsafe_method().goes_to(&bench, answer(500)), "-");
    assert_eq!(SAFE.in_region().goes_to(&bench, answer(500)), EU_2);
    assert_eq!(SAFE.goes_to(&bench, answer(500)), "-");
}

#[test]
fn other_answers_are_passed_on() {
    let bench = Bench::new(three_regions());

    for status in [200, 404, 501, 505, 507] {
        assert_eq!(
            SAFE.next(&bench, &[attempt("eu", EU_1, answer(status))]),
            Next::PassOn
        );
    }
}

#[test]
fn giving_up_says_what_failed() {
    let bench = Bench::new(pool_plan(vec![site("eu", &[EU_1])]));
    let reason = |failure| match SAFE.next(&bench, &[attempt("eu", EU_1, failure)]) {
        Next::GiveUp(reason) => reason,
        other => panic!("{other:?}"),
    };
    let transport = |kind| Failure::of(Outcome::Transport(kind));

    assert_eq!(reason(REFUSED), Reason::EndpointConnect);
    assert_eq!(reason(transport(TransportKind::Tls)), Reason::EndpointTls);
    assert_eq!(
        reason(transport(TransportKind::Identity)),
        Reason::EndpointIdentity
    );
    assert_eq!(
        reason(transport(TransportKind::Protocol)),
        Reason::EndpointProtocol
    );
    assert_eq!(reason(RESET), Reason::EndpointReset);
    assert_eq!(reason(SILENCE), Reason::EndpointTimeout);
    assert_eq!(reason(Failure::of(Outcome::Abandoned)), Reason::ClientClosed);
}

#[test]
fn the_scope_keeps_every_attempt_in_its_region() {
    let bench = Bench::new(three_regions());
    let both = [attempt("eu", EU_1, REFUSED), attempt("eu", EU_2, REFUSED)];

    assert_eq!(SAFE.in_region().goes_to(&bench, REFUSED), EU_2);
    assert_eq!(SAFE.in_region().goes_to(&bench, RESET), EU_2);
    assert_eq!(SAFE.in_region().goes_on(&bench, &both), "-");
}

#[test]
fn a_free_attempt_does_not_go_back_where_the_request_may_have_been_processed() {
    let bench = Bench::new(three_regions());
    let tried = [attempt("eu", EU_1, answer(503)), attempt("us", US, REFUSED)];

    assert_eq!(SAFE.goes_on(&bench, &tried), AP);
    assert_eq!(SAFE.allowed(&["eu", "us"]).goes_on(&bench, &tried), "-");
}

#[test]
fn attempts_that_may_have_been_processed_are_counted_and_others_not() {
    let bench = Bench::new(three_regions());
    let after_refusal = [attempt("eu", EU_1, REFUSED), attempt("eu", EU_2, RESET)];
    let after_reset = [attempt("eu", EU_1, RESET), attempt("us", US, RESET)];

    assert_eq!(SAFE.goes_on(&bench, &after_refusal), US);
    assert_eq!(SAFE.goes_on(&bench, &after_reset), "-");
    assert_eq!(SAFE.attempts(2).goes_on(&bench, &after_reset), AP);
}

#[test]
fn residency_binds_second_attempts() {
    let bench = Bench::new(three_regions());
    let eu = SAFE.allowed(&["eu"]);

    assert_eq!(eu.goes_to(&bench, answer(503)), "-");
    assert_eq!(eu.goes_to(&bench, REFUSED), EU_2);
    assert_eq!(
        eu.goes_on(
            &bench,
            &[attempt("eu", EU_1, REFUSED), attempt("eu", EU_2, REFUSED)]
        ),
        "-"
    );
}

#[test]
fn an_endpoint_that_is_not_up_is_no_place_for_a_second_attempt() {
    let bench = Bench::new(probed(three_regions()));
    bench.probe(EU_1, true);

    assert_eq!(SAFE.goes_to(&bench, REFUSED), "-");
}

#[test]
fn a_refused_second_attempt_costs_nothing() {
    let mut plan = pool_plan(vec![site("eu", &[EU_1, EU_2])]);
    plan.retry = RetryBudgetPlan {
        share: 0,
        min_per_second: 1,
    };
    let bench = Bench::new(probed(plan));
    bench.probe(EU_1, true);
    assert_eq!(SAFE.goes_to(&bench, RESET), "-");

    bench.probe(EU_2, true);
    assert_eq!(SAFE.goes_to(&bench, RESET), EU_2);
}

fn any_failure() -> impl Strategy<Value = Failure> {
    let transport = prop::sample::select(vec![
        TransportKind::Refused,
        TransportKind::Reset,
        TransportKind::Tls,
        TransportKind::Identity,
        TransportKind::Protocol,
    ]);
    prop_oneof![
        4 => (transport, any::<bool>()).prop_map(|(kind, not_processed)| Failure {
            outcome: Outcome::Transport(kind),
            not_processed,
            status: None,
        }),
        1 => Just(SILENCE),
        3 => prop::sample::select(vec![500, 502, 503, 504, 429]).prop_map(answer),
    ]
}

fn any_case() -> impl Strategy<Value = Case> {
    let scope = prop::sample::select(vec![RetryScope::Any, RetryScope::Region]);
    let allowed = prop_oneof![
        Just(AllowedRegions::All),
        prop::sample::subsequence(vec!["eu", "us", "ap"], 1..=3).prop_map(|regions| only(&regions)),
    ];
    (0_u8..=2, scope, any::<bool>(), any::<bool>(), allowed).prop_map(
        |(attempts, scope, safe, replayable, allowed)| Case {
            plan: RetryPlan { attempts, scope },
            safe,
            replayable,
            allowed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_rules_of_second_attempts_hold_for_every_course(
        case in any_case(),
        failures in prop::collection::vec(any_failure(), 1..5),
    ) {
        let bench = Bench::new(three_regions());
        let mut tried: Vec<Attempt> = Vec::new();
        let mut reach = Reach::Anywhere;
        for failure in failures {
            let Ok(selection) = bench.select_within(&case.allowed, &tried, &reach, 0) else {
                prop_assert!(tried.is_empty());
                break;
            };
            let endpoint = selection.endpoint.clone();

            prop_assert!(case.allowed.contains(&endpoint.region));
            prop_assert!(tried.iter().all(|before| before.endpoint != endpoint));
            let said_full = |before: &Attempt| {
                before.endpoint.region == endpoint.region && before.failure.outcome == Outcome::Capacity
            };
            prop_assert!(!tried.iter().any(said_full));
            if case.plan.scope == RetryScope::Region {
                prop_assert!(tried.iter().all(|before| before.endpoint.region == endpoint.region));
            }

            tried.push(Attempt { endpoint, failure });
            prop_assert!(tried.len() <= 1 + MOST_MORE);
            let Next::Again(next) = case.next(&bench, &tried) else {
                break;
            };
            reach = next;
            let processed = tried.iter().filter(|attempt| is_processed(&attempt.failure)).count();
            if is_processed(&failure) {
                prop_assert!(case.safe && case.replayable);
                prop_assert!(processed <= usize::from(case.plan.attempts));
            }
            prop_assert!(case.replayable || never_connected(failure.outcome));
        }
    }
}
