use proptest::prelude::*;

use super::*;

const PROBED: Rules = Rules {
    probed: true,
    fall: 2,
    rise: 2,
};
const UNPROBED: Rules = Rules {
    probed: false,
    fall: 2,
    rise: 2,
};
const RESET: Outcome = Outcome::Transport(TransportKind::Reset);
/// A jitter that leaves the planned time as it is.
const EVEN: u64 = 500;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn record(machine: &mut Machine, outcome: Outcome, part: Part, now: Instant) {
    if let Some(cause) = machine.on_attempt(outcome, part, now) {
        machine.eject(cause, EVEN, now);
    }
}

fn ejected(now: Instant) -> Machine {
    let mut machine = Machine::new(UNPROBED);
    for _ in 0..FAILED_IN_A_ROW {
        record(&mut machine, RESET, Part::Ordinary, now);
    }
    assert!(machine.is_ejected());
    machine
}

fn fail_trial(machine: &mut Machine, now: Instant) {
    let number = machine.begin_trial(Urgency::Due, now).unwrap();
    record(machine, RESET, Part::Trial(number), now);
}

fn trial_in(machine: &Machine, now: Instant) -> Duration {
    match machine.state(now) {
        EndpointState::Ejected { trial_in, .. } => trial_in,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_probed_endpoint_is_used_from_its_first_pass_on() {
    let mut machine = Machine::new(PROBED);
    assert!(!machine.is_usable() && !machine.was_checked());

    machine.on_probe(Err("refused"));
    machine.on_probe(Err("refused"));
    assert!(!machine.is_usable() && machine.was_checked());
    assert_eq!(
        machine.state(Instant::now()),
        EndpointState::Warming {
            failures: 2,
            error: Some("refused".into())
        }
    );

    machine.on_probe(Ok(()));
    assert!(machine.is_usable());
}

#[test]
fn an_endpoint_without_a_probe_starts_up() {
    let machine = Machine::new(UNPROBED);

    assert!(machine.is_usable() && machine.was_checked());
}

#[test]
fn probes_take_it_down_after_fall_and_up_after_rise_in_a_row() {
    let mut machine = Machine::new(PROBED);
    let usable = |machine: &mut Machine, passes: &[bool]| -> Vec<bool> {
        let step = |pass: &bool| {
            machine.on_probe(if *pass { Ok(()) } else { Err("503") });
            machine.is_usable()
        };
        passes.iter().map(step).collect()
    };

    assert_eq!(
        usable(&mut machine, &[true, false, true, false, false]),
        [true, true, true, true, false]
    );
    assert_eq!(
        usable(&mut machine, &[true, false, true, true]),
        [false, false, false, true]
    );
}

#[test]
fn half_the_answers_failing_ejects_sooner_or_later_and_few_do_not() {
    let now = Instant::now();
    let mut half = Machine::new(UNPROBED);
    let mut few = Machine::new(UNPROBED);
    for index in 0..200 {
        let half_fails = index % 4 < 2;
        record(
            &mut half,
            if half_fails {
                Outcome::Correctness
            } else {
                Outcome::Ok
            },
            Part::Ordinary,
            now,
        );
        record(
            &mut few,
            if index % 5 == 0 {
                Outcome::Correctness
            } else {
                Outcome::Ok
            },
            Part::Ordinary,
            now,
        );
    }

    assert!(half.is_ejected());
    assert!(few.is_usable());
}

#[test]
fn fewer_than_eight_attempts_eject_nothing() {
    let now = Instant::now();
    let mut machine = Machine::new(UNPROBED);

    (0..7).for_each(|_| record(&mut machine, Outcome::Correctness, Part::Ordinary, now));
    assert!(machine.is_usable());

    record(&mut machine, Outcome::Correctness, Part::Ordinary, now);
    assert!(matches!(
        machine.state(now),
        EndpointState::Ejected {
            cause: Cause::Success,
            samples: 8,
            ..
        }
    ));
}

#[test]
fn failed_connections_in_a_row_eject_at_once_and_an_answer_breaks_the_row() {
    let now = Instant::now();
    let mut machine = Machine::new(UNPROBED);
    for outcome in [
        RESET,
        Outcome::Silence,
        Outcome::Capacity,
        RESET,
        RESET,
        Outcome::Ok,
        RESET,
        RESET,
    ] {
        record(&mut machine, outcome, Part::Ordinary, now);
    }
    assert!(machine.is_usable());

    record(&mut machine, RESET, Part::Ordinary, now);
    assert!(matches!(
        machine.state(now),
        EndpointState::Ejected {
            cause: Cause::Transport,
            ..
        }
    ));
}

#[test]
fn a_wrong_identity_ejects_at_once() {
    let now = Instant::now();
    let mut machine = Machine::new(UNPROBED);

    record(
        &mut machine,
        Outcome::Transport(TransportKind::Identity),
        Part::Ordinary,
        now,
    );

    assert!(matches!(
        machine.state(now),
        EndpointState::Ejected {
            cause: Cause::Identity,
            ..
        }
    ));
}

#[test]
fn capacity_and_abandoned_requests_are_no_evidence_against_an_endpoint() {
    let now = Instant::now();
    let mut machine = Machine::new(UNPROBED);

    for _ in 0..100 {
        record(&mut machine, Outcome::Capacity, Part::Ordinary, now);
        record(&mut machine, Outcome::Abandoned, Part::Ordinary, now);
    }

    assert_eq!(machine.success(), (1.0, 0));
    assert!(machine.is_usable());
}

#[test]
fn answers_that_break_off_eject_although_their_heads_were_fine() {
    let now = Instant::now();
    let mut machine = Machine::new(UNPROBED);

    for _ in 0..8 {
        record(&mut machine, Outcome::Ok, Part::Ordinary, now);
        if let Some(cause) = machine.on_broken_answer() {
            machine.eject(cause, EVEN, now);
        }
    }

    assert!(machine.is_ejected());
}

#[test]
fn ejections_double_up_to_their_longest_and_are_forgotten_in_time() {
    let mut now = Instant::now();
    let mut machine = ejected(now);
    let mut lengths = Vec::new();
    for _ in 0..8 {
        lengths.push(trial_in(&machine, now).as_secs());
        now += trial_in(&machine, now);
        fail_trial(&mut machine, now);
    }
    assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 160, 160]);

    now += trial_in(&machine, now);
    let number = machine.begin_trial(Urgency::Due, now).unwrap();
    record(&mut machine, Outcome::Ok, Part::Trial(number), now);
    let mut soon = machine.clone();
    (0..3).for_each(|_| record(&mut soon, RESET, Part::Ordinary, now + secs(1)));
    assert_eq!(trial_in(&soon, now + secs(1)), secs(160));

    now += FORGET_AFTER;
    (0..3).for_each(|_| record(&mut machine, RESET, Part::Ordinary, now));
    assert_eq!(trial_in(&machine, now), secs(5));
}

