use portcullis_model::{Origin, PoolId, TrustDomain};
use rustls::{CertificateError, Error, HandshakeKind, ServerConfig};

use super::*;
use crate::boards::Boards;
use crate::compile::{IdentityRuntime, compile};
use crate::mtls::WorkloadIdentity;
use crate::mtls::crl::samples::list;
use crate::plan::{
    CertifiedKeyPlan, CrlPlan, CrlSource, IdentityPlan, RevocationPlan, UpstreamPeer, UpstreamTlsPlan,
};
use crate::testing::{Dialled, TestCa, TestLeaf, boards, dial, server_config};

const US: &str = "spiffe://corp.example/gateway";
const THEM: &str = "spiffe://corp.example/appointments";
const H2: &[&[u8]] = &[b"h2"];

fn address() -> SocketAddr {
    "10.0.0.1:443".parse().unwrap()
}

fn upstream_plan(peer: UpstreamPeer) -> UpstreamTlsPlan {
    UpstreamTlsPlan {
        pool: PoolId::new("appointments"),
        origin: Origin::of("pools.appointments.tls"),
        peer,
        revocation: None,
    }
}

fn compiled(boards: &Boards, peer: UpstreamPeer, svid: Option<CertifiedKeyPlan>) -> IdentityRuntime {
    let plan = IdentityPlan {
        upstreams: vec![upstream_plan(peer)],
        svid,
        workload_api: true,
        ..IdentityPlan::default()
    };
    compile(&plan, None, boards).unwrap().0
}

fn of(runtime: &IdentityRuntime) -> Arc<UpstreamTls> {
    runtime.upstream_tls(&PoolId::new("appointments")).unwrap()
}

fn spiffe(ca: Option<&TestCa>) -> UpstreamPeer {
    UpstreamPeer::Spiffe {
        expected: SpiffeId::new(THEM).unwrap(),
        anchors: ca.map(TestCa::anchors),
    }
}

/// mTLS from files: our SVID and the mesh's authority.
fn mesh(ca: &TestCa) -> Arc<UpstreamTls> {
    of(&compiled(
        &boards().0,
        spiffe(Some(ca)),
        Some(ca.leaf(&[US]).plan()),
    ))
}

fn reach(upstream: &UpstreamTls, dns: Option<&str>, server: Arc<ServerConfig>) -> Result<Dialled, Error> {
    dial(
        &upstream.client_config(H2).unwrap(),
        upstream.server_name(dns, address()),
        server,
    )
}

fn endpoint(leaf: &TestLeaf, asks: Option<&TestCa>) -> Arc<ServerConfig> {
    server_config(leaf, asks, &["h2"])
}

