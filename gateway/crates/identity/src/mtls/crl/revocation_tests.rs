use std::time::Duration;

use bytes::Bytes;
use portcullis_model::{Reason, TrustId};
use rcgen::{CrlDistributionPoint, KeyUsagePurpose, date_time_ymd};
use rustls_pki_types::CertificateDer;

use super::super::samples::{list, revocation, shaped};
use super::*;
use crate::boards::Boards;
use crate::mtls::trust::{AnchorSource, Trust};
use crate::mtls::{Anchors, PeerIdentity};
use crate::testing::{TestCa, boards, now};

const WEB: &str = "spiffe://corp.example/web";
const STRICT: (CrlDepth, OnStaleCrl) = (CrlDepth::Chain, OnStaleCrl::Deny);

fn trust_in(roots: &[&TestCa], revocation: Revocation) -> Trust {
    let anchors: Vec<_> = roots.iter().flat_map(|ca| ca.anchors()).collect();
    let anchors = Arc::new(Anchors::read(&anchors).unwrap());
    Trust::new(
        TrustId::new("mesh"),
        AnchorSource::AnyDomain(anchors),
        Some(revocation),
    )
}

fn judge(trust: &Trust, chain: &[CertificateDer<'static>]) -> Option<Reason> {
    judge_at(trust, chain, now())
}

fn judge_at(trust: &Trust, chain: &[CertificateDer<'static>], when: SystemTime) -> Option<Reason> {
    let peer = PeerIdentity::from_chain(chain);
    trust.judge(&peer, when).err().map(|refusal| refusal.reason)
}

fn checks(boards: &Boards, outcome: &str) -> u64 {
    let checks = &boards.metrics.crls.checks;
    checks.with_label_values(&["mesh", outcome]).get()
}

#[test]
fn a_revoked_certificate_is_refused_and_its_neighbour_is_not() {
    let (boards, ..) = boards();
    let ca = TestCa::new("ca");
    let (bad, good) = (ca.leaf(&[WEB]).chain, ca.leaf(&[WEB]).chain);
    let list = list(&ca, &[&bad[0]]);
    let trust = trust_in(&[&ca], revocation(&boards.crls, &[&list], STRICT));

    for _ in 0..2 {
        assert_eq!(judge(&trust, &bad), Some(Reason::CertificateRevoked));
        assert_eq!(judge(&trust, &good), None);
    }
    assert_eq!((checks(&boards, "revoked"), checks(&boards, "good")), (1, 1));
}

#[test]
fn a_status_that_cannot_be_told_is_what_the_trust_says() {
    let ca = TestCa::new("ca");
    let other = list(&TestCa::new("other"), &[]);
    let overdue = shaped(&ca, &[], |params| params.next_update = date_time_ymd(2027, 1, 2));
    let leaf = ca.leaf(&[WEB]).chain;

    for lists in [&[][..], &[&other], &[&overdue]] {
        for (on_stale, refused, outcome) in [
            (
                OnStaleCrl::Deny,
                Some(Reason::CertificateStatusUnknown),
                "unknown-refused",
            ),
            (OnStaleCrl::Warn, None, "unknown-accepted"),
            (OnStaleCrl::Allow, None, "unknown-accepted"),
        ] {
            let (boards, ..) = boards();
            let trust = trust_in(
                &[&ca],
                revocation(&boards.crls, lists, (CrlDepth::Chain, on_stale)),
            );

            for _ in 0..2 {
                assert_eq!(judge(&trust, &leaf), refused, "{on_stale:?}");
            }
            assert_eq!(
                checks(&boards, outcome),
                1,
                "{on_stale:?} is remembered as any other"
            );
        }
    }
}

#[test]
fn an_overdue_list_still_says_who_was_revoked_by_then() {
    let ca = TestCa::new("ca");
    let bad = ca.leaf(&[WEB]).chain;
    let overdue = shaped(&ca, &[&bad[0]], |params| {
        params.next_update = date_time_ymd(2027, 1, 2)
    });

    for on_stale in [OnStaleCrl::Deny, OnStaleCrl::Warn, OnStaleCrl::Allow] {
        let (boards, ..) = boards();
        let trust = trust_in(
            &[&ca],
            revocation(&boards.crls, &[&overdue], (CrlDepth::Chain, on_stale)),
        );

        assert_eq!(
            judge(&trust, &bad),
            Some(Reason::CertificateRevoked),
            "{on_stale:?}"
        );
    }
}

/// RFC 5280 section 6.3.3 (g): the signature is checked with the issuer's key, not with a key of the issuer's name.
#[test]
fn a_list_that_somebody_else_signed_in_the_issuers_name_counts_as_none() {
    let (boards, ..) = boards();
    let (ours, theirs) = (TestCa::new("ca"), TestCa::new("ca"));
    let leaf = ours.leaf(&[WEB]).chain;
    let (forged, honest) = (list(&theirs, &[&leaf[0]]), list(&ours, &[]));

    let alone = trust_in(&[&ours], revocation(&boards.crls, &[&forged], STRICT));
    let beside = trust_in(&[&ours], revocation(&boards.crls, &[&forged, &honest], STRICT));

    assert_eq!(judge(&alone, &leaf), Some(Reason::CertificateStatusUnknown));
    assert_eq!(
        judge(&beside, &leaf),
        None,
        "the forged one neither revokes nor hides the other"
    );
}

#[test]
fn of_several_lists_the_newest_counts() {
    let (boards, ..) = boards();
    let ca = TestCa::new("ca");
    let (held, bad) = (ca.leaf(&[WEB]).chain, ca.leaf(&[WEB]).chain);
    let old = list(&ca, &[&held[0]]);
    let new = shaped(&ca, &[&bad[0]], |params| {
        params.this_update = date_time_ymd(2027, 1, 9)
    });

    for lists in [[&old, &new], [&new, &old]] {
        let trust = trust_in(&[&ca], revocation(&boards.crls, &lists, STRICT));
        assert_eq!(judge(&trust, &held), None, "the hold was lifted");
        assert_eq!(judge(&trust, &bad), Some(Reason::CertificateRevoked));
    }
}

/// A chain over one authority in between, and lists of both issuers.
struct Deep {
    root: TestCa,
    between: TestCa,
    chain: Vec<CertificateDer<'static>>,
}

impl Deep {
    fn new(shape: crate::testing::Shape) -> Self {
        let root = TestCa::new("root");
        let between = root.authority("between", shape);
        let mut chain = between.leaf(&[WEB]).chain;
        chain.extend(between.anchors());
        Self { root, between, chain }
    }
}

#[test]
fn the_depth_says_whose_issuers_are_asked() {
    let (boards, ..) = boards();
    let deep = Deep::new(|_| {});
    let of_leaves = list(&deep.between, &[]);
    let revokes_between = list(&deep.root, &[&deep.chain[1]]);
    let of = |lists: &[&Bytes], depth| {
        trust_in(
            &[&deep.root],
            revocation(&boards.crls, lists, (depth, OnStaleCrl::Deny)),
        )
    };

    let leaf = of(&[&of_leaves], CrlDepth::Leaf);
    let chain = of(&[&of_leaves], CrlDepth::Chain);
    let both = of(&[&of_leaves, &revokes_between], CrlDepth::Chain);
    let above = of(&[&revokes_between], CrlDepth::Chain);

    assert_eq!(judge(&leaf, &deep.chain), None);
    assert_eq!(judge(&chain, &deep.chain), Some(Reason::CertificateStatusUnknown));
    assert_eq!(judge(&both, &deep.chain), Some(Reason::CertificateRevoked));
    assert_eq!(
        judge(&above, &deep.chain),
        Some(Reason::CertificateRevoked),
        "that it cannot be told of the leaf does not hide it"
    );
}

/// RFC 5280 section 6.3.3 (f): an issuer whose certificate says what its key is for must be allowed to sign lists.
#[test]
fn a_list_of_an_issuer_that_may_not_sign_lists_counts_as_none() {
    let (boards, ..) = boards();
    let may_not = Deep::new(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let may = Deep::new(|_| {});

    for (deep, refused) in [(&may, None), (&may_not, Some(Reason::CertificateStatusUnknown))] {
        // The same key and name, told by a certificate that allows it, so that the list can be made at all.
        let params = {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, "between");
            params.key_usages = vec![KeyUsagePurpose::CrlSign];
            params
        };
        let issuer = rcgen::Issuer::from_params(&params, deep.between.issuer.key());
        let list = super::super::samples::list_by(&issuer);
        let trust = trust_in(
            &[&deep.root],
            revocation(&boards.crls, &[&list], (CrlDepth::Leaf, OnStaleCrl::Deny)),
        );

        assert_eq!(judge(&trust, &deep.chain), refused);
    }
}

/// Two roots signed one authority; the one that revoked it does not speak for the other (RFC 5280 section 6.1).
#[test]
fn a_cross_signed_authority_is_revoked_on_one_path_only() {
    let (boards, ..) = boards();
    let (one, other) = (TestCa::new("one"), TestCa::new("other"));
    let between = one.authority("between", |_| {});
    let crossed = between.crossed_by("between", &other);
    let leaf = between.leaf(&[WEB]).chain.remove(0);
    let of_leaves = list(&between, &[]);
    let (revokes, keeps) = (list(&one, &[&between.anchors()[0]]), list(&other, &[]));
    let lists = [&of_leaves, &revokes, &keeps];
    let trust = trust_in(&[&one, &other], revocation(&boards.crls, &lists, STRICT));
    let over = |path: &[CertificateDer<'static>]| {
        let chain: Vec<_> = std::iter::once(leaf.clone())
            .chain(path.iter().cloned())
            .collect();
        judge(&trust, &chain)
    };

    assert_eq!(over(&between.anchors()), Some(Reason::CertificateRevoked));
    assert_eq!(over(std::slice::from_ref(&crossed)), None);
    assert_eq!(
        over(&[between.anchors().remove(0), crossed]),
        None,
        "the other path is found"
    );
}

#[test]
fn a_remembered_verdict_ends_with_the_list_that_it_rests_on() {
    let (boards, ..) = boards();
    let ca = TestCa::new("ca");
    let (leaf, list) = (ca.leaf(&[WEB]).chain, list(&ca, &[]));
    let trust = trust_in(&[&ca], revocation(&boards.crls, &[&list], STRICT));
    // The list's next update is on 1 February 2027, 00:00.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_801_440_000);

    assert_eq!(judge(&trust, &leaf), None);
    assert_eq!(judge_at(&trust, &leaf, end - Duration::from_secs(1)), None);
    assert_eq!(
        judge_at(&trust, &leaf, end),
        Some(Reason::CertificateStatusUnknown)
    );
}

#[test]
fn a_list_that_ends_begins_a_new_generation_and_is_told_once() {
    let (boards, clock, _) = boards();
    let ca = TestCa::new("ca");
    let list = list(&ca, &[]);
    let revocation = revocation(&boards.crls, &[&list], STRICT);
    let before = (revocation.generation(), boards.pulse.count());

    boards.crls.look_at_the_clock();
    assert_eq!((revocation.generation(), boards.pulse.count()), before);

    clock.advance(Duration::from_secs(40 * 24 * 60 * 60));
    boards.crls.look_at_the_clock();
    boards.crls.look_at_the_clock();
    assert!(revocation.generation() > before.0);
    assert_eq!(boards.pulse.count(), before.1 + 1);
}

#[test]
fn the_places_that_a_certificate_names_are_gone_to_and_no_others() {
    let (boards, ..) = boards();
    let ca = TestCa::new("ca");
    let leaf = ca.shaped(&[WEB], |params| {
        let uris = [
            "ldap://pki.example/cn=ca",
            "http://pki.example/a b.crl",
            "file:///etc/passwd",
            "http://pki.example/1.crl",
            "https://pki.example/2.crl",
        ];
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: uris.map(str::to_owned).to_vec(),
        }];
    });
    let parts = RevocationParts {
        owner: "mesh".to_owned(),
        slots: Arc::default(),
        board: Arc::clone(&boards.crls),
        follows_points: true,
        depth: CrlDepth::Chain,
        on_stale: OnStaleCrl::Deny,
    };
    let trust = trust_in(&[&ca], Revocation::new(parts));
    let stranger = trust_in(&[&TestCa::new("ca")], revocation(&boards.crls, &[], STRICT));

    assert_eq!(judge(&stranger, &leaf.chain), Some(Reason::CertificateUntrusted));
    assert_eq!(
        boards.crls.status().len(),
        0,
        "what a chain of nobody names is not gone to"
    );
    assert_eq!(judge(&trust, &leaf.chain), Some(Reason::CertificateStatusUnknown));
    assert_eq!(boards.crls.status().len(), 2);
}
