use std::time::Duration;

use portcullis_model::{Origin, TrustDomain, TrustId};
use rcgen::ExtendedKeyUsagePurpose;

use super::*;
use crate::jwt::CheckOutcome;
use crate::plan::{IdentityPlan, TrustAnchors, TrustPlan};
use crate::testing::{TestCa, boards, now};

const WEB: &str = "spiffe://corp.example/web";

fn runtime(anchors: TrustAnchors) -> IdentityRuntime {
    let plan = IdentityPlan {
        trust: vec![TrustPlan {
            id: TrustId::new("mesh"),
            origin: Origin::of("trust.mesh"),
            anchors,
            revocation: None,
        }],
        workload_api: true,
        ..IdentityPlan::default()
    };
    let (boards, ..) = boards();
    crate::compile(&plan, None, &boards).unwrap().0
}

fn domain(ca: &TestCa) -> TrustAnchors {
    TrustAnchors::TrustDomain(TrustDomain::new("corp.example").unwrap(), Some(ca.anchors()))
}

fn outcome(examination: &CertificateExamination, name: CertificateCheckName) -> CheckOutcome {
    let check = examination.checks.iter().find(|check| check.name == name);
    check.unwrap().outcome
}

fn failed(examination: &CertificateExamination) -> Vec<&'static str> {
    let failed = examination.checks.iter().filter(|check| check.outcome == Failed);
    failed.map(|check| check.name.as_str()).collect()
}

/// One chain before one trust.
fn examine(anchors: TrustAnchors, chain: &[CertificateDer<'_>], at: SystemTime) -> CertificateExamination {
    let mut examinations = runtime(anchors).examine_certificate(chain, at);
    assert_eq!(examinations.len(), 1);
    examinations.remove(0)
}

#[test]
fn what_is_accepted_fails_no_check() {
    let ca = TestCa::new("ca");

    let found = examine(domain(&ca), &ca.leaf(&[WEB]).chain, now());

    assert_eq!(found.verdict.as_ref().unwrap().to_string(), WEB);
    assert!(failed(&found).is_empty() && found.passes_handshake, "{found:?}");
    assert_eq!(outcome(&found, CertificateCheckName::Revocation), Skipped);
    assert_eq!(found.by, Origin::of("trust.mesh"));
}

#[test]
fn every_refusal_names_the_check_that_failed_and_says_what_would_pass() {
    let (ours, theirs) = (TestCa::new("ours"), TestCa::new("theirs"));
    let for_servers = ours.shaped(&[WEB], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let year = Duration::from_secs(365 * 86_400);
    let leaf = ours.leaf(&[WEB]);
    let ended = PeerIdentity::from_chain(&leaf.chain).not_after + Duration::from_secs(1);
    for (chain, at, check, reason, handshake) in [
        (
            &ours.leaf(&["web.corp.example"]).chain,
            now(),
            "workload",
            Reason::CertificateSpiffeId,
            false,
        ),
        (
            &ours.leaf(&[WEB, "spiffe://corp.example/b"]).chain,
            now(),
            "workload",
            Reason::CertificateSpiffeId,
            false,
        ),
        (
            &ours.leaf(&["spiffe://other.example/web"]).chain,
            now(),
            "domain",
            Reason::CertificateUntrusted,
            false,
        ),
        (
            &for_servers.chain,
            now(),
            "purpose",
            Reason::CertificateUntrusted,
            false,
        ),
        (
            &theirs.leaf(&[WEB]).chain,
            now(),
            "chain",
            Reason::CertificateUntrusted,
            false,
        ),
        (&leaf.chain, ended, "validity", Reason::CertificateExpired, false),
        (
            &leaf.chain,
            SystemTime::UNIX_EPOCH + year,
            "validity",
            Reason::CertificateUntrusted,
            false,
        ),
    ] {
        let found = examine(domain(&ours), chain, at);

        assert_eq!(found.verdict, Err(reason), "{check}: {found:?}");
        assert_eq!(failed(&found), [check], "{found:?}");
        assert_eq!(found.passes_handshake, handshake, "{check}");
        let told = found
            .checks
            .iter()
            .find(|one| one.name.as_str() == check)
            .unwrap();
        assert!(
            !told.expected.is_empty() && !told.found.is_empty() && told.advice.is_some(),
            "{told:?}"
        );
    }
}

#[test]
fn a_trust_without_a_domain_lets_a_nameless_certificate_through_the_handshake_and_no_route() {
    let ca = TestCa::new("ca");

    let found = examine(
        TrustAnchors::Pem(ca.anchors()),
        &ca.leaf(&["web.corp.example"]).chain,
        now(),
    );

    assert!(found.passes_handshake);
    assert_eq!(found.verdict, Err(Reason::CertificateSpiffeId));
    assert_eq!(outcome(&found, CertificateCheckName::Chain), Passed);
    assert_eq!(outcome(&found, CertificateCheckName::Domain), Skipped);
}

#[test]
fn an_expired_intermediate_is_called_by_its_place() {
    let ca = TestCa::new("ca");
    let (leaf, short) = (
        ca.leaf(&[WEB]),
        ca.shaped(&[WEB], |params| {
            params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        }),
    );
    let chain = [leaf.chain[0].clone(), short.chain[0].clone()];

    let found = examine(domain(&ca), &chain, now());

    let validity = found
        .checks
        .iter()
        .find(|one| one.name == CertificateCheckName::Validity);
    assert!(
        validity
            .unwrap()
            .found
            .starts_with("certificate 2 ended 2027-01-01"),
        "{found:?}"
    );
}

#[test]
fn what_is_no_certificate_is_refused_and_breaks_nothing() {
    let ca = TestCa::new("ca");
    for chain in [&[CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])][..], &[]] {
        let found = examine(domain(&ca), chain, now());

        assert_eq!(found.verdict, Err(Reason::CertificateSpiffeId));
        assert!(failed(&found).contains(&"form"), "{found:?}");
    }
}

#[test]
fn a_bundle_that_only_the_running_gateway_is_given_is_no_verdict_and_what_fails_without_it_is() {
    let ca = TestCa::new("ca");
    let delivered = || TrustAnchors::TrustDomain(TrustDomain::new("corp.example").unwrap(), None);

    let unknown = examine(delivered(), &ca.leaf(&[WEB]).chain, now());
    let nameless = examine(delivered(), &ca.leaf(&["web.corp.example"]).chain, now());

    assert!(!unknown.is_judged() && !unknown.passes_handshake, "{unknown:?}");
    assert_eq!(outcome(&unknown, CertificateCheckName::Chain), NotKnown);
    assert!(nameless.is_judged(), "{nameless:?}");
    assert_eq!(failed(&nameless), ["workload"]);
}
