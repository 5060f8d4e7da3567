use portcullis_model::{SpiffeId, TrustDomain};
use serde_json::json;

use super::*;
use crate::plan::{ClientCertificates, ClientCertificatesPlan, KeySource, TrustAnchors, UpstreamPeer};
use crate::testing::{ISSUER, KEYS_URL, TestCa, TestKey, boards, issuer_plan, jwks};

const US: &str = "spiffe://corp.example/gateway";

fn listener(certificate: CertifiedKeyPlan) -> ListenerTlsPlan {
    ListenerTlsPlan {
        listener: ListenerId::new("public"),
        origin: Origin::of("listeners.public.tls"),
        certificates: vec![certificate.into()],
        client: ClientCertificatesPlan::default(),
        hosts: BTreeMap::new(),
        alpn: vec!["h2", "http/1.1"],
    }
}

fn with_listener(listener: ListenerTlsPlan) -> IdentityPlan {
    IdentityPlan {
        listeners: vec![listener],
        ..IdentityPlan::default()
    }
}

fn trust(anchors: TrustAnchors) -> TrustPlan {
    TrustPlan {
        id: TrustId::new("mesh"),
        origin: Origin::of("trust.mesh"),
        anchors,
        revocation: None,
    }
}

fn with_upstream(peer: UpstreamPeer) -> IdentityPlan {
    let upstream = UpstreamTlsPlan {
        pool: PoolId::new("p"),
        origin: Origin::of("pools.p.tls"),
        peer,
        revocation: None,
    };
    IdentityPlan {
        upstreams: vec![upstream],
        ..IdentityPlan::default()
    }
}

/// The one problem of a plan: its code and its place.
fn problem(plan: &IdentityPlan) -> (&'static str, String) {
    let problems = compile(plan, None, &boards().0).unwrap_err();
    let all: Vec<_> = problems.iter().collect();
    assert_eq!(all.len(), 1, "{problems}");
    (all[0].code, all[0].origin.path.to_string())
}

fn warnings(plan: &IdentityPlan) -> Vec<&'static str> {
    let (_, warnings) = compile(plan, None, &boards().0).unwrap();
    warnings.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_key_of_another_certificate_is_a_problem_at_the_certificate() {
    let ca = TestCa::new("ca");
    let (one, other) = (ca.leaf(&["a.example"]).plan(), ca.leaf(&["a.example"]).plan());
    let mixed = CertifiedKeyPlan {
        key_pem: other.key_pem,
        ..one.clone()
    };

    assert_eq!(
        problem(&with_listener(listener(mixed))),
        ("certificate-key-mismatch", "certificate".to_owned())
    );
    assert!(warnings(&with_listener(listener(one))).is_empty());
}

#[test]
fn a_key_that_is_none_and_a_chain_of_nothing_are_problems() {
    let good = TestCa::new("ca").leaf(&["a.example"]).plan();
    let no_key = CertifiedKeyPlan {
        key_pem: portcullis_model::Redacted::new("no key".into()),
        ..good.clone()
    };
    let no_chain = CertifiedKeyPlan {
        chain: vec![],
        ..good.clone()
    };
    let mut none = listener(good);
    none.certificates.clear();

    assert_eq!(problem(&with_listener(listener(no_key))).0, "certificate-key");
    assert_eq!(
        problem(&with_listener(listener(no_chain))).0,
        "certificate-missing"
    );
    assert_eq!(problem(&with_listener(none)).0, "certificate-missing");
}

#[test]
fn a_certificate_without_dns_names_is_a_problem() {
    let plan = TestCa::new("ca").leaf(&["10.0.0.1"]).plan();

    assert_eq!(problem(&with_listener(listener(plan))).0, "certificate-names");
}

#[test]
fn an_expired_certificate_is_a_warning_every_time() {
    let leaf = TestCa::new("ca").shaped(&["a.example"], |p| p.not_after = rcgen::date_time_ymd(2026, 1, 1));
    let plan = with_listener(listener(leaf.plan()));
    let boards = boards().0;

    let (first, warnings) = compile(&plan, None, &boards).unwrap();
    let (_, again) = compile(&plan, Some(&first), &boards).unwrap();

    assert_eq!(
        warnings.iter().map(|problem| problem.code).collect::<Vec<_>>(),
        ["certificate-expired"]
    );
    assert_eq!(warnings, again);
}

