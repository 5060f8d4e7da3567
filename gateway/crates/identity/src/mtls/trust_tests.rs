use std::time::Duration;

use portcullis_model::TrustId;
use rcgen::ExtendedKeyUsagePurpose;

use super::super::workload::WorkloadIdentity;
use super::*;
use crate::testing::{TestCa, now};

const WEB: &str = "spiffe://corp.example/web";

fn domain() -> TrustDomain {
    TrustDomain::new("corp.example").unwrap()
}

fn anchors(ca: &TestCa) -> Arc<Anchors> {
    Arc::new(Anchors::read(&ca.anchors()).unwrap())
}

fn trust(source: AnchorSource) -> Trust {
    Trust::new(TrustId::new("mesh"), source, None)
}

fn peer(ca: &TestCa, name: &str) -> PeerIdentity {
    PeerIdentity::from_chain(&ca.leaf(&[name]).chain)
}

fn refused(trust: &Trust, peer: &PeerIdentity) -> Reason {
    trust.judge(peer, now()).unwrap_err().reason
}

#[test]
fn a_chain_to_the_anchors_proves_the_workload() {
    let ca = TestCa::new("ca");
    let trust = trust(AnchorSource::Domain(domain(), anchors(&ca)));

    let (id, _) = trust.judge(&peer(&ca, WEB), now()).unwrap();

    assert_eq!(id.to_string(), WEB);
}

#[test]
fn a_chain_to_another_authority_is_refused() {
    let (ours, theirs) = (TestCa::new("ca"), TestCa::new("ca"));
    let trust = trust(AnchorSource::Domain(domain(), anchors(&ours)));

    assert_eq!(refused(&trust, &peer(&theirs, WEB)), Reason::CertificateUntrusted);
}

#[test]
fn a_bundle_speaks_only_for_its_own_trust_domain() {
    let ca = TestCa::new("ca");
    let one = trust(AnchorSource::Domain(domain(), anchors(&ca)));
    let any = trust(AnchorSource::AnyDomain(anchors(&ca)));
    let other = peer(&ca, "spiffe://other.example/web");

    assert_eq!(refused(&one, &other), Reason::CertificateUntrusted);
    assert!(any.judge(&other, now()).is_ok());
}

#[test]
fn a_certificate_without_a_workload_is_refused() {
    let ca = TestCa::new("ca");
    let trust = trust(AnchorSource::AnyDomain(anchors(&ca)));

    assert_eq!(
        refused(&trust, &peer(&ca, "web.corp.example")),
        Reason::CertificateSpiffeId
    );
}

#[test]
fn a_certificate_for_servers_only_is_refused() {
    let ca = TestCa::new("ca");
    let trust = trust(AnchorSource::AnyDomain(anchors(&ca)));
    let leaf = ca.shaped(&[WEB], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });

    assert_eq!(
        refused(&trust, &PeerIdentity::from_chain(&leaf.chain)),
        Reason::CertificateUntrusted
    );
}

#[test]
fn a_certificate_ends_even_when_its_chain_was_remembered() {
    let ca = TestCa::new("ca");
    let trust = trust(AnchorSource::AnyDomain(anchors(&ca)));
    let leaf = ca.shaped(&[WEB], |params| {
        params.not_after = rcgen::date_time_ymd(2028, 1, 1)
    });
    let peer = PeerIdentity::from_chain(&leaf.chain);

    assert!(trust.judge(&peer, now()).is_ok());

    let later = peer.not_after + Duration::from_secs(1);
    assert_eq!(
        trust.judge(&peer, later).unwrap_err().reason,
        Reason::CertificateExpired
    );
}

#[test]
fn a_certificate_of_tomorrow_is_refused_today() {
    let ca = TestCa::new("ca");
    let trust = trust(AnchorSource::AnyDomain(anchors(&ca)));
    let leaf = ca.shaped(&[WEB], |params| {
        params.not_before = rcgen::date_time_ymd(2028, 1, 1)
    });
    let peer = PeerIdentity::from_chain(&leaf.chain);

    assert_eq!(refused(&trust, &peer), Reason::CertificateUntrusted);
    assert!(trust.judge(&peer, peer.not_before).is_ok());
}

#[test]
fn a_verdict_is_remembered_for_good_chains_and_bad_ones() {
    let (ours, theirs) = (TestCa::new("ca"), TestCa::new("other"));
    let trust = trust(AnchorSource::AnyDomain(anchors(&ours)));
    let (good, bad) = (peer(&ours, WEB), peer(&theirs, WEB));

    assert!(!trust.judge(&good, now()).unwrap().1);
    assert!(trust.judge(&good, now()).unwrap().1);
    assert_eq!(refused(&trust, &bad), Reason::CertificateUntrusted);
    assert!(trust.judge(&bad, now()).unwrap_err().check.contains("before"));
}