#[test]
fn the_expected_workload_is_reached_and_sees_who_we_are() {
    let ca = TestCa::new("mesh");
    let upstream = mesh(&ca);

    let dialled = reach(&upstream, None, endpoint(&ca.leaf(&[THEM]), Some(&ca))).unwrap();

    let us = crate::mtls::PeerIdentity::from_chain(dialled.server.peer_certificates().unwrap());
    assert_eq!(us.spiffe_id.unwrap().to_string(), US);
    assert_eq!(dialled.client.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn another_workload_of_the_same_authority_is_an_identity_mismatch() {
    let ca = TestCa::new("mesh");
    let upstream = mesh(&ca);
    let names: [&[&str]; 4] = [
        &["spiffe://corp.example/other"],
        &["10.0.0.1", "appointments.internal"],
        &[THEM, "spiffe://corp.example/other"],
        &["spiffe://corp.example/appointments/more"],
    ];

    for names in names {
        let error = reach(
            &upstream,
            Some("appointments.internal"),
            endpoint(&ca.leaf(names), None),
        )
        .unwrap_err();
        assert!(UpstreamTls::is_identity_mismatch(&error), "{names:?}: {error}");
    }
}

#[test]
fn the_right_name_from_another_authority_is_refused_as_untrusted() {
    let upstream = mesh(&TestCa::new("mesh"));
    let impostor = TestCa::new("mesh").leaf(&[THEM]);

    let error = reach(&upstream, None, endpoint(&impostor, None)).unwrap_err();

    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
    assert!(!UpstreamTls::is_identity_mismatch(&error));
}

#[test]
fn an_endpoint_with_an_expired_or_client_only_certificate_is_refused() {
    let ca = TestCa::new("mesh");
    let upstream = mesh(&ca);
    let expired = ca.shaped(&[THEM], |params| {
        params.not_after = rcgen::date_time_ymd(2026, 1, 1)
    });
    let client_only = ca.shaped(&[THEM], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });

    for leaf in [expired, client_only] {
        let error = reach(&upstream, None, endpoint(&leaf, None)).unwrap_err();
        assert!(!UpstreamTls::is_identity_mismatch(&error));
    }
}

#[test]
fn deliveries_bring_identity_and_bundle_and_change_the_key() {
    let (old, new) = (TestCa::new("old"), TestCa::new("new"));
    let boards = boards().0;
    let upstream = of(&compiled(&boards, spiffe(None), None));
    let deliver = |ca: &TestCa, with_svid: bool| {
        let svid = with_svid.then(|| ca.leaf(&[US]).svid(US));
        let bundles = [(TrustDomain::new("corp.example").unwrap(), ca.anchors())].into();
        boards
            .workload
            .publish(WorkloadIdentity {
                svid,
                bundles,
                ..WorkloadIdentity::default()
            })
            .unwrap()
    };

    assert!(matches!(upstream.client_config(H2), Err(IdentityFault::NoSvid)));
    deliver(&old, false);
    assert!(matches!(upstream.client_config(H2), Err(IdentityFault::NoSvid)));
    deliver(&old, true);
    assert!(reach(&upstream, None, endpoint(&old.leaf(&[THEM]), Some(&old))).is_ok());
    let key = upstream.generation_key();
    deliver(&new, true);

    assert_ne!(upstream.generation_key(), key);
    assert!(reach(&upstream, None, endpoint(&old.leaf(&[THEM]), None)).is_err());
    assert!(reach(&upstream, None, endpoint(&new.leaf(&[THEM]), Some(&new))).is_ok());
}

#[test]
fn an_svid_that_is_over_reaches_no_endpoint_and_reuses_no_connection_until_another_one_comes() {
    let ca = TestCa::new("ca");
    let (boards, clock, _) = boards();
    let upstream = of(&compiled(&boards, spiffe(None), None));
    let deliver = |leaf: &TestLeaf| {
        let bundles = [(TrustDomain::new("corp.example").unwrap(), ca.anchors())].into();
        let delivery = WorkloadIdentity {
            svid: Some(leaf.svid(US)),
            bundles,
            ..WorkloadIdentity::default()
        };
        boards.workload.publish(delivery).unwrap()
    };
    deliver(&ca.shaped(&[US], |params| {
        params.not_after = rcgen::date_time_ymd(2027, 1, 16)
    }));
    assert!(reach(&upstream, None, endpoint(&ca.leaf(&[THEM]), Some(&ca))).is_ok());
    let key = upstream.generation_key();

    clock.advance(std::time::Duration::from_secs(2 * 24 * 3600));

    let fault = upstream.client_config(H2).unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("our SVID spiffe://corp.example/gateway expired"),
        "{fault}"
    );
    assert_ne!(upstream.generation_key(), key);
    deliver(&ca.leaf(&[US]));
    assert!(upstream.client_config(H2).is_ok());
}

#[test]
fn an_endpoint_of_a_domain_whose_bundle_did_not_come_is_not_reached() {
    let ca = TestCa::new("ca");
    let boards = boards().0;
    let upstream = of(&compiled(&boards, spiffe(None), None));
    let delivery = WorkloadIdentity {
        svid: Some(ca.leaf(&[US]).svid(US)),
        bundles: [(TrustDomain::new("other.example").unwrap(), ca.anchors())].into(),
        ..WorkloadIdentity::default()
    };
    boards.workload.publish(delivery).unwrap();

    assert!(matches!(
        upstream.client_config(H2),
        Err(IdentityFault::NoBundle(domain)) if domain.to_string() == "corp.example"
    ));
}

#[test]
fn the_configuration_is_built_once_per_delivery() {
    let upstream = mesh(&TestCa::new("mesh"));

    let first = upstream.client_config(H2).unwrap();

    assert!(Arc::ptr_eq(&first, &upstream.client_config(H2).unwrap()));
    assert!(!Arc::ptr_eq(
        &first,
        &upstream.client_config(&[b"http/1.1"]).unwrap()
    ));
    assert_eq!(
        upstream
            .client_config(&[b"h2", b"http/1.1"])
            .unwrap()
            .alpn_protocols
            .len(),
        2
    );
    assert!(matches!(
        upstream.client_config(&[b"h3"]),
        Err(IdentityFault::Alpn)
    ));
}

