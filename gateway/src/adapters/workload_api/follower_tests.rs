use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_identity::{Clock, FetchFault, KeyFetch};

use super::samples::{delivery, domain, present};
use super::*;

/// Nothing is fetched.
struct Nowhere;

#[async_trait]
impl KeyFetch for Nowhere {
    async fn fetch(&self, _: &str) -> Result<Bytes, FetchFault> {
        Err(FetchFault::Timeout)
    }
}

fn follower() -> Follower {
    let boards = Boards::new(Arc::new(Nowhere), Clock::new(Instant::now, present));
    Follower::new("unix:///run/agent.sock".to_owned(), boards, None).unwrap()
}

#[test]
fn what_the_agent_says_again_beats_once_and_every_part_that_changes_beats() {
    let mut follower = follower();
    let pulse = Arc::clone(&follower.boards.pulse);
    let mut said = delivery();

    for _ in 0..2 {
        assert!(follower.publish(said.clone()));
        assert_eq!(pulse.count(), 1);
    }

    said.jwt_bundles.clear();
    follower.publish(said.clone());
    assert_eq!(pulse.count(), 2, "the authorities are withdrawn");
    said.bundles.remove(&domain("peer.example"));
    follower.publish(said.clone());
    assert_eq!(pulse.count(), 3, "a bundle is");
    said.svid = delivery().svid;
    follower.publish(said);
    assert_eq!(pulse.count(), 4, "another SVID is here");
}

#[test]
fn an_identity_that_is_given_back_after_it_was_taken_beats_again() {
    let mut follower = follower();
    let pulse = Arc::clone(&follower.boards.pulse);
    let said = delivery();

    follower.publish(said.clone());
    follower.withdraw();
    assert!(matches!(*follower.wishes.borrow(), Some(Wish::Forget)));
    follower.publish(said);

    assert_eq!(pulse.count(), 3);
    assert!(matches!(*follower.wishes.borrow(), Some(Wish::Keep(_))));
}
