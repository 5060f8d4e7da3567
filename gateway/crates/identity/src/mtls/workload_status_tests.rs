use rcgen::date_time_ymd;

use super::*;
use crate::testing::{TestCa, TestLeaf, now};
use portcullis_model::TrustDomain;

const US: &str = "spiffe://corp.example/gateway";

/// 2027-06-01: some months after the tests' clock.
fn short_lived(ca: &TestCa) -> TestLeaf {
    ca.shaped(&[US], |params| params.not_after = date_time_ymd(2027, 6, 1))
}

fn delivery(leaf: &TestLeaf, ca: &TestCa) -> WorkloadIdentity {
    WorkloadIdentity {
        svid: Some(leaf.svid(US)),
        bundles: [(TrustDomain::new("corp.example").unwrap(), ca.anchors())].into(),
        ..WorkloadIdentity::default()
    }
}

fn later() -> SystemTime {
    now() + Duration::from_secs(365 * 24 * 3600)
}

#[test]
fn an_svid_serves_until_it_is_over_and_not_a_moment_longer() {
    let (board, ca) = (WorkloadBoard::new(), TestCa::new("ca"));
    let leaf = short_lived(&ca);
    board.publish(delivery(&leaf, &ca)).unwrap();
    let until = leaf.svid(US).valid_until();

    let before = until - Duration::from_secs(1);
    assert!(board.is_ready(before) && board.usable_svid(before).is_ok());
    assert_eq!(board.lack(until), Some(WorkloadLack::Expired));
    assert!(matches!(
        board.usable_svid(until),
        Err(IdentityFault::SvidExpired { .. })
    ));
}

#[test]
fn what_was_kept_serves_until_the_agent_is_heard_and_never_when_it_is_over() {
    let (board, ca, clock) = (WorkloadBoard::new(), TestCa::new("ca"), Instant::now());
    let leaf = short_lived(&ca);

    assert!(board.publish_kept(delivery(&leaf, &ca), later()).is_err());
    assert_eq!(board.lack(now()), Some(WorkloadLack::NothingDelivered));
    board.publish_kept(delivery(&leaf, &ca), now()).unwrap();

    assert!(board.is_ready(now()) && board.status(now(), clock).is_kept);
    board.heard(clock);
    let status = board.status(now(), clock + Duration::from_secs(3));
    assert!(status.is_connected && !status.is_kept);
    assert_eq!(status.heard, Some(Duration::from_secs(3)));
}

#[test]
fn an_agent_that_is_lost_takes_nothing_with_it_and_one_that_withdraws_takes_all() {
    let (board, ca, clock) = (WorkloadBoard::new(), TestCa::new("ca"), Instant::now());
    let before = board.publish(delivery(&short_lived(&ca), &ca)).unwrap();
    board.heard(clock);

    board.lost();
    assert!(board.is_ready(now()) && !board.status(now(), clock).is_connected);

    assert!(board.withdraw().unwrap() > before);
    assert_eq!(board.lack(now()), Some(WorkloadLack::Withdrawn));
    assert!(matches!(board.usable_svid(now()), Err(IdentityFault::NoSvid)));
    assert!(board.current().bundles.is_empty());
}

#[test]
fn an_identity_without_a_bundle_is_not_enough() {
    let (board, ca) = (WorkloadBoard::new(), TestCa::new("ca"));
    let mut delivery = delivery(&short_lived(&ca), &ca);
    delivery.bundles.clear();

    board.publish(delivery).unwrap();

    assert_eq!(board.lack(now()), Some(WorkloadLack::NoBundle));
}
