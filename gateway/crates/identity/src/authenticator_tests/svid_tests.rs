//! JWT-SVIDs: the trust domain's keys, the workload in `sub`, and nobody else (SPIFFE JWT-SVID specification).

use bytes::Bytes;

use super::*;
use crate::deny::{DenyEntry, DenyIndex, DenyKind, DenyName, DenySource, Side};
use crate::mtls::WorkloadIdentity;
use crate::plan::TokenTypes;

const BILLING: &str = "spiffe://corp.example/billing";

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn svid_plan(id: &str, name: &str, keys: KeySource) -> IssuerPlan {
    IssuerPlan {
        id: IssuerId::new(id),
        kind: IssuerKind::Spiffe(domain(name)),
        algorithms: Algorithm::JWT_SVID.to_vec(),
        token_types: TokenTypes::jwt_svids(),
        ..issuer_plan(keys)
    }
}

fn document(keys: &[&TestKey]) -> Setup {
    let keys = KeySource::Document(jwks(keys).into());
    Setup::of(vec![svid_plan("svids", "corp.example", keys)], &["svids"])
}

fn svid(sub: &str) -> Value {
    json!({"sub": sub, "aud": ["api"], "exp": at(300), "iat": at(-1)})
}

/// JWT-SVID sections 3 and 4: `sub`, `aud` and `exp` are required, and nothing else is.
#[test]
fn a_jwt_svid_proves_its_workload() {
    let key = TestKey::es256("a");
    let setup = document(&[&key]);

    let proven = setup.judge(&key.sign(&svid(BILLING))).unwrap().principal;

    assert_eq!(proven.spiffe_id().unwrap().to_string(), BILLING);
    assert_eq!(proven.proof, Proof::Jwt);
    assert_eq!(proven.kind(), "workload");
    assert_eq!(proven.to_string(), BILLING);
    assert_eq!(proven.attributes.claims["sub"], BILLING);
    for missing in ["sub", "aud", "exp"] {
        let mut claims = svid(BILLING);
        claims.as_object_mut().unwrap().remove(missing);
        assert!(setup.judge(&key.sign(&claims)).is_err(), "{missing}");
    }
}

/// JWT-SVID section 3.1, SPIFFE-ID section 2: one spelling, one domain, a workload in it.
#[test]
fn a_subject_that_is_no_workload_of_the_domain_proves_nobody() {
    let key = TestKey::es256("a");
    let setup = document(&[&key]);

    for sub in [
        "spiffe://other.example/billing",
        "spiffe://corp.example.evil.example/billing",
        "spiffe://CORP.example/billing",
        "SPIFFE://corp.example/billing",
        "spiffe://corp.example",
        "spiffe://corp.example/",
        "spiffe://corp.example/../other",
        "spiffe://corp.example//billing",
        "spiffe://corp.example/billing/",
        "spiffe://corp.example/bill%69ng",
        "spiffe://corp.example/billing?x",
        "spiffe://corp.example:8443/billing",
        "spiffe://a@corp.example/billing",
        "spiffe://corp.example/billing\u{0}",
        "https://corp.example/billing",
        "billing",
        "",
    ] {
        let reason = setup.refusal(&key.sign(&svid(sub)));
        assert_eq!(reason, Reason::TokenIssuerUnknown, "{sub}");
    }
    let mut listed = svid(BILLING);
    listed["sub"] = json!([BILLING]);
    assert!(setup.judge(&key.sign(&listed)).is_err());
    assert_eq!(setup.boards.metrics.signature_checks("svids"), 0);
}

/// JWT-SVID section 2.3: `typ` is absent, `JWT` or `JOSE`.
#[test]
fn a_jwt_svid_of_another_type_is_refused() {
    let key = TestKey::es256("a");
    let setup = document(&[&key]);
    let typed = |typ: &str| {
        let header = json!({"alg": "ES256", "kid": "a", "typ": typ}).to_string();
        key.sign_raw(&header, &svid(BILLING).to_string())
    };

    for typ in ["JWT", "JOSE"] {
        assert!(setup.judge(&typed(typ)).is_ok(), "{typ}");
    }
    for typ in ["at+jwt", "wit+jwt", "none"] {
        assert_eq!(setup.refusal(&typed(typ)), Reason::TokenType, "{typ}");
    }
}

