//! Connections that are open, judged as a handshake would be today.

use std::time::{Duration, SystemTime};

use portcullis_model::Reason;
use rcgen::date_time_ymd;

use super::*;
use crate::deny::{DenyEntry, DenyIndex, DenyKind, DenyName, DenySource, Side};
use crate::mtls::PeerIdentity;
use crate::mtls::crl::samples::{document, list, shaped};
use crate::plan::{CrlPlan, OnStaleCrl, RevocationPlan};

/// A listener with two trusts of one authority, asked in this order; each may have a list.
fn with_trusts(ca: &TestCa, lists: [Option<&bytes::Bytes>; 2]) -> (Setup, Arc<ListenerTls>) {
    let mut setup = Setup::new(API, ClientCertificates::Request, &[]);
    let names = ["first", "second"].map(TrustId::new);
    setup.plan.trust = names
        .iter()
        .zip(lists)
        .map(|(id, list)| TrustPlan {
            id: id.clone(),
            origin: Origin::of("trust"),
            anchors: TrustAnchors::Pem(ca.anchors()),
            revocation: list.map(|list| RevocationPlan {
                lists: vec![CrlPlan {
                    origin: Origin::of("trust.crl"),
                    source: document(list),
                }],
                on_stale: OnStaleCrl::Deny,
                ..RevocationPlan::default()
            }),
        })
        .collect();
    setup.plan.listeners[0].client.trust = names.to_vec();
    setup.runtime = compile(&setup.plan, None, &setup.boards).unwrap().0;
    let listener = setup.listener();
    (setup, listener)
}

/// What one trust knows of a certificate's revocation is not unknown because another one does not ask.
#[test]
fn a_handshake_and_an_open_connection_are_judged_alike_by_several_trusts() {
    let ca = TestCa::new("clients");
    let leaf = ca.leaf(&[WEB]);
    let peer = PeerIdentity::from_chain(&leaf.chain);
    let revoking = list(&ca, &[&leaf.chain[0]]);
    let overdue = shaped(&ca, &[], |params| params.next_update = date_time_ymd(2027, 1, 2));
    let clearing = list(&ca, &[]);

    for (lists, expected) in [
        ([Some(&clearing), None], None),
        ([Some(&revoking), None], Some(Reason::CertificateRevoked)),
        ([Some(&overdue), None], Some(Reason::CertificateStatusUnknown)),
        // The order is the operator's: whoever accepts it first is not asked any further.
        ([None, Some(&revoking)], None),
    ] {
        let (setup, listener) = with_trusts(&ca, lists);

        let handshake = setup.dial("api.example.com", Some(&leaf));
        let open = listener.still_accepts(Some("api.example.com"), Some(&peer), now());

        assert_eq!(handshake.is_ok(), expected.is_none());
        assert_eq!(open.err().map(|refused| refused.reason), expected);
    }
}

#[test]
fn a_trust_that_knows_nobody_leaves_the_word_to_the_next() {
    let (ca, other) = (TestCa::new("clients"), TestCa::new("other"));
    let (leaf, revoking) = (ca.leaf(&[WEB]), list(&other, &[]));
    let peer = PeerIdentity::from_chain(&leaf.chain);
    let (mut setup, _) = with_trusts(&ca, [Some(&revoking), None]);
    setup.plan.trust[0].anchors = TrustAnchors::Pem(other.anchors());
    setup.runtime = compile(&setup.plan, None, &setup.boards).unwrap().0;

    assert!(setup.dial("api.example.com", Some(&leaf)).is_ok());
    let open = setup
        .listener()
        .still_accepts(Some("api.example.com"), Some(&peer), now());
    assert!(open.is_ok());
}

/// What was found of a certificate is carried through the request for that long.
#[test]
fn an_acceptance_says_how_long_it_holds_and_where_nobody_asks_there_is_none() {
    let ca = TestCa::new("clients");
    let peer = PeerIdentity::from_chain(&ca.leaf(&[WEB]).chain);
    let clearing = list(&ca, &[]);
    let of = |listener: &ListenerTls| {
        let judged = listener.judge_request(Some("api.example.com"), "api.example.com", Some(&peer), now());
        judged.unwrap()
    };
    let (_kept, by_chain) = with_trusts(&ca, [None, None]);
    let (_kept, by_list) = with_trusts(&ca, [Some(&clearing), None]);
    let asks_nobody = Setup::new(API, ClientCertificates::Off, &[]).listener();
    // The list's next update is on 1 February 2027, 00:00.
    let next_update = SystemTime::UNIX_EPOCH + Duration::from_secs(1_801_440_000);

    assert_eq!(of(&by_chain), Some(peer.not_after + Duration::from_secs(1)));
    assert_eq!(of(&by_list), Some(next_update));
    assert_eq!(of(&by_list), Some(next_update), "remembered");
    assert_eq!(of(&asks_nobody), None);
    let elsewhere = by_chain.judge_request(Some("api.example.com"), "example.com", Some(&peer), now());
    assert_eq!(elsewhere.unwrap_err().reason, Reason::Misdirected);
}

