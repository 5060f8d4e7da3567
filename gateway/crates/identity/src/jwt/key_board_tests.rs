//! How keys arrive, age and go.

use portcullis_model::IssuerId;

use super::super::key_slot::MAX_PAUSE;
use super::*;
use crate::boards::Boards;
use crate::plan::KeyTimes;
use crate::testing::{ISSUER, KEYS_URL, ScriptedFetch, TestClock, TestKey, boards, issuer_plan, jwks};

#[path = "key_board_tests/unknown_kids.rs"]
mod unknown_kids;

const REFRESH: Duration = Duration::from_secs(5 * 60);
const STALE: Duration = Duration::from_secs(60 * 60);
const COOLDOWN: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

struct Setup {
    boards: Boards,
    clock: TestClock,
    fetch: Arc<ScriptedFetch>,
    slot: Arc<KeySlot>,
}

impl Setup {
    fn new(source: KeySource) -> Self {
        let (boards, clock, fetch) = boards();
        let slot = boards.keys.slot(&issuer_plan(source)).unwrap();
        Self {
            boards,
            clock,
            fetch,
            slot,
        }
    }

    fn url() -> Self {
        Self::new(KeySource::Url(KEYS_URL.into()))
    }

    async fn refresh(&self) {
        self.boards.keys.refresh_due(self.clock.instant()).await;
    }

    fn usable(&self) -> Option<Arc<LoadedKeys>> {
        self.slot.usable(self.clock.instant())
    }

    /// How long ago the first fetch was, which is all the time that passed.
    fn age_of_first_fetch(&self) -> Option<Duration> {
        Some(self.clock.passed())
    }

    fn generation(&self) -> Option<u64> {
        self.usable().map(|keys| keys.generation)
    }
}

#[tokio::test]
async fn the_first_refresh_fetches_and_the_next_waits_until_it_is_due() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    assert!(!setup.boards.keys.is_ready());

    setup.refresh().await;
    setup.refresh().await;

    assert_eq!(setup.fetch.count(), 1);
    assert_eq!(setup.usable().unwrap().set.len(), 1);
    assert!(setup.boards.keys.is_ready());
    setup.clock.advance(REFRESH);
    setup.refresh().await;
    assert_eq!(setup.fetch.count(), 2);
}

#[tokio::test]
async fn the_generation_changes_and_the_pulse_beats_with_the_document_and_only_then() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    let first = setup.generation();
    let beats = setup.boards.pulse.count();

    setup.clock.advance(REFRESH);
    setup.refresh().await;
    assert_eq!(setup.generation(), first);
    assert_eq!(setup.boards.pulse.count(), beats);

    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("b")]));
    setup.clock.advance(REFRESH);
    setup.refresh().await;
    assert_ne!(setup.generation(), first);
    assert_eq!(setup.boards.pulse.count(), beats + 1);
}

#[tokio::test]
async fn failures_keep_the_keys_for_the_stale_window_and_no_longer() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    setup.fetch.fail(KEYS_URL, FetchFault::Timeout);

    setup.clock.advance(STALE);
    setup.refresh().await;
    assert!(setup.usable().is_some());
    assert!(setup.slot.last_fault().unwrap().contains("no answer in time"));

    setup.clock.advance(Duration::from_secs(1));
    assert!(setup.usable().is_none());

    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.clock.advance(MAX_PAUSE);
    setup.refresh().await;
    assert!(setup.usable().is_some());
}