#[test]
fn one_request_at_a_time_is_the_trial() {
    let now = Instant::now();
    let mut machine = ejected(now);
    assert_eq!(machine.begin_trial(Urgency::Due, now + secs(4)), None);

    let number = machine.begin_trial(Urgency::Due, now + secs(5)).unwrap();
    assert_eq!(machine.begin_trial(Urgency::Due, now + secs(60)), None);
    assert_eq!(machine.state(now), EndpointState::Trial);

    record(&mut machine, Outcome::Ok, Part::Trial(number), now + secs(6));
    assert!(machine.is_usable());
}

#[test]
fn an_answer_to_a_request_from_before_the_ejection_does_not_end_it() {
    let now = Instant::now();
    let mut machine = ejected(now);

    record(&mut machine, Outcome::Ok, Part::Ordinary, now + secs(6));
    assert!(machine.is_ejected());

    let number = machine.begin_trial(Urgency::Due, now + secs(6)).unwrap();
    record(&mut machine, Outcome::Ok, Part::Ordinary, now + secs(6));
    record(&mut machine, Outcome::Ok, Part::Trial(number + 1), now + secs(6));
    assert!(machine.is_ejected());
}

#[test]
fn evidence_without_a_name_speaks_for_the_trial_once_its_time_has_come() {
    let now = Instant::now();
    let mut machine = ejected(now);

    record(&mut machine, Outcome::Ok, Part::Unknown, now + secs(1));
    assert!(machine.is_ejected());

    record(&mut machine, Outcome::Ok, Part::Unknown, now + secs(5));
    assert!(machine.is_usable());
}

