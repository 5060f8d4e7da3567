//! Keys that a request asks for because the present ones do not have them. The runtime's paused clock is read, to see how long
//! a request waited.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

impl Setup {
    /// What a request gets that names a key which the present keys do not have.
    async fn ask(&self, key_id: &str) -> Option<Arc<LoadedKeys>> {
        let seen = self.generation();
        self.boards.keys.newer_keys(&self.slot, seen, Some(key_id)).await
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
async fn an_unknown_key_is_fetched_once_within_the_cooldown() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("b")]));
    setup.clock.advance(SECOND);

    assert!(setup.ask("b").await.is_none());
    assert_eq!(setup.fetch.count(), 1);

    setup.clock.advance(COOLDOWN);
    let newer = setup.ask("b").await.unwrap();
    assert!(newer.set.knows(Some("b")));
    assert_eq!(setup.fetch.count(), 2);
    assert!(setup.ask("c").await.is_none());
    assert_eq!(setup.fetch.count(), 2);
}

#[tokio::test]
async fn a_key_that_was_asked_for_during_the_cooldown_is_fetched_when_that_is_over() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("b")]));
    setup.clock.advance(SECOND);
    assert!(setup.ask("b").await.is_none());

    setup.clock.advance(COOLDOWN - 2 * SECOND);
    setup.refresh().await;
    assert_eq!(setup.fetch.count(), 1);
    setup.clock.advance(SECOND);
    setup.refresh().await;

    assert!(setup.usable().unwrap().set.knows(Some("b")));
    assert_eq!(setup.fetch.count(), 2);
}

#[tokio::test]
async fn a_key_that_a_fetch_did_not_bring_is_left_alone_for_a_minute() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    setup.clock.advance(COOLDOWN);
    assert!(setup.ask("gone").await.is_none());
    assert_eq!(setup.fetch.count(), 2);

    for _ in 0..5 {
        setup.clock.advance(COOLDOWN);
        assert!(setup.ask("gone").await.is_none());
        setup.refresh().await;
    }
    assert_eq!(setup.fetch.count(), 2);

    setup.clock.advance(COOLDOWN);
    assert!(setup.ask("gone").await.is_none());
    assert_eq!(setup.fetch.count(), 3);
}

#[tokio::test]
async fn ten_thousand_invented_keys_cost_one_fetch_in_a_cooldown() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;

    for second in 0..20 {
        for number in 0..500 {
            assert!(setup.ask(&format!("{second}-{number}")).await.is_none());
        }
        assert!(setup.usable().unwrap().set.knows(Some("a")));
        setup.clock.advance(SECOND);
        setup.refresh().await;
    }

    assert_eq!(setup.fetch.count(), 3);
}

#[tokio::test]
async fn a_new_key_is_found_in_the_midst_of_invented_ones() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    for number in 0..5_000 {
        assert!(setup.ask(&format!("invented-{number}")).await.is_none());
    }
    assert!(setup.ask("new").await.is_none());

    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("new")]));
    setup.clock.advance(COOLDOWN);
    setup.refresh().await;

    assert!(setup.usable().unwrap().set.knows(Some("new")));
    assert_eq!(setup.fetch.count(), 2);
}

#[tokio::test]
async fn everybody_who_waits_shares_one_fetch() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.fetch.close();
    let keys = &setup.boards.keys;
    let mut waiting: Vec<_> = (0..20)
        .map(|_| Box::pin(keys.newer_keys(&setup.slot, None, None)))
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

    assert!(
        setup
            .boards
            .keys
            .newer_keys(&setup.slot, None, None)
            .await
            .is_none()
    );

    assert_eq!(started.elapsed(), WAIT);
}

#[tokio::test]
async fn a_fetch_whose_requester_went_away_goes_on_with_the_refresh() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.fetch.close();
    {
        let mut abandoned = pin!(setup.boards.keys.newer_keys(&setup.slot, None, None));
        assert!(!poll_once(abandoned.as_mut()));
    }
    setup.fetch.open();

    setup.refresh().await;

    assert!(setup.usable().is_some());
    assert_eq!(setup.fetch.count(), 1);
}

#[tokio::test]
async fn stale_keys_are_fetched_for_a_request_and_used_again() {
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    setup.refresh().await;
    setup.clock.advance(STALE + Duration::from_secs(1));
    assert!(setup.usable().is_none());

    assert!(
        setup
            .boards
            .keys
            .newer_keys(&setup.slot, None, None)
            .await
            .is_some()
    );
}
