//! Who is refused although the credential is right: the deny list stands behind every memory.

use super::*;
use crate::deny::{DenyEntry, DenyIndex, DenyKind, DenyName, DenySource, Side};

fn entry(kind: DenyKind, value: &str, within: Option<&str>) -> DenyEntry {
    DenyEntry {
        name: DenyName::parse(kind, value, within.map(Arc::from)).unwrap(),
        until: None,
        reason: Some("laptop stolen".into()),
        source: DenySource::File {
            file: "deny.yaml".into(),
            line: 4,
            column: 3,
        },
    }
}

impl Setup {
    fn deny(&self, entries: Vec<DenyEntry>) {
        self.boards
            .denied
            .publish(Side::File, DenyIndex::new(entries, now()));
    }

    fn tokens(&self, outcome: &str) -> u64 {
        let labels = ["customers", outcome];
        self.boards.metrics.tokens.with_label_values(&labels).get()
    }
}

fn named_claims() -> Value {
    let mut claims = claims_with("jti", json!("t1"));
    claims["sid"] = json!("s1");
    claims
}

#[test]
fn a_remembered_token_is_refused_as_soon_as_an_entry_names_it() {
    let key = TestKey::es256("a");
    for (kind, value) in [
        (DenyKind::Jti, "t1"),
        (DenyKind::Sub, "alice"),
        (DenyKind::Sid, "s1"),
    ] {
        let setup = Setup::document(&[&key]);
        let (token, neighbour) = (
            key.sign(&named_claims()),
            key.sign(&claims_with("sub", json!("bob"))),
        );
        assert!(setup.judge(&token).is_ok() && setup.judge(&neighbour).is_ok());

        setup.deny(vec![entry(kind, value, None)]);

        assert_eq!(setup.refusal(&token), Reason::TokenRevoked, "{kind:?}");
        assert!(setup.judge(&neighbour).is_ok(), "{kind:?}");
        setup.deny(Vec::new());
        assert!(setup.judge(&token).is_ok(), "{kind:?}");
        assert_eq!(setup.signature_checks(), 2, "{kind:?}");
    }
}

#[test]
fn a_denied_token_costs_one_signature_check_however_often_it_comes() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&named_claims());
    setup.deny(vec![entry(DenyKind::Jti, "t1", None)]);

    for _ in 0..3 {
        assert_eq!(setup.refusal(&token), Reason::TokenRevoked);
    }

    assert_eq!(setup.signature_checks(), 1);
    let counted = ["verified", "cached", "token-revoked"].map(|outcome| setup.tokens(outcome));
    assert_eq!(counted, [0, 0, 3]);
}

#[test]
fn nobody_learns_from_a_token_that_proves_nothing_whether_it_is_denied() {
    let (ours, theirs) = (TestKey::es256("a"), TestKey::es256("a"));
    let setup = Setup::document(&[&ours]);
    setup.deny(vec![entry(DenyKind::Sub, "alice", None)]);

    assert_eq!(
        setup.refusal(&theirs.sign(&named_claims())),
        Reason::TokenSignature
    );
    let late = setup.judge_at(&ours.sign(&named_claims()), now() + Duration::from_secs(3_600));
    assert_eq!(late.unwrap_err().reason, Reason::TokenExpired);
}

#[test]
fn the_operator_reads_the_deciding_line_and_the_client_does_not() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    setup.deny(vec![entry(DenyKind::Sub, "alice", Some("customers"))]);

    let rejection = setup.judge(&key.sign(&named_claims())).unwrap_err();

    assert_eq!(
        challenge_of(&rejection),
        r#"Bearer realm="portcullis", error="invalid_token", error_description="The token has been revoked""#
    );
    let detail = rejection.detail.unwrap();
    assert_eq!(detail.public, None);
    assert_eq!(
        detail.private.as_deref(),
        Some("denied by sub \"alice\" of customers (deny.yaml:4:3 sub): laptop stolen")
    );
    let decided_by = detail.decided_by.unwrap();
    assert_eq!((&*decided_by.file, decided_by.line), ("deny.yaml", 4));
}

#[test]
fn a_certificate_is_refused_by_serial_number_and_by_spiffe_id_although_its_chain_is_remembered() {
    let setup = Setup::of(Vec::new(), &["mesh"]);
    let chain = setup.ca.leaf(&[WEB]).chain;
    let peer = PeerIdentity::from_chain(&chain);
    let neighbour = PeerIdentity::from_chain(&setup.ca.leaf(&["spiffe://corp.example/api"]).chain);
    for denial in [
        entry(DenyKind::Serial, &peer.serial, None),
        entry(DenyKind::Serial, &peer.serial.to_uppercase(), Some("mesh")),
        entry(DenyKind::Spiffe, WEB, None),
    ] {
        assert!(setup.judge_peer(&peer).is_ok() && setup.judge_peer(&neighbour).is_ok());

        setup.deny(vec![denial]);

        let refused = setup.judge_peer(&peer).unwrap_err();
        assert_eq!(refused.reason, Reason::CertificateRevoked);
        assert_eq!(refused.detail.unwrap().decided_by.unwrap().line, 4);
        assert!(setup.judge_peer(&neighbour).is_ok());
        setup.deny(Vec::new());
    }
    setup.deny(vec![entry(DenyKind::Serial, &peer.serial, Some("partners"))]);
    assert!(setup.judge_peer(&peer).is_ok());
}

#[test]
fn a_serial_number_in_a_chain_that_nobody_trusts_tells_nothing() {
    let setup = Setup::of(Vec::new(), &["mesh"]);
    let stranger = TestCa::new("stranger");
    let peer = PeerIdentity::from_chain(&stranger.leaf(&[WEB]).chain);
    setup.deny(vec![entry(DenyKind::Spiffe, WEB, None)]);

    assert_eq!(
        setup.judge_peer(&peer).unwrap_err().reason,
        Reason::CertificateUntrusted
    );
}

#[test]
fn what_was_proven_is_asked_again_by_its_standing() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let proven = setup.judge(&key.sign(&named_claims())).unwrap();
    let judge = || {
        proven
            .standing
            .judge(&setup.boards, &proven.principal, None, now())
    };
    assert!(judge().is_ok());
    let beats = setup.boards.pulse.count();

    setup.deny(vec![entry(DenyKind::Sid, "s1", None)]);

    assert_ne!(setup.boards.pulse.count(), beats);
    assert_eq!(judge().unwrap_err().reason, Reason::TokenRevoked);
}

#[test]
fn a_certificate_that_was_proven_is_asked_again_by_its_standing() {
    let setup = Setup::of(Vec::new(), &["mesh"]);
    let peer = PeerIdentity::from_chain(&setup.ca.leaf(&[WEB]).chain);
    let proven = setup.judge_peer(&peer).unwrap();
    let judge = || {
        proven
            .standing
            .judge(&setup.boards, &proven.principal, Some(&peer), now())
    };
    assert!(judge().is_ok());

    setup.deny(vec![entry(DenyKind::Serial, &peer.serial, Some("mesh"))]);

    assert_eq!(judge().unwrap_err().reason, Reason::CertificateRevoked);
}
