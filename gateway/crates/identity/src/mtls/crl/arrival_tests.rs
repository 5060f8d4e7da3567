//! What becomes of the lists that arrive, one by one.

use std::pin::pin;

use futures_util::FutureExt;
use portcullis_model::{Origin, TrustId};
use rcgen::{RevokedCertParams, SerialNumber};

use super::*;
use crate::compile::compile;
use crate::mtls::MAX_LISTS;
use crate::mtls::crl::samples::pem;
use crate::plan::{CrlPlan, IdentityPlan, RevocationPlan, TrustAnchors, TrustPlan};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WEB: &str = "spiffe://corp.example/web";

impl Scene {
    /// The lists that this authority signed; from then on it is known of them.
    fn proven(&self, ca: &TestCa) -> Vec<Arc<RevocationList>> {
        let key = key_of(ca);
        let mut held = self.held();
        held.retain(|list| list.is_signed_by(&key));
        held
    }
}

/// A list of a day of January 2027 that ends on another one.
fn of_days(ca: &TestCa, revoked: &[&rustls_pki_types::CertificateDer<'_>], from: u8, to: u8) -> Bytes {
    shaped(ca, revoked, |params| {
        params.this_update = date_time_ymd(2027, 1, from);
        params.next_update = date_time_ymd(2027, 1, to);
    })
}

/// Lists travel over plain HTTP (RFC 5280 section 8): whoever stands on the way may wait until the present one is over.
#[tokio::test]
async fn a_list_past_its_end_gives_way_to_a_newer_one_of_its_signer_only() {
    let scene = Scene::set();
    let leaf = scene.ca.leaf(&[WEB]).chain;
    scene.serve(&of_days(&scene.ca, &[&leaf[0]], 9, 16));
    scene.round().await;
    assert_eq!(scene.proven(&scene.ca).len(), 1);

    let (forged, older) = (
        of_days(&TestCa::new("ca"), &[], 16, 30),
        of_days(&scene.ca, &[], 8, 30),
    );
    for pushing in [&forged, &older] {
        scene.serve(pushing);
        scene.round_after(2 * DAY).await;
        let proven = scene.proven(&scene.ca);
        assert_eq!(
            proven.iter().map(|list| list.len()).collect::<Vec<_>>(),
            [1],
            "the revocation stands"
        );
    }
    assert_eq!(scene.fetches("older"), 1);

    scene.serve(&of_days(&scene.ca, &[], 17, 30));
    scene.round_after(DAY).await;
    assert_eq!(
        scene.held().iter().map(|list| list.len()).collect::<Vec<_>>(),
        [0]
    );
}

#[tokio::test]
async fn forged_lists_find_room_only_beside_those_that_proved_themselves() {
    let scene = Scene::set();
    scene.serve(&list(&scene.ca, &[]));
    scene.round().await;
    assert_eq!(scene.proven(&scene.ca).len(), 1);

    let forger = TestCa::new("ca");
    scene.serve(&pem(&vec![of_days(&forger, &[], 9, 30); MAX_LISTS]));
    scene.round_after(QUARTER).await;

    assert_eq!(scene.held().len(), MAX_LISTS);
    assert_eq!(scene.proven(&scene.ca).len(), 1);
    assert_eq!(scene.fetches("too-many"), 1);
    let status = scene.boards.crls.status().remove(0);
    assert!(status.last_fault.unwrap().contains("room"));
}

#[tokio::test]
async fn of_several_lists_that_arrive_only_the_older_one_is_left_out() {
    let scene = Scene::set();
    let other = TestCa::new("other");
    let leaf = scene.ca.leaf(&[WEB]).chain;
    scene.serve(&pem(&[
        of_days(&scene.ca, &[&leaf[0]], 9, 30),
        of_days(&other, &[], 9, 30),
    ]));
    scene.round().await;
    assert_eq!(
        (scene.proven(&scene.ca).len(), scene.proven(&other).len()),
        (1, 1)
    );

    let stranger = other.leaf(&[WEB]).chain;
    scene.serve(&pem(&[
        of_days(&scene.ca, &[], 8, 30),
        of_days(&other, &[&stranger[0]], 10, 30),
    ]));
    scene.round_after(QUARTER).await;

    for ca in [&scene.ca, &other] {
        let proven = scene.proven(ca);
        assert_eq!(proven.iter().map(|list| list.len()).collect::<Vec<_>>(), [1]);
    }
    assert_eq!(scene.fetches("changed"), 2);
}

#[tokio::test]
async fn a_list_that_arrives_again_among_others_is_the_one_that_is_held() {
    let scene = Scene::set();
    let same = list(&scene.ca, &[]);
    scene.serve(&same);
    scene.round().await;
    let held = scene.proven(&scene.ca).remove(0);

    scene.serve(&pem(&[list(&TestCa::new("other"), &[]), same]));
    scene.round_after(QUARTER).await;

    assert_eq!(scene.held().len(), 2);
    assert!(scene.held().iter().any(|list| Arc::ptr_eq(list, &held)));
}

#[tokio::test]
async fn every_list_of_a_document_that_ends_begins_a_new_generation() {
    let scene = Scene::set();
    let board = &scene.boards.crls;
    let other = TestCa::new("other");
    scene.serve(&pem(&[
        of_days(&scene.ca, &[], 9, 16),
        of_days(&other, &[], 9, 18),
    ]));
    scene.round().await;
    let mut before = (scene.slot.generation(), scene.boards.pulse.count());

    for _ in 0..2 {
        scene.clock.advance(2 * DAY);
        board.look_at_the_clock();
        let after = (scene.slot.generation(), scene.boards.pulse.count());
        assert!(after.0 > before.0);
        assert_eq!(after.1, before.1 + 1);
        before = after;
    }

    scene.clock.advance(2 * DAY);
    board.look_at_the_clock();
    assert_eq!((scene.slot.generation(), scene.boards.pulse.count()), before);
}

#[tokio::test]
async fn a_long_list_is_read_aside_and_an_equal_one_not_at_all() {
    let scene = Scene::set();
    let board = &scene.boards.crls;
    scene.serve(&shaped(&scene.ca, &[], |params| {
        params.revoked_certs = (1..=20_000_u64)
            .map(|number| RevokedCertParams {
                serial_number: SerialNumber::from(number),
                revocation_time: date_time_ymd(2026, 12, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
    }));

    let mut loaded = pin!(board.load(board.take_due().remove(0), &*scene.fetch));
    assert!(
        loaded.as_mut().now_or_never().is_none(),
        "whoever shares the thread goes on meanwhile"
    );
    loaded.await;
    assert_eq!(scene.held()[0].len(), 20_000);

    scene.clock.advance(QUARTER);
    let again = board.load(board.take_due().remove(0), &*scene.fetch);
    assert!(again.now_or_never().is_some(), "there is nothing to read");
    assert_eq!(scene.fetches("unchanged"), 1);
}

#[tokio::test]
async fn a_fetch_that_panics_is_one_that_failed_and_ends_no_other() {
    const PANICS: &str = "http://pki.example/panic";
    let scene = Scene::set();
    let panics = scene.boards.crls.slot(&CrlSource::Url(PANICS.into())).unwrap();
    scene.serve(&list(&scene.ca, &[]));

    for pause in [Duration::ZERO, QUARTER] {
        scene.round_after(pause).await;
    }

    assert_eq!((scene.fetches("changed"), scene.fetches("unchanged")), (1, 1));
    assert!(panics.last_fault().unwrap().contains("panicked"));
    let fetches = &scene.boards.metrics.crls.fetches;
    assert_eq!(fetches.with_label_values(&[PANICS, "failed"]).get(), 2);
}

#[tokio::test]
async fn the_lists_of_a_trust_are_bounded_together_wherever_they_come_from() {
    const FIRST: &str = "http://pki.example/first.crl";
    const SECOND: &str = "http://pki.example/second.crl";
    let scene = Scene::set();
    let lists = [FIRST, SECOND].map(|url| CrlPlan {
        origin: Origin::of("trust.mesh.crl"),
        source: CrlSource::Url(url.into()),
    });
    let trust = TrustPlan {
        id: TrustId::new("mesh"),
        origin: Origin::of("trust.mesh"),
        anchors: TrustAnchors::Pem(scene.ca.anchors()),
        revocation: Some(RevocationPlan {
            lists: lists.to_vec(),
            ..RevocationPlan::default()
        }),
    };
    let plan = IdentityPlan {
        trust: vec![trust],
        ..IdentityPlan::default()
    };
    let _compiled = compile(&plan, None, &scene.boards).unwrap();
    for url in [FIRST, SECOND, URL] {
        let lists: Vec<_> = (0..MAX_LISTS).map(|_| list(&scene.ca, &[])).collect();
        scene.fetch.answer_bytes(url, pem(&lists));
    }

    scene.round().await;

    let slot = |url: &str| scene.boards.crls.slot(&CrlSource::Url(url.into())).unwrap();
    assert_eq!(
        (slot(FIRST).len(), slot(SECOND).len()),
        (MAX_LISTS - 1, 1),
        "each has room for one at least"
    );
    assert_eq!(scene.held().len(), MAX_LISTS, "one that shares with nobody");
}