#[test]
fn ordinary_https_is_verified_by_name_and_chain_and_shows_no_certificate() {
    let ca = TestCa::new("public");
    let peer = UpstreamPeer::Https {
        server_name: None,
        ca: Some(ca.anchors()),
    };
    let upstream = of(&compiled(&boards().0, peer, Some(ca.leaf(&[US]).plan())));
    let api = endpoint(&ca.leaf(&["api.example.com", "10.0.0.1"]), None);

    let named = reach(&upstream, Some("api.example.com"), Arc::clone(&api)).unwrap();
    assert!(named.server.peer_certificates().is_none());
    assert!(reach(&upstream, None, Arc::clone(&api)).is_ok());
    let wrong = reach(&upstream, Some("other.example.com"), Arc::clone(&api)).unwrap_err();
    assert!(UpstreamTls::is_identity_mismatch(&wrong));
    assert!(
        reach(
            &upstream,
            Some(""),
            endpoint(&ca.leaf(&["api.example.com"]), None)
        )
        .is_err()
    );
    let untrusted = endpoint(&TestCa::new("public").leaf(&["api.example.com"]), None);
    assert!(reach(&upstream, Some("api.example.com"), untrusted).is_err());
}

#[test]
fn a_configured_name_is_what_the_endpoint_must_prove() {
    let ca = TestCa::new("public");
    let name = Some("api.example.com".to_owned());
    let upstream = of(&compiled(
        &boards().0,
        UpstreamPeer::Https {
            server_name: name,
            ca: Some(ca.anchors()),
        },
        None,
    ));
    let (right, wrong) = (ca.leaf(&["api.example.com"]), ca.leaf(&["node-7.internal"]));

    assert!(reach(&upstream, Some("node-7.internal"), endpoint(&right, None)).is_ok());
    // Even a caller that hands rustls another name gets the configured one verified.
    let config = upstream.client_config(H2).unwrap();
    let other_name = ServerName::try_from("node-7.internal").unwrap();
    assert!(dial(&config, other_name, endpoint(&wrong, None)).is_err());
}

#[test]
fn the_name_is_never_empty() {
    let upstream = mesh(&TestCa::new("mesh"));
    let named = |dns| upstream.server_name(dns, address()).to_str().into_owned();

    assert_eq!(named(Some("api.internal")), "api.internal");
    assert_eq!(named(None), "10.0.0.1");
    assert_eq!(named(Some("")), "10.0.0.1");
    assert_eq!(named(Some("not a name")), "10.0.0.1");
}

#[test]
fn pools_never_share_a_key_and_equal_plans_keep_it() {
    let (ca, boards) = (TestCa::new("mesh"), boards().0);
    let mut other = upstream_plan(UpstreamPeer::Spiffe {
        expected: SpiffeId::new("spiffe://corp.example/programs").unwrap(),
        anchors: Some(ca.anchors()),
    });
    other.pool = PoolId::new("programs");
    let mut plan = IdentityPlan {
        upstreams: vec![upstream_plan(spiffe(Some(&ca))), other],
        svid: Some(ca.leaf(&[US]).plan()),
        ..IdentityPlan::default()
    };
    let key = |runtime: &IdentityRuntime, pool: &str| {
        runtime.upstream_tls(&PoolId::new(pool)).unwrap().generation_key()
    };

    let (first, _) = compile(&plan, None, &boards).unwrap();
    plan.upstreams[0].origin = Origin::of("elsewhere");
    let (moved, _) = compile(&plan, Some(&first), &boards).unwrap();
    plan.svid = Some(ca.leaf(&[US]).plan());
    let (rotated, _) = compile(&plan, Some(&moved), &boards).unwrap();

    assert_ne!(key(&first, "appointments"), key(&first, "programs"));
    assert_eq!(key(&first, "appointments"), key(&moved, "appointments"));
    assert_eq!(first.generation(), moved.generation());
    assert_ne!(key(&moved, "appointments"), key(&rotated, "appointments"));
    assert_ne!(moved.generation(), rotated.generation());
}

/// Ends on the day after the tests' present, at midnight.
fn ends_tomorrow(params: &mut rcgen::CertificateParams) {
    params.not_after = rcgen::date_time_ymd(2027, 1, 16);
}

/// Ended two weeks before.
fn has_ended(params: &mut rcgen::CertificateParams) {
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
}

const TO_MIDNIGHT: Duration = Duration::from_secs(16 * 3600);

#[test]
fn an_endpoint_is_judged_again_when_a_certificate_that_it_showed_has_ended() {
    let (ca, stranger) = (TestCa::new("mesh"), TestCa::new("stranger"));
    let (boards, clock, _) = boards();
    let upstream = of(&compiled(&boards, spiffe(Some(&ca)), Some(ca.leaf(&[US]).plan())));
    let (short, long) = (ca.shaped(&[THEM], ends_tomorrow), ca.leaf(&[THEM]));
    // Nobody needs it, and which certificates were needed is not asked.
    let decoy = stranger.shaped(&["decoy.example"], ends_tomorrow);
    let beside = [long.chain[0].clone(), decoy.chain[0].clone()];
    let proof = |chain| EndpointProof {
        generation: upstream.generation_key(),
        chain,
        until: upstream.note_accepted(chain).map(|left| clock.instant() + left),
        dns: None,
    };
    let (short, beside, long) = (proof(&short.chain), proof(&beside), proof(&long.chain));
    let judge = |proof| upstream.still_accepts(proof, address());
    for proof in [&short, &beside, &long] {
        assert_eq!(judge(proof), Ok(proof.generation));
    }

    clock.advance(TO_MIDNIGHT + Duration::from_secs(1));

    let why = judge(&short).unwrap_err();
    assert!(why.contains("Expired"), "{why}");
    assert_eq!(judge(&beside), Ok(beside.generation));
    assert_eq!(judge(&long), Ok(long.generation));
}