#[test]
fn a_request_may_travel_under_a_name_that_shares_certificate_and_policy() {
    let strict = [
        ("admin.example.com", ClientCertificates::Require),
        ("*.lab.example.com", ClientCertificates::Request),
    ];
    let names: &[&[&str]] = &[
        &[
            "api.example.com",
            "www.example.com",
            "admin.example.com",
            "*.lab.example.com",
            "10.0.0.1",
        ],
        &["other.example.com"],
    ];
    let setup = Setup::new(names, ClientCertificates::Off, &strict);
    let listener = setup.listener();
    let directed = |sni, host| listener.directed(sni, host).is_some();

    assert!(directed(Some("api.example.com"), "api.example.com"));
    assert!(directed(Some("api.example.com"), "WWW.example.com."));
    assert!(directed(Some("API.example.com"), "www.example.com"));
    assert!(directed(Some("api.example.com"), "10.0.0.1"));
    assert!(directed(Some("a.lab.example.com"), "b.lab.example.com"));
    assert!(directed(None, "api.example.com"));
    assert!(directed(None, "192.0.2.1"));
    assert!(directed(None, "[::1]"));

    assert!(!directed(Some("api.example.com"), "admin.example.com"));
    assert!(!directed(Some("admin.example.com"), "api.example.com"));
    assert!(!directed(Some("api.example.com"), "a.lab.example.com"));
    assert!(!directed(Some("api.example.com"), "other.example.com"));
    assert!(!directed(Some("api.example.com"), "192.0.2.1"));
    assert!(!directed(None, "admin.example.com"));
    assert!(!directed(None, "other.example.com"));
}

/// RFC 9110 section 11.6.1 asks for a challenge in every 401.
#[test]
fn an_open_connection_is_given_what_its_handshake_would_be_given_today() {
    let (old, new) = (TestCa::new("old"), TestCa::new("new"));
    let domain = TrustDomain::new("corp.example").unwrap();
    let anchors = TrustAnchors::TrustDomain(domain.clone(), None);
    let hosts = [("admin.example.com", ClientCertificates::Require)];
    let setup = Setup::with_anchors(API, ClientCertificates::Request, &hosts, old, anchors);
    let deliver = |ca: &TestCa| {
        let bundles = [(domain.clone(), ca.anchors())].into();
        let delivery = WorkloadIdentity {
            bundles,
            ..WorkloadIdentity::default()
        };
        setup.boards.workload.publish(delivery).unwrap()
    };
    deliver(&setup.client_ca);
    let peer = PeerIdentity::from_chain(&setup.client_ca.leaf(&[WEB]).chain);
    let listener = setup.listener();
    let of = |name, peer| listener.still_accepts(Some(name), peer, now());

    for name in ["api.example.com", "admin.example.com"] {
        assert!(of(name, Some(&peer)).is_ok());
    }
    assert!(
        of("api.example.com", None).is_ok(),
        "a certificate is only requested"
    );
    let missing = of("admin.example.com", None).unwrap_err();
    assert_eq!(missing.reason, Reason::CertificateMissing);
    let (name, _) = &missing.detail.unwrap().headers[0];
    assert_eq!(name, http::header::WWW_AUTHENTICATE);

    deliver(&new);
    for name in ["api.example.com", "admin.example.com"] {
        assert_eq!(
            of(name, Some(&peer)).unwrap_err().reason,
            Reason::CertificateUntrusted
        );
    }
}

#[test]
fn an_open_connection_is_given_nothing_once_its_certificate_is_denied() {
    let setup = Setup::new(API, ClientCertificates::Request, &[]);
    let listener = setup.listener();
    let peer = PeerIdentity::from_chain(&setup.client_ca.leaf(&[WEB]).chain);
    let neighbour = PeerIdentity::from_chain(&setup.client_ca.leaf(&["spiffe://corp.example/api"]).chain);
    let of = |peer| listener.still_accepts(Some("api.example.com"), Some(peer), now());
    assert!(of(&peer).is_ok() && of(&neighbour).is_ok());

    let entry = DenyEntry {
        name: DenyName::parse(DenyKind::Spiffe, WEB, None).unwrap(),
        until: None,
        reason: None,
        source: DenySource::File {
            file: "deny.yaml".into(),
            line: 4,
            column: 3,
        },
    };
    let list = DenyIndex::new(vec![entry], now());
    setup.boards.denied.publish(Side::File, list);

    let refused = of(&peer).unwrap_err();
    assert_eq!(refused.reason, Reason::CertificateRevoked);
    assert_eq!(refused.detail.unwrap().decided_by.unwrap().line, 4);
    assert!(of(&neighbour).is_ok());
}