#[test]
fn a_trial_that_showed_nothing_is_given_back() {
    let now = Instant::now();
    let mut machine = ejected(now);
    let number = machine.begin_trial(Urgency::Due, now + secs(5)).unwrap();

    machine.release_trial(number, now + secs(5));

    assert!(machine.is_ejected());
    assert!(machine.may_try(Urgency::Due, now + secs(5)));
}

#[test]
fn a_full_endpoint_stays_out_for_a_while_without_a_longer_ejection() {
    let now = Instant::now();
    let mut machine = ejected(now);
    let number = machine.begin_trial(Urgency::Due, now + secs(5)).unwrap();

    record(
        &mut machine,
        Outcome::Capacity,
        Part::Trial(number),
        now + secs(5),
    );
    assert_eq!(trial_in(&machine, now + secs(5)), secs(5));

    fail_trial(&mut machine, now + secs(10));
    assert_eq!(trial_in(&machine, now + secs(10)), secs(10));
}

#[test]
fn last_resorts_come_once_a_second_and_do_not_lengthen_the_ejection() {
    let now = Instant::now();
    let mut machine = ejected(now);

    let first = machine
        .begin_trial(Urgency::LastResort, now + Duration::from_millis(100))
        .unwrap();
    record(
        &mut machine,
        RESET,
        Part::Trial(first),
        now + Duration::from_millis(200),
    );
    assert_eq!(trial_in(&machine, now), secs(5));
    assert_eq!(machine.begin_trial(Urgency::LastResort, now + secs(1)), None);

    let second = machine
        .begin_trial(Urgency::LastResort, now + Duration::from_millis(1_100))
        .unwrap();
    record(&mut machine, Outcome::Ok, Part::Trial(second), now + secs(2));
    assert!(machine.is_usable());
}

#[test]
fn an_endpoint_that_fails_its_probes_gets_no_trial() {
    let now = Instant::now();
    let mut machine = ejected(now);
    machine.adopt(PROBED);
    machine.on_probe(Err("refused"));
    machine.on_probe(Err("refused"));

    assert_eq!(machine.begin_trial(Urgency::Due, now + secs(500)), None);
    assert_eq!(machine.begin_trial(Urgency::LastResort, now + secs(500)), None);
}

#[test]
fn switching_probes_on_keeps_a_serving_endpoint_and_switching_them_off_brings_one_back() {
    let mut machine = Machine::new(UNPROBED);
    machine.adopt(PROBED);
    assert!(machine.is_usable());

    machine.on_probe(Err("refused"));
    machine.on_probe(Err("refused"));
    assert!(!machine.is_usable());

    machine.adopt(UNPROBED);
    assert!(machine.is_usable());
}

#[test]
fn a_long_error_is_cut_between_characters() {
    let mut machine = Machine::new(PROBED);

    machine.on_probe(Err(&"é".repeat(400)));

    let EndpointState::Warming {
        error: Some(error), ..
    } = machine.state(Instant::now())
    else {
        panic!()
    };
    assert!(error.len() <= LONGEST_ERROR && error.chars().all(|letter| letter == 'é'));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Wait(u64),
    Probe(bool),
    Attempt(Outcome),
    BeginTrial,
    LastResort,
    EndTrial(Outcome),
    ReleaseTrial,
    Broken,
    Adopt(bool),
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Ok,
        Outcome::Correctness,
        Outcome::Capacity,
        RESET,
        Outcome::Transport(TransportKind::Refused),
        Outcome::Transport(TransportKind::Identity),
        Outcome::Silence,
        Outcome::Abandoned,
    ])
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_u64..20_000).prop_map(Event::Wait),
        3 => any::<bool>().prop_map(Event::Probe),
        6 => any_outcome().prop_map(Event::Attempt),
        2 => Just(Event::BeginTrial),
        1 => Just(Event::LastResort),
        2 => any_outcome().prop_map(Event::EndTrial),
        1 => Just(Event::ReleaseTrial),
        1 => Just(Event::Broken),
        1 => any::<bool>().prop_map(Event::Adopt),
    ]
}