#[tokio::test]
async fn failures_are_tried_again_with_growing_pauses() {
    let setup = Setup::url();
    setup.refresh().await;
    assert_eq!(setup.fetch.count(), 1);

    setup.clock.advance(Duration::from_secs(1));
    setup.refresh().await;
    assert_eq!(setup.fetch.count(), 1);
    setup.clock.advance(Duration::from_secs(1));
    setup.refresh().await;
    assert_eq!(setup.fetch.count(), 2);
    setup.clock.advance(Duration::from_secs(2));
    setup.refresh().await;
    assert_eq!(setup.fetch.count(), 2);
    assert!(setup.boards.keys.is_ready());
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_hangs_delays_no_other_one() {
    let setup = Setup::url();
    setup.fetch.close();
    setup.refresh().await;
    setup.fetch.open_for("https://other/jwks");
    let mut other = issuer_plan(KeySource::Url("https://other/jwks".into()));
    other.id = IssuerId::new("other");
    let slot = setup.boards.keys.slot(&other).unwrap();
    setup
        .fetch
        .answer("https://other/jwks", jwks(&[&TestKey::es256("a")]));
    let started = tokio::time::Instant::now();

    setup.refresh().await;

    assert!(slot.usable(setup.clock.instant()).is_some());
    assert!(setup.usable().is_none());
    assert_eq!(started.elapsed(), WAIT);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_takes_long_goes_on_with_the_next_refresh() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.fetch.close();
    setup.refresh().await;
    setup.clock.advance(SECOND);
    setup.refresh().await;
    assert!(setup.usable().is_none());

    setup.fetch.open();
    setup.refresh().await;

    assert!(setup.usable().is_some());
    assert_eq!(setup.fetch.count(), 1);
}

#[tokio::test]
async fn a_fetch_that_panics_is_one_that_failed() {
    let setup = Setup::new(KeySource::Url("https://login.example.com/panic".into()));
    let mut other = issuer_plan(KeySource::Url(KEYS_URL.into()));
    other.id = IssuerId::new("other");
    let slot = setup.boards.keys.slot(&other).unwrap();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));

    setup.refresh().await;
    setup.clock.advance(MAX_PAUSE);
    setup.refresh().await;

    assert_eq!(setup.slot.last_fault().unwrap(), "the fetch panicked");
    assert!(slot.usable(setup.clock.instant()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_command_waits_until_its_fetches_have_ended() {
    let setup = Setup::url();
    setup.fetch.close();
    let started = tokio::time::Instant::now();

    setup.boards.keys.finish_due(setup.clock.instant()).await;

    assert_eq!(started.elapsed(), FETCH_LIMIT);
    assert!(setup.slot.last_fault().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_without_an_answer_ends_as_a_failure() {
    let setup = Setup::url();
    setup.fetch.close();
    let started = tokio::time::Instant::now();

    while setup.slot.last_fault().is_none() {
        setup.refresh().await;
    }

    assert_eq!(started.elapsed(), FETCH_LIMIT);
    assert!(setup.slot.last_fault().unwrap().contains("no answer in time"));
}

/// Poisoning: whatever else than a key set is served, the last good one stays for its window.
#[tokio::test]
async fn a_document_that_turns_bad_keeps_the_last_good_keys() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    let before = setup.generation();
    let key = TestKey::es256("a").jwk();
    let mut private = key.clone();
    private["d"] = "c2VjcmV0".into();
    let set = |keys: Vec<serde_json::Value>| serde_json::json!({ "keys": keys }).to_string();
    let bad = [
        "<html>maintenance</html>".to_owned(),
        String::new(),
        "null".to_owned(),
        "{}".to_owned(),
        r#"{"error":"server_error"}"#.to_owned(),
        set(Vec::new()),
        set(vec![private]),
        set(vec![serde_json::json!({"kty":"oct","k":"c2VjcmV0","kid":"a"})]),
        set(vec![key.clone(); 10_000]),
        format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#),
        format!(
            r#"{{"keys":[{key}],"more":{}1{}}}"#,
            "[".repeat(5_000),
            "]".repeat(5_000)
        ),
        format!(r#"{{"keys":[{key}]}}{{"keys":[]}}"#),
        format!(r#"{{"keys":[{key}"#),
        format!(r#"{{"keys":[{key}],"padding":"{}"}}"#, "x".repeat(300_000)),
    ];

    setup.clock.advance(REFRESH - MAX_PAUSE);
    for document in bad {
        let shown: String = document.chars().take(60).collect();
        setup.fetch.answer(KEYS_URL, document);
        setup.clock.advance(MAX_PAUSE);
        setup.refresh().await;

        assert_eq!(setup.generation(), before, "{shown}");
        assert!(setup.slot.last_fault().is_some(), "{shown}");
        assert_eq!(
            setup.slot.age(setup.clock.instant()),
            setup.age_of_first_fetch(),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn keys_are_fetched_again_up_to_a_tenth_before_their_time_and_never_after() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    let mut early = 0;

    setup.refresh().await;
    for round in 1..=40 {
        let mut waited = REFRESH * 9 / 10 - SECOND;
        setup.clock.advance(waited);
        setup.refresh().await;
        assert_eq!(setup.fetch.count(), round);
        while setup.fetch.count() == round {
            setup.clock.advance(SECOND);
            waited += SECOND;
            setup.refresh().await;
        }
        assert!(waited <= REFRESH, "{waited:?}");
        early += usize::from(waited < REFRESH);
    }

    assert!(early > 20, "{early}");
}

#[tokio::test]
async fn an_issuer_with_other_times_keeps_its_keys() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    let mut plan = issuer_plan(KeySource::Url(KEYS_URL.into()));
    plan.key_times = KeyTimes {
        refresh: Duration::from_secs(60),
        stale: Duration::from_secs(120),
        cooldown: SECOND,
    };

    let slot = setup.boards.keys.slot(&plan).unwrap();

    assert!(!Arc::ptr_eq(&slot, &setup.slot));
    let now = setup.clock.instant();
    assert_eq!(slot.usable(now).unwrap().generation, setup.generation().unwrap());
    setup.clock.advance(Duration::from_secs(60));
    setup.refresh().await;
    assert_eq!(setup.fetch.count(), 2);
    setup.fetch.fail(KEYS_URL, FetchFault::Timeout);
    setup.clock.advance(Duration::from_secs(121));
    setup.refresh().await;
    let now = setup.clock.instant();
    assert!(slot.usable(now).is_none());
    assert!(setup.slot.usable(now).is_some());
}

#[tokio::test]
async fn the_age_and_the_end_of_keys_are_shown_until_their_issuer_is_gone() {
    let setup = Setup::url();
    let registry = prometheus::Registry::new();
    setup.boards.metrics.register(&registry).unwrap();
    let shown = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let gauge = family.get_metric().first()?.get_gauge().get_value();
        Some(gauge)
    };
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    setup.clock.advance(SECOND);
    setup.refresh().await;

    assert_eq!(shown(crate::jwt::KEY_AGE), Some(1.0));
    assert_eq!(shown(crate::jwt::KEY_SUCCESS), Some(1_800_000_000.0));
    assert_eq!(shown(crate::jwt::KEY_EXPIRY), Some(1_800_003_600.0));
    assert_eq!(shown(crate::jwt::KEYS), Some(0.0));

    let Setup {
        boards, clock, slot, ..
    } = setup;
    drop(slot);
    boards.keys.refresh_due(clock.instant()).await;
    assert_eq!(shown(crate::jwt::KEY_AGE), None);
    assert_eq!(shown(crate::jwt::KEYS), None);
}

#[tokio::test]
async fn discovery_finds_the_key_set() {
    let setup = Setup::new(KeySource::Discovery);
    let document = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{KEYS_URL}"}}"#);
    setup
        .fetch
        .answer(&format!("{ISSUER}/.well-known/openid-configuration"), document);
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));

    setup.refresh().await;

    assert!(setup.usable().unwrap().set.knows(Some("a")));
}

#[tokio::test]
async fn discovery_of_another_issuer_gives_no_keys() {
    let setup = Setup::new(KeySource::Discovery);
    let document = format!(r#"{{"issuer":"https://evil.example","jwks_uri":"{KEYS_URL}"}}"#);
    setup
        .fetch
        .answer(&format!("{ISSUER}/.well-known/openid-configuration"), document);
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));

    setup.refresh().await;

    assert!(setup.usable().is_none());
    assert!(setup.slot.last_fault().unwrap().contains("another issuer"));
}

#[tokio::test]
async fn keys_of_a_document_are_there_at_once_and_never_age() {
    let setup = Setup::new(KeySource::Document(jwks(&[&TestKey::es256("a")]).into()));

    setup.clock.advance(STALE * 10);
    setup.refresh().await;

    assert!(setup.usable().is_some());
    assert!(
        setup
            .boards
            .keys
            .newer_keys(&setup.slot, setup.generation(), Some("b"))
            .await
            .is_none()
    );
    assert_eq!(setup.fetch.count(), 0);
}

#[tokio::test]
async fn a_slot_is_shared_while_it_is_used_and_gone_afterwards() {
    let setup = Setup::url();
    let plan = issuer_plan(KeySource::Url(KEYS_URL.into()));
    assert!(Arc::ptr_eq(&setup.slot, &setup.boards.keys.slot(&plan).unwrap()));

    let Setup {
        boards,
        clock,
        fetch,
        slot,
    } = setup;
    drop(slot);
    boards.keys.refresh_due(clock.instant()).await;

    assert_eq!(fetch.count(), 0);
    assert!(boards.keys.is_ready());
}