#[test]
fn a_host_that_no_certificate_covers_is_a_warning() {
    let mut plan = listener(TestCa::new("ca").leaf(&["a.example", "*.lab.example"]).plan());
    plan.hosts
        .insert("a.example".to_owned(), ClientCertificatesPlan::default());
    plan.hosts
        .insert("*.lab.example".to_owned(), ClientCertificatesPlan::default());
    assert!(warnings(&with_listener(plan.clone())).is_empty());

    plan.hosts
        .insert("b.example".to_owned(), ClientCertificatesPlan::default());
    let plan = with_listener(plan);
    let boards = boards().0;
    let (first, told) = compile(&plan, None, &boards).unwrap();
    let (_, again) = compile(&plan, Some(&first), &boards).unwrap();

    let codes: Vec<_> = told.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["host-uncovered"]);
    assert_eq!(told, again, "a reload that changes nothing says so again");
}

#[test]
fn asking_for_certificates_needs_a_trust_that_exists() {
    let asking = |trust: &[&str]| {
        let mut plan = listener(TestCa::new("ca").leaf(&["a.example"]).plan());
        plan.client.mode = ClientCertificates::Require;
        plan.client.trust = trust.iter().map(|name| TrustId::new(*name)).collect();
        with_listener(plan)
    };
    let mut known = asking(&["mesh"]);
    known.trust = vec![trust(TrustAnchors::Pem(TestCa::new("ca").anchors()))];

    assert_eq!(problem(&asking(&[])).0, "client-trust-missing");
    assert_eq!(problem(&asking(&["mesh"])).0, "unknown-reference");
    assert!(warnings(&known).is_empty());
}

#[test]
fn a_trust_of_nothing_or_of_garbage_is_a_problem() {
    let of = |anchors| IdentityPlan {
        trust: vec![trust(anchors)],
        ..IdentityPlan::default()
    };

    assert_eq!(
        problem(&of(TrustAnchors::Pem(vec![]))),
        ("trust-empty", "trust.mesh".to_owned())
    );
    assert_eq!(
        problem(&of(TrustAnchors::Pem(vec![CertificateDer::from(vec![1])]))).0,
        "trust-anchor"
    );
}

#[test]
fn a_bundle_from_the_workload_api_needs_one() {
    let anchors = TrustAnchors::TrustDomain(TrustDomain::new("corp.example").unwrap(), None);
    let mut plan = IdentityPlan {
        trust: vec![trust(anchors)],
        ..IdentityPlan::default()
    };

    assert_eq!(problem(&plan).0, "workload-api-missing");
    plan.workload_api = true;
    assert!(warnings(&plan).is_empty());
}

#[test]
fn an_expected_workload_needs_an_identity_of_ours() {
    let ca = TestCa::new("ca");
    let expected = SpiffeId::new("spiffe://corp.example/api").unwrap();
    let mut plan = with_upstream(UpstreamPeer::Spiffe {
        expected,
        anchors: Some(ca.anchors()),
    });

    assert_eq!(problem(&plan), ("workload-api-missing", "pools.p.tls".to_owned()));
    plan.svid = Some(ca.leaf(&[US]).plan());
    assert!(warnings(&plan).is_empty());
    plan.svid = Some(ca.leaf(&["gateway.example"]).plan());
    assert_eq!(problem(&plan), ("svid-identity", "certificate".to_owned()));
}

#[test]
fn ordinary_https_needs_anchors_and_a_name_that_is_one() {
    let https = |name: Option<&str>, ca| UpstreamPeer::Https {
        server_name: name.map(str::to_owned),
        ca,
    };
    let ca = TestCa::new("ca");
    let mut system = with_upstream(https(None, None));

    assert_eq!(problem(&system).0, "system-roots-missing");
    system.system_roots = Arc::new(ca.anchors());
    assert!(warnings(&system).is_empty());
    assert_eq!(
        problem(&with_upstream(https(None, Some(vec![])))).0,
        "trust-empty"
    );
    for name in ["", "a b", "-.example", "https://a.example"] {
        assert_eq!(
            problem(&with_upstream(https(Some(name), Some(ca.anchors())))).0,
            "server-name",
            "{name:?}"
        );
    }
}