/// JWT-SVID section 2.1: EdDSA is none of the algorithms. Section 2: other members of the header are not looked at.
#[test]
fn a_jwt_svid_has_one_of_the_algorithms_and_no_other_header_counts() {
    let (ed, es) = (TestKey::ed25519("ed"), TestKey::es256("es"));
    let setup = document(&[&ed, &es]);
    let header = json!({
        "alg": "ES256", "kid": "es", "jku": "https://evil.example/jwks", "jwk": TestKey::es256("es").jwk(),
        "x5u": "https://evil.example/x5u", "x5c": ["AAAA"],
    });

    assert_eq!(setup.refusal(&ed.sign(&svid(BILLING))), Reason::TokenAlgorithm);
    assert!(
        setup
            .judge(&es.sign_raw(&header.to_string(), &svid(BILLING).to_string()))
            .is_ok()
    );
    let forged = TestKey::es256("es").sign_raw(&header.to_string(), &svid(BILLING).to_string());
    assert_eq!(setup.refusal(&forged), Reason::TokenSignature);
}

/// SPIFFE Trust Domain and Bundle section 4.2.2: `jwt-svid` keys sign JWT-SVIDs, `x509-svid` ones never do.
#[test]
fn a_bundle_gives_its_jwt_keys_and_no_others() {
    let keys = ["jwt-svid", "x509-svid", "sig", "enc"].map(TestKey::es256);
    let entries: Vec<_> = keys
        .iter()
        .zip(["jwt-svid", "x509-svid", "sig", "enc"])
        .map(|(key, purpose)| {
            let mut jwk = key.jwk();
            jwk["use"] = json!(purpose);
            jwk
        })
        .collect();
    let text = json!({"keys": entries, "spiffe_sequence": 7, "spiffe_refresh_hint": 300}).to_string();
    let plan = svid_plan("svids", "corp.example", KeySource::Document(text.as_str().into()));
    let setup = Setup::of(vec![plan], &["svids"]);

    let verdicts = keys.map(|key| setup.judge(&key.sign(&svid(BILLING))).is_ok());

    assert_eq!(verdicts, [true, false, true, false]);
    // The same document is no key set of an ordinary issuer's tokens but for its `sig` key.
    let plan = issuer_plan(KeySource::Document(text.into()));
    let (runtime, _) = compile(
        &IdentityPlan {
            issuers: vec![plan],
            ..IdentityPlan::default()
        },
        None,
        &setup.boards,
    )
    .unwrap();
    assert_eq!(runtime.issuers_status()[0].keys, 1);
}

/// A workload that is denied is denied by whatever it proves itself.
#[test]
fn a_denied_workload_gets_nothing_by_its_token_either() {
    let key = TestKey::es256("a");
    let setup = document(&[&key]);
    let (token, neighbour) = (
        key.sign(&svid(BILLING)),
        key.sign(&svid("spiffe://corp.example/orders")),
    );
    assert!(setup.judge(&token).is_ok());

    let name = DenyName::parse(DenyKind::Spiffe, BILLING, None).unwrap();
    let entry = DenyEntry {
        name,
        until: None,
        reason: None,
        source: DenySource::File {
            file: "deny.yaml".into(),
            line: 1,
            column: 1,
        },
    };
    let index = DenyIndex::new(vec![entry], now());
    setup.boards.denied.publish(Side::File, index);

    assert_eq!(setup.refusal(&token), Reason::TokenRevoked);
    assert!(setup.judge(&neighbour).is_ok());
    let examined = setup.authenticator.examine(&token, now());
    assert_eq!(examined.verdict.unwrap_err(), Reason::TokenRevoked);
}