/// Plays an event; gives the outcome that a trial ended with.
fn play(
    machine: &mut Machine,
    event: Event,
    now: &mut Instant,
    trial: &mut Option<u64>,
    jitter: u64,
) -> Option<Outcome> {
    let mut cause = None;
    let mut ended = None;
    match event {
        Event::Wait(millis) => *now += Duration::from_millis(millis),
        Event::Probe(true) => machine.on_probe(Ok(())),
        Event::Probe(false) => machine.on_probe(Err("refused")),
        Event::Attempt(outcome) => cause = machine.on_attempt(outcome, Part::Ordinary, *now),
        Event::BeginTrial => *trial = machine.begin_trial(Urgency::Due, *now).or(*trial),
        Event::LastResort => *trial = machine.begin_trial(Urgency::LastResort, *now).or(*trial),
        Event::EndTrial(outcome) => {
            if let Some(number) = trial.take() {
                cause = machine.on_attempt(outcome, Part::Trial(number), *now);
                ended = Some(outcome);
            }
        }
        Event::ReleaseTrial => {
            if let Some(number) = trial.take() {
                machine.release_trial(number, *now);
            }
        }
        Event::Broken => cause = machine.on_broken_answer(),
        Event::Adopt(probed) => machine.adopt(Rules { probed, ..PROBED }),
    }
    if let Some(cause) = cause {
        machine.eject(cause, jitter, *now);
    }
    ended
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn only_a_successful_trial_ends_an_ejection(
        events in prop::collection::vec(any_event(), 1..120),
        jitter: u64,
        probed: bool,
    ) {
        let mut machine = Machine::new(Rules { probed, ..PROBED });
        let (mut now, mut trial) = (Instant::now(), None);
        for event in events {
            let was_ejected = machine.is_ejected();
            let ended = play(&mut machine, event, &mut now, &mut trial, jitter);

            if was_ejected && !machine.is_ejected() {
                prop_assert_eq!(ended, Some(Outcome::Ok));
            }
            prop_assert!(!(machine.is_ejected() && machine.is_usable()));
        }
    }

    #[test]
    fn a_warming_endpoint_is_never_used(
        events in prop::collection::vec(any_event(), 1..80),
    ) {
        let mut machine = Machine::new(PROBED);
        let (mut now, mut trial) = (Instant::now(), None);
        let never_passes = |event: &Event| !matches!(event, Event::Probe(true) | Event::Adopt(_));
        for event in events.into_iter().filter(never_passes) {
            play(&mut machine, event, &mut now, &mut trial, EVEN);

            prop_assert!(!machine.is_usable());
            prop_assert!(!machine.may_try(Urgency::LastResort, now));
        }
    }

    #[test]
    fn there_is_never_more_than_one_trial(
        events in prop::collection::vec(any_event(), 1..120),
    ) {
        let mut machine = ejected(Instant::now());
        let (mut now, mut trial) = (Instant::now(), None);
        for event in events {
            play(&mut machine, event, &mut now, &mut trial, EVEN);

            if matches!(machine.passive, Passive::Trial { .. }) {
                prop_assert_eq!(machine.begin_trial(Urgency::LastResort, now + secs(600)), None);
            }
        }
    }

    #[test]
    fn an_ejection_lasts_as_long_as_its_number_says(count in 1_u32..12, jitter: u64) {
        let mut now = Instant::now();
        let mut machine = ejected(now);
        for _ in 1..count {
            now += secs(400);
            fail_trial(&mut machine, now);
        }
        let mut jittery = machine.clone();
        now += secs(400);
        let number = jittery.begin_trial(Urgency::Due, now).unwrap();
        let cause = jittery.on_attempt(RESET, Part::Trial(number), now).unwrap();
        jittery.eject(cause, jitter, now);

        let planned = (5.0 * 2_f64.powi(count.try_into().unwrap())).min(160.0);
        let lasted = trial_in(&jittery, now).as_secs_f64();
        prop_assert!((planned * 0.799..=planned * 1.201).contains(&lasted), "{} of {}", lasted, planned);
    }
}
