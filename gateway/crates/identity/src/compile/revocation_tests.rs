use bytes::Bytes;
use portcullis_model::{Origin, PoolId, Severity, TrustId};
use rcgen::date_time_ymd;

use crate::compile::compile;
use crate::mtls::crl::samples::{list, pem, shaped};
use crate::plan::{
    CrlPlan, CrlSource, IdentityPlan, RevocationPlan, TrustAnchors, TrustPlan, UpstreamPeer, UpstreamTlsPlan,
};
use crate::testing::{TestCa, boards};

fn plan(ca: &TestCa, lists: &[&Bytes]) -> IdentityPlan {
    let lists = lists.iter().enumerate().map(|(number, list)| CrlPlan {
        origin: Origin::of(format!("trust.mesh.crl[{number}]")),
        source: CrlSource::Document {
            name: format!("{number}.crl").into(),
            bytes: (*list).clone(),
        },
    });
    let trust = TrustPlan {
        id: TrustId::new("mesh"),
        origin: Origin::of("trust.mesh"),
        anchors: TrustAnchors::Pem(ca.anchors()),
        revocation: Some(RevocationPlan {
            lists: lists.collect(),
            ..RevocationPlan::default()
        }),
    };
    IdentityPlan {
        trust: vec![trust],
        ..IdentityPlan::default()
    }
}

/// Codes and places of what a plan is told.
fn told(plan: &IdentityPlan) -> Vec<(Severity, &'static str, String)> {
    let (boards, ..) = boards();
    let problems = match compile(plan, None, &boards) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    let told = problems.iter();
    told.map(|problem| (problem.severity, problem.code, problem.origin.path.to_string()))
        .collect()
}

#[test]
fn current_lists_of_the_issuers_are_told_nothing_about() {
    let (ca, between) = (TestCa::new("ca"), TestCa::new("somebody in between"));

    assert_eq!(told(&plan(&ca, &[&list(&ca, &[]), &list(&between, &[])])), []);
}

#[test]
fn a_list_that_cannot_be_used_is_an_error_where_it_is_named() {
    let ca = TestCa::new("ca");
    let nothing = Bytes::from_static(b"nothing of the kind");

    assert_eq!(
        told(&plan(&ca, &[&list(&ca, &[]), &nothing])),
        [(Severity::Error, "crl-unusable", "trust.mesh.crl[1]".to_owned())]
    );
}

#[test]
fn an_overdue_list_is_a_warning_for_the_one_before_it_said_even_less() {
    let ca = TestCa::new("ca");
    let overdue = shaped(&ca, &[], |params| params.next_update = date_time_ymd(2027, 1, 2));

    assert_eq!(
        told(&plan(&ca, &[&overdue])),
        [(Severity::Warning, "crl-stale", "trust.mesh.crl[0]".to_owned())]
    );
}

#[test]
fn a_list_in_the_name_of_an_anchor_that_did_not_sign_it_is_a_warning() {
    let ca = TestCa::new("ca");

    assert_eq!(
        told(&plan(&ca, &[&list(&TestCa::new("ca"), &[])])),
        [(Severity::Warning, "crl-signature", "trust.mesh.crl[0]".to_owned())]
    );
}

#[test]
fn more_lists_than_a_handshake_should_look_through_are_an_error() {
    let ca = TestCa::new("ca");
    let lists: Vec<_> = (0..65).map(|_| list(&ca, &[])).collect();
    let lists: Vec<_> = lists.iter().collect();

    assert_eq!(told(&plan(&ca, &lists[..64])), []);
    assert_eq!(
        told(&plan(&ca, &lists)),
        [(Severity::Error, "crl-too-many", "trust.mesh.crl[64]".to_owned())]
    );
}

#[test]
fn a_url_takes_the_room_of_one_list() {
    let ca = TestCa::new("ca");
    let lists: Vec<_> = (0..64).map(|_| list(&ca, &[])).collect();
    let of = |files: usize| {
        let document = pem(&lists[..files]);
        let mut plan = plan(&ca, &[&document]);
        plan.trust[0].revocation.as_mut().unwrap().lists.push(CrlPlan {
            origin: Origin::of("trust.mesh.crl[1]"),
            source: CrlSource::Url("http://pki.example/ca.crl".into()),
        });
        told(&plan)
    };

    assert_eq!(of(63), []);
    assert_eq!(
        of(64),
        [(Severity::Error, "crl-too-many", "trust.mesh.crl[1]".to_owned())]
    );
}

#[test]
fn an_equal_plan_keeps_the_trust_with_its_verdicts_and_another_list_does_not() {
    let (boards, ..) = boards();
    let ca = TestCa::new("ca");
    let leaf = ca.leaf(&["spiffe://corp.example/web"]).chain;
    let (one, other) = (list(&ca, &[]), list(&ca, &[&leaf[0]]));
    let (first, _) = compile(&plan(&ca, &[&one]), None, &boards).unwrap();
    let mut moved = plan(&ca, &[&one]);
    moved.trust[0].revocation.as_mut().unwrap().lists[0].origin = Origin::of("elsewhere");

    let (same, _) = compile(&moved, Some(&first), &boards).unwrap();
    let (changed, _) = compile(&plan(&ca, &[&other]), Some(&same), &boards).unwrap();

    assert_eq!(same.generation(), first.generation());
    assert_ne!(changed.generation(), first.generation());
}

#[test]
fn what_there_is_to_warn_of_is_told_at_every_reload() {
    let (boards, ..) = boards();
    let ca = TestCa::new("ca");
    let overdue = shaped(&ca, &[], |params| params.next_update = date_time_ymd(2027, 1, 2));
    let mut plan = plan(&ca, &[&overdue, &list(&TestCa::new("ca"), &[])]);
    plan.upstreams = vec![UpstreamTlsPlan {
        pool: PoolId::new("p"),
        origin: Origin::of("pools.p.tls"),
        peer: UpstreamPeer::Https {
            server_name: None,
            ca: Some(ca.anchors()),
        },
        revocation: plan.trust[0].revocation.clone(),
    }];

    let (first, told) = compile(&plan, None, &boards).unwrap();
    let (_, again) = compile(&plan, Some(&first), &boards).unwrap();

    let codes: Vec<_> = told.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["crl-stale", "crl-signature", "crl-stale"]);
    assert_eq!(told, again);
}
