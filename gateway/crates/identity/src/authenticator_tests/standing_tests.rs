//! What was proven, asked again: ends in a chain, and what lives on although something nobody needed has ended.

use std::time::Duration;

use rcgen::date_time_ymd;

use super::*;
use crate::standing;

/// 1 January 2030, 00:00.
fn later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

/// A chain over an authority that ends then, with one beside it that ended long ago.
fn over_one_that_ends(setup: &Setup) -> PeerIdentity {
    let between = setup
        .ca
        .authority("between", |params| params.not_after = date_time_ymd(2030, 1, 1));
    let ended = setup
        .ca
        .authority("ended", |params| params.not_after = date_time_ymd(2026, 1, 1));
    let mut chain = between.leaf(&[WEB]).chain;
    chain.extend(between.anchors());
    chain.extend(ended.anchors());
    PeerIdentity::from_chain(&chain)
}

/// A chain of one certificate, with an authority beside it that nobody needs and that ends then.
fn beside_one_that_ends(setup: &Setup) -> PeerIdentity {
    let beside = setup
        .ca
        .authority("beside", |params| params.not_after = date_time_ymd(2030, 1, 1));
    let mut chain = setup.ca.leaf(&[WEB]).chain;
    chain.extend(beside.anchors());
    PeerIdentity::from_chain(&chain)
}

#[test]
fn the_next_end_of_a_chain_is_waited_for_although_another_one_has_passed() {
    let setup = Setup::of(Vec::new(), &["mesh"]);
    let peer = over_one_that_ends(&setup);
    let proven = setup.judge_peer(&peer).unwrap();

    let end = standing::end_of(&peer, now());

    assert_eq!(proven.principal.expires_at, Some(later()));
    assert!(setup.judge_peer_at(&peer, end - Duration::from_millis(1)).is_ok());
    assert_eq!(
        setup.judge_peer_at(&peer, end).unwrap_err().reason,
        Reason::CertificateExpired
    );
    assert!(standing::end_of(&peer, end) > end);
}

#[test]
fn what_nobody_needed_of_a_chain_ends_nothing() {
    let setup = Setup::of(Vec::new(), &["mesh"]);
    let peer = beside_one_that_ends(&setup);
    let proven = setup.judge_peer(&peer).unwrap();
    let after = standing::end_of(&peer, now()) + Duration::from_secs(1);
    let judge = |when| {
        let Authenticated {
            standing, principal, ..
        } = &proven;
        standing.judge(&setup.boards, principal, Some(&peer), when)
    };

    assert!(after < peer.not_after && after > later());
    assert!(setup.judge_peer_at(&peer, after).is_ok());
    assert!(judge(after).is_ok(), "as a new request would be");
    assert_eq!(
        judge(peer.not_after + Duration::from_secs(1)).unwrap_err().reason,
        Reason::CertificateExpired
    );
}