/// Each domain's keys vouch for its own workloads only, whatever the token says of itself.
#[test]
fn a_domain_never_vouches_for_the_workloads_of_another() {
    let (ours, theirs) = (TestKey::es256("a"), TestKey::es256("a"));
    let of = |keys: &TestKey| KeySource::Document(jwks(&[keys]).into());
    let plans = vec![
        svid_plan("svids", "corp.example", of(&ours)),
        svid_plan("partners", "partner.example", of(&theirs)),
        issuer_plan(of(&theirs)),
    ];
    let setup = Setup::of(plans, &["customers", "svids", "partners"]);

    assert!(setup.judge(&ours.sign(&svid(BILLING))).is_ok());
    assert!(
        setup
            .judge(&theirs.sign(&svid("spiffe://partner.example/web")))
            .is_ok()
    );
    assert_eq!(
        setup.refusal(&theirs.sign(&svid(BILLING))),
        Reason::TokenSignature
    );
    // An issuer of users whose subject looks like a workload proves a user of its own.
    let mut mixed = svid(BILLING);
    mixed["iss"] = json!(ISSUER);
    mixed["aud"] = json!("api");
    let proven = setup.judge(&theirs.sign(&mixed)).unwrap().principal;
    assert_eq!(proven.kind(), "user");
    assert!(proven.spiffe_id().is_none());
}

/// The agent's JWT authorities: there when they are delivered, gone when they are not, and never a reason to lose
/// the certificates beside them.
#[test]
fn the_keys_of_the_workload_api_are_the_last_delivery() {
    let (old, new) = (TestKey::es256("old"), TestKey::es256("new"));
    let keys = KeySource::WorkloadApi(domain("corp.example"));
    let setup = Setup::of(vec![svid_plan("svids", "corp.example", keys)], &["svids"]);
    let deliver = |document: Option<String>| {
        let bundle = document.map(|document| (domain("corp.example"), Bytes::from(document)));
        let delivery = WorkloadIdentity {
            bundles: [(domain("corp.example"), setup.ca.anchors())].into(),
            jwt_bundles: bundle.into_iter().collect(),
            ..WorkloadIdentity::default()
        };
        setup.boards.workload.publish(delivery).unwrap()
    };
    let token = old.sign(&svid(BILLING));
    assert_eq!(setup.refusal(&token), Reason::KeysUnavailable);

    let generation = deliver(Some(jwks(&[&old])));
    assert!(setup.judge(&token).is_ok());
    assert!(setup.runtime.issuers_status()[0].usable);
    // A document that cannot be read leaves the keys that were there, and the certificates' generation.
    assert_eq!(deliver(Some("<html>".to_owned())), generation);
    assert!(setup.judge(&token).is_ok());
    // A key that is withdrawn stops at once, also for a token that is remembered; no session ends for it.
    assert_eq!(deliver(Some(jwks(&[&new]))), generation);
    assert_eq!(setup.refusal(&token), Reason::TokenKeyUnknown);
    assert!(setup.judge(&new.sign(&svid(BILLING))).is_ok());
    // A domain that is delivered no longer has withdrawn its keys: nothing is waited for, and nothing lives on.
    let token = new.sign(&svid(BILLING));
    let headers = bearer_of(&token);
    let still = || {
        let credentials = Credentials {
            headers: &headers,
            peer: None,
        };
        setup.authenticator.still_proves(credentials, now())
    };
    assert!(matches!(still(), Ok(Still::Proven(_))));
    assert_eq!(deliver(None), generation);
    assert_eq!(setup.refusal(&token), Reason::TokenKeyUnknown);
    assert_eq!(still().unwrap_err().reason, Reason::TokenKeyUnknown);
    assert!(!setup.runtime.issuers_status()[0].usable);
    deliver(Some(jwks(&[&new])));
    assert!(matches!(still(), Ok(Still::Proven(_))));
}