#[test]
fn keys_from_a_file_must_be_usable() {
    let of = |document: &str| {
        let issuer = issuer_plan(KeySource::Document(document.into()));
        IdentityPlan {
            issuers: vec![issuer],
            ..IdentityPlan::default()
        }
    };
    let key = TestKey::es256("a");
    let mixed = json!({"keys": [key.jwk(), {"kty": "oct", "k": "AA"}]}).to_string();

    assert!(warnings(&of(&jwks(&[&key]))).is_empty());
    assert_eq!(warnings(&of(&mixed)), ["issuer-keys-skipped"]);
    assert_eq!(
        problem(&of("{}")),
        ("issuer-keys", "issuers.customers".to_owned())
    );
    assert_eq!(problem(&of(r#"{"keys":[]}"#)).0, "issuer-keys");
}

#[test]
fn an_issuer_that_accepts_nothing_is_a_problem() {
    let mut no_audience = issuer_plan(KeySource::Url(KEYS_URL.into()));
    no_audience.audiences.clear();
    let mut no_algorithm = issuer_plan(KeySource::Url(KEYS_URL.into()));
    no_algorithm.algorithms.clear();
    let of = |issuer| IdentityPlan {
        issuers: vec![issuer],
        ..IdentityPlan::default()
    };

    assert_eq!(problem(&of(no_audience)).0, "issuer-audience");
    assert_eq!(problem(&of(no_algorithm)).0, "issuer-algorithms");
}

#[test]
fn every_problem_is_reported_at_once() {
    let mut plan = with_listener(listener(TestCa::new("ca").leaf(&["10.0.0.1"]).plan()));
    plan.trust = vec![trust(TrustAnchors::Pem(vec![]))];
    plan.issuers = vec![issuer_plan(KeySource::Document("{}".into()))];

    assert_eq!(compile(&plan, None, &boards().0).unwrap_err().iter().count(), 3);
}

#[tokio::test]
async fn the_status_of_an_issuer_says_how_its_keys_are() {
    let (boards, clock, fetch) = boards();
    let plan = IdentityPlan {
        issuers: vec![issuer_plan(KeySource::Url(KEYS_URL.into()))],
        ..IdentityPlan::default()
    };
    let (runtime, _) = compile(&plan, None, &boards).unwrap();
    let status = || runtime.issuers_status().remove(0);
    assert!(!status().usable);

    boards.keys.refresh_due(clock.instant()).await;
    assert!(status().last_fault.unwrap().contains("404"));

    fetch.answer(KEYS_URL, jwks(&[&TestKey::es256("a")]));
    clock.advance(std::time::Duration::from_secs(2));
    boards.keys.refresh_due(clock.instant()).await;
    clock.advance(std::time::Duration::from_secs(3));
    let now = status();
    assert_eq!((now.usable, now.keys, now.last_fault), (true, 1, None));
    assert_eq!(now.age, Some(std::time::Duration::from_secs(3)));
    assert_eq!(now.issuer.as_ref(), ISSUER);
}

#[test]
fn an_equal_issuer_is_kept_and_a_changed_trust_changes_the_generation() {
    let boards = boards().0;
    let (one, two) = (TestCa::new("one"), TestCa::new("two"));
    let mut plan = IdentityPlan {
        issuers: vec![issuer_plan(KeySource::Url(KEYS_URL.into()))],
        trust: vec![trust(TrustAnchors::Pem(one.anchors()))],
        ..IdentityPlan::default()
    };
    let (first, _) = compile(&plan, None, &boards).unwrap();
    plan.issuers[0].origin = Origin::of("elsewhere");
    let (second, _) = compile(&plan, Some(&first), &boards).unwrap();
    plan.trust[0].anchors = TrustAnchors::Pem(two.anchors());
    let (third, _) = compile(&plan, Some(&second), &boards).unwrap();
    plan.trust.clear();
    let (fourth, _) = compile(&plan, Some(&third), &boards).unwrap();

    let issuer = |runtime: &IdentityRuntime| Arc::clone(&runtime.parts.issuers[&IssuerId::new("customers")]);
    assert!(Arc::ptr_eq(&issuer(&first), &issuer(&second)));
    assert_eq!(first.generation(), second.generation());
    assert_ne!(second.generation(), third.generation());
    assert_ne!(third.generation(), fourth.generation());
}