/// A resumed handshake shows no chain: the session is what has to end.
#[test]
fn no_session_outlives_the_certificate_of_the_endpoint_that_it_was_made_with() {
    let ca = TestCa::new("mesh");
    let (boards, clock, _) = boards();
    let upstream = of(&compiled(&boards, spiffe(Some(&ca)), Some(ca.leaf(&[US]).plan())));
    let server = endpoint(&ca.shaped(&[THEM], ends_tomorrow), Some(&ca));
    let reach = || {
        let dialled = reach(&upstream, None, Arc::clone(&server))?;
        upstream.note_accepted(dialled.client.peer_certificates().unwrap());
        Ok::<_, Error>(dialled.client.handshake_kind().unwrap())
    };
    assert_eq!(reach(), Ok(HandshakeKind::Full));
    clock.advance(TO_MIDNIGHT);
    assert_eq!(reach(), Ok(HandshakeKind::Resumed));

    clock.advance(Duration::from_secs(1));

    let refused = reach().unwrap_err();
    assert!(refused.to_string().contains("Expired"), "{refused}");
}

#[test]
fn the_time_that_a_chain_has_left_is_that_of_the_first_certificate_to_end() {
    let (ca, upstream) = (TestCa::new("mesh"), mesh(&TestCa::new("mesh")));
    let der = |shape: fn(&mut rcgen::CertificateParams)| ca.shaped(&[THEM], shape).chain[0].clone();
    let (long, short, ended) = (der(|_| {}), der(ends_tomorrow), der(has_ended));
    let junk = CertificateDer::from(b"junk".to_vec());
    let left = |chain: &[CertificateDer<'static>]| upstream.note_accepted(chain);
    let whole = left(std::slice::from_ref(&long)).unwrap();

    assert!(whole > TO_MIDNIGHT);
    assert_eq!(left(std::slice::from_ref(&short)), Some(TO_MIDNIGHT));
    assert_eq!(left(&[long.clone(), short]), Some(TO_MIDNIGHT));
    assert_eq!(left(&[long, ended, junk.clone()]), Some(whole));
    assert_eq!(left(&[junk]), Some(Duration::ZERO));
    assert_eq!(left(&[]), None);
}

/// What a fetched list says of endpoints holds from its arrival on: for handshakes, and for what is kept.
#[tokio::test(start_paused = true)]
async fn a_fetched_list_decides_from_its_arrival_on() {
    let (boards, _, fetch) = boards();
    let ca = TestCa::new("mesh");
    let (good, bad) = (ca.leaf(&["api.internal"]), ca.leaf(&["api.internal"]));
    let url = "http://pki.example/mesh.crl";
    let revocation = RevocationPlan {
        lists: vec![CrlPlan {
            origin: Origin::of("pools.appointments.tls.crl"),
            source: CrlSource::Url(url.into()),
        }],
        ..RevocationPlan::default()
    };
    let peer = UpstreamPeer::Https {
        server_name: Some("api.internal".to_owned()),
        ca: Some(ca.anchors()),
    };
    let plan = IdentityPlan {
        upstreams: vec![UpstreamTlsPlan {
            revocation: Some(revocation),
            ..upstream_plan(peer)
        }],
        ..IdentityPlan::default()
    };
    let upstream = of(&compile(&plan, None, &boards).unwrap().0);
    let reach = |leaf: &TestLeaf| reach(&upstream, None, server_config(leaf, None, &["h2"]));
    let before = upstream.generation_key();
    assert_eq!(
        reach(&good).unwrap_err(),
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus)
    );

    fetch.answer_bytes(url, list(&ca, &[&bad.chain[0]]));
    tokio::select! {
        () = boards.crls.keep_fresh(&*fetch) => {}
        () = async { while upstream.generation_key() == before { tokio::task::yield_now().await } } => {}
    }

    assert!(reach(&good).is_ok());
    assert_eq!(
        reach(&bad).unwrap_err(),
        Error::InvalidCertificate(CertificateError::Revoked)
    );
}
