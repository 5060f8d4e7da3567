use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use portcullis_model::IssuerId;

use super::super::key_slot::{COOLDOWN, MAX_PAUSE, REFRESH, STALE};
use super::*;
use crate::boards::Boards;
use crate::testing::{ISSUER, KEYS_URL, ScriptedFetch, TestClock, TestKey, boards, issuer_plan, jwks};

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

    fn generation(&self) -> Option<u64> {
        self.usable().map(|keys| keys.generation)
    }
}

/// Runs a future until it waits.
fn poll_once(future: std::pin::Pin<&mut impl Future>) -> bool {
    matches!(
        future.poll(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(_)
    )
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
async fn the_generation_changes_with_the_document_and_only_then() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    let first = setup.generation();

    setup.clock.advance(REFRESH);
    setup.refresh().await;
    assert_eq!(setup.generation(), first);

    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("b")]));
    setup.clock.advance(REFRESH);
    setup.refresh().await;
    assert_ne!(setup.generation(), first);
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
async fn a_document_that_is_no_key_set_keeps_the_keys() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    let before = setup.generation();

    setup.fetch.answer(KEYS_URL, "<html>maintenance</html>");
    setup.clock.advance(REFRESH);
    setup.refresh().await;

    assert_eq!(setup.generation(), before);
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

#[tokio::test]
async fn an_issuer_that_hangs_does_not_keep_another_from_its_keys() {
    let setup = Setup::url();
    let mut other = issuer_plan(KeySource::Url("https://other/jwks".into()));
    other.id = IssuerId::new("other");
    let slot = setup.boards.keys.slot(&other).unwrap();
    setup
        .fetch
        .answer("https://other/jwks", jwks(&[&TestKey::es256("a")]));
    let _hanging = setup.slot.flight.lock().await;

    setup.refresh().await;

    assert!(slot.usable(setup.clock.instant()).is_some());
}

#[tokio::test]
async fn an_unknown_key_is_fetched_once_within_the_cooldown() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    let seen = setup.generation();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("b")]));

    assert!(setup.boards.keys.newer_keys(&setup.slot, seen).await.is_none());
    assert_eq!(setup.fetch.count(), 1);

    setup.clock.advance(COOLDOWN);
    let newer = setup.boards.keys.newer_keys(&setup.slot, seen).await.unwrap();
    assert!(newer.set.knows(Some("b")));
    assert_eq!(setup.fetch.count(), 2);
    let seen = setup.generation();
    assert!(setup.boards.keys.newer_keys(&setup.slot, seen).await.is_none());
    assert_eq!(setup.fetch.count(), 2);
}

#[tokio::test]
async fn everybody_who_waits_shares_one_fetch() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.fetch.close();
    let keys = &setup.boards.keys;
    let mut waiting: Vec<_> = (0..20)
        .map(|_| Box::pin(keys.newer_keys(&setup.slot, None)))
        .collect();
    assert!(!waiting.iter_mut().any(|future| poll_once(future.as_mut())));

    setup.fetch.open();
    let found = join_all(waiting).await;

    assert!(found.iter().all(Option::is_some));
    assert_eq!(setup.fetch.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_second_at_most() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.fetch.close();
    let started = tokio::time::Instant::now();

    assert!(setup.boards.keys.newer_keys(&setup.slot, None).await.is_none());

    assert_eq!(started.elapsed(), WAIT);
}

#[tokio::test]
async fn a_fetch_whose_requester_went_away_is_begun_again_by_the_refresh() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.fetch.close();
    {
        let mut abandoned = pin!(setup.boards.keys.newer_keys(&setup.slot, None));
        assert!(!poll_once(abandoned.as_mut()));
    }
    setup.fetch.open();

    assert!(setup.boards.keys.newer_keys(&setup.slot, None).await.is_none());
    setup.refresh().await;

    assert!(setup.usable().is_some());
    assert_eq!(setup.fetch.count(), 2);
}

#[tokio::test]
async fn stale_keys_are_fetched_for_a_request_and_used_again() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    setup.clock.advance(STALE + Duration::from_secs(1));
    assert!(setup.usable().is_none());

    assert!(setup.boards.keys.newer_keys(&setup.slot, None).await.is_some());
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
            .newer_keys(&setup.slot, setup.generation())
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