#[test]
fn a_delivered_bundle_decides_from_its_delivery_on() {
    let (old, new) = (TestCa::new("old"), TestCa::new("new"));
    let board = WorkloadBoard::new();
    let deliver = |ca: &TestCa| {
        let bundles = [(domain(), ca.anchors())].into();
        board
            .publish(WorkloadIdentity {
                bundles,
                ..WorkloadIdentity::default()
            })
            .unwrap()
    };
    let trust = trust(AnchorSource::Delivered(domain(), Arc::clone(&board)));
    let (of_old, of_new) = (peer(&old, WEB), peer(&new, WEB));

    assert_eq!(refused(&trust, &of_old), Reason::CertificateUntrusted);
    deliver(&old);
    assert!(trust.judge(&of_old, now()).is_ok());
    assert_eq!(refused(&trust, &of_new), Reason::CertificateUntrusted);
    deliver(&new);
    assert_eq!(refused(&trust, &of_old), Reason::CertificateUntrusted);
    assert!(trust.judge(&of_new, now()).is_ok());
}

#[test]
fn an_overlong_chain_is_not_looked_at() {
    let ca = TestCa::new("ca");
    let trust = trust(AnchorSource::AnyDomain(anchors(&ca)));
    let leaf = ca.leaf(&[WEB]).chain;
    let chain: Vec<_> = leaf.iter().cloned().cycle().take(12).collect();

    assert_eq!(
        refused(&trust, &PeerIdentity::from_chain(&chain)),
        Reason::CertificateUntrusted
    );
}

/// A chain with an authority between the leaf and the root, whose time ends on 1 January 2030.
fn deep(root: &TestCa) -> Vec<CertificateDer<'static>> {
    let between = root.authority("between", |params| {
        params.not_after = rcgen::date_time_ymd(2030, 1, 1)
    });
    let mut chain = between.leaf(&[WEB]).chain;
    chain.extend(between.anchors());
    chain
}

/// Whoever is let in chooses what stands beside the chain: it must not choose what a request costs.
#[test]
fn a_verdict_is_remembered_whatever_stands_beside_the_chain() {
    let (root, other) = (TestCa::new("root"), TestCa::new("other"));
    let ended = root.authority("ended", |params| {
        params.not_after = rcgen::date_time_ymd(2026, 1, 1)
    });
    let to_come = root.authority("to come", |params| {
        params.not_before = rcgen::date_time_ymd(2030, 1, 1)
    });
    let junk = CertificateDer::from(b"not a certificate".to_vec());

    for decoy in [junk, ended.anchors().remove(0), to_come.anchors().remove(0)] {
        let mut chain = deep(&root);
        chain.push(decoy);
        let peer = PeerIdentity::from_chain(&chain);
        let good = trust(AnchorSource::AnyDomain(anchors(&root)));
        let bad = trust(AnchorSource::AnyDomain(anchors(&other)));

        assert!(!good.judge(&peer, now()).unwrap().1);
        assert!(good.judge(&peer, now()).unwrap().1);
        assert!(!bad.judge(&peer, now()).unwrap_err().check.contains("before"));
        assert!(bad.judge(&peer, now()).unwrap_err().check.contains("before"));
    }
}

/// RFC 5280 section 4.1.2.5: a certificate is valid through the second of its end.
#[test]
fn a_remembered_verdict_ends_when_a_certificate_of_the_chain_begins_or_ends() {
    let root = TestCa::new("root");
    let trust = trust(AnchorSource::AnyDomain(anchors(&root)));
    let peer = PeerIdentity::from_chain(&deep(&root));
    // 1 January 2030, 00:00.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    let begins = root.authority("between", |params| {
        params.not_before = rcgen::date_time_ymd(2030, 1, 1)
    });
    let mut early = begins.leaf(&[WEB]).chain;
    early.extend(begins.anchors());
    let early = PeerIdentity::from_chain(&early);

    for moment in [now(), end, end + Duration::from_millis(999)] {
        assert!(trust.judge(&peer, moment).is_ok());
    }
    assert_eq!(
        trust
            .judge(&peer, end + Duration::from_secs(1))
            .unwrap_err()
            .reason,
        Reason::CertificateExpired
    );
    assert!(trust.judge(&peer, now()).is_ok(), "the clock was set back");

    for moment in [now(), now(), end - Duration::from_millis(1)] {
        assert!(trust.judge(&early, moment).is_err());
    }
    assert!(trust.judge(&early, end).is_ok());
}

/// Its serial number is not known then, so that no deny list could name it.
#[test]
fn a_leaf_that_is_not_read_is_refused_whatever_path_building_makes_of_it() {
    let ca = TestCa::new("ca");
    let trust = trust(AnchorSource::AnyDomain(anchors(&ca)));
    let read = peer(&ca, WEB);
    let mut unread = peer(&ca, WEB);
    unread.serial = "".into();

    assert!(trust.accept(&read, now()).is_ok());
    assert_eq!(
        trust.accept(&unread, now()).unwrap_err().reason,
        Reason::CertificateUntrusted
    );
}
