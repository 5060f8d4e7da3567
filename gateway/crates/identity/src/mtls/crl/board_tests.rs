use std::sync::Arc;

use rcgen::date_time_ymd;

use super::super::list::RevocationList;
use super::super::samples::{list, shaped};
use super::*;
use crate::boards::Boards;
use crate::testing::{ScriptedFetch, TestCa, TestClock, boards};

#[path = "arrival_tests.rs"]
mod arrivals;
#[path = "point_tests.rs"]
mod points;

const URL: &str = "http://pki.example/ca.crl";

/// A board with one named list to fetch.
struct Scene {
    boards: Boards,
    clock: TestClock,
    fetch: Arc<ScriptedFetch>,
    slot: Arc<CrlSlot>,
    ca: TestCa,
}

impl Scene {
    fn set() -> Self {
        let (boards, clock, fetch) = boards();
        let slot = boards.crls.slot(&CrlSource::Url(URL.into())).unwrap();
        Self {
            boards,
            clock,
            fetch,
            slot,
            ca: TestCa::new("ca"),
        }
    }

    /// What the background does once a second, until nothing is under way.
    async fn round(&self) {
        let board = &self.boards.crls;
        board.look_at_the_clock();
        for slot in board.take_due() {
            board.load(slot, &*self.fetch).await;
        }
    }

    async fn round_after(&self, pause: Duration) {
        self.clock.advance(pause);
        self.round().await;
    }

    fn held(&self) -> Vec<Arc<RevocationList>> {
        self.slot
            .loaded()
            .map_or_else(Vec::new, |loaded| loaded.lists.clone())
    }

    fn serve(&self, list: &Bytes) {
        self.fetch.answer_bytes(URL, list.clone());
    }

    fn fetches(&self, outcome: &str) -> u64 {
        let fetches = &self.boards.metrics.crls.fetches;
        fetches.with_label_values(&[URL, outcome]).get()
    }
}

const SECOND: Duration = Duration::from_secs(1);
const QUARTER: Duration = Duration::from_secs(15 * 60);

#[tokio::test]
async fn a_list_is_fetched_at_once_and_again_before_it_ends() {
    let scene = Scene::set();
    scene.serve(&list(&scene.ca, &[]));

    scene.round().await;
    scene.round_after(SECOND).await;
    assert_eq!(scene.fetch.count(), 1, "once");
    assert_eq!(scene.held().len(), 1);

    scene.round_after(QUARTER).await;
    assert_eq!(scene.fetch.count(), 2);
    assert_eq!((scene.fetches("changed"), scene.fetches("unchanged")), (1, 1));
}

#[tokio::test]
async fn a_list_that_ends_soon_is_fetched_when_half_of_its_time_is_over() {
    let scene = Scene::set();
    // The present is 15 January 2027, 08:00.
    scene.serve(&shaped(&scene.ca, &[], |params| {
        params.next_update = date_time_ymd(2027, 1, 15) + Duration::from_secs(8 * 3600 + 60);
    }));

    scene.round().await;
    scene.round_after(Duration::from_secs(10)).await;
    assert_eq!(scene.fetch.count(), 1);
    scene.round_after(Duration::from_secs(15)).await;
    assert_eq!(scene.fetch.count(), 2);
}

#[tokio::test]
async fn a_changed_list_begins_a_new_generation_and_beats_and_an_equal_one_does_not() {
    let scene = Scene::set();
    scene.serve(&list(&scene.ca, &[]));
    scene.round().await;
    let (first, beats) = (scene.slot.generation(), scene.boards.pulse.count());
    assert!(first > 0 && beats == 1);

    scene.round_after(QUARTER).await;
    assert_eq!(
        (scene.slot.generation(), scene.boards.pulse.count()),
        (first, beats)
    );

    let leaf = scene.ca.leaf(&["spiffe://corp.example/web"]).chain;
    scene.serve(&list(&scene.ca, &[&leaf[0]]));
    scene.round_after(QUARTER).await;
    assert!(scene.slot.generation() > first);
    assert_eq!(scene.boards.pulse.count(), beats + 1);
    assert_eq!(scene.boards.crls.generation(), scene.slot.generation());
}

#[tokio::test]
async fn a_failing_fetch_keeps_the_list_and_is_tried_again_less_and_less_often() {
    let scene = Scene::set();
    scene.serve(&list(&scene.ca, &[]));
    scene.round().await;
    scene.fetch.fail(URL, FetchFault::Timeout);
    scene.round_after(QUARTER).await;
    let after_first = scene.fetch.count();

    for _ in 0..120 {
        scene.round_after(SECOND).await;
    }

    let tries = scene.fetch.count() - after_first;
    assert!((3..=7).contains(&tries), "{tries} tries in two minutes");
    assert_eq!(scene.held().len(), 1);
    let status = scene.boards.crls.status().remove(0);
    assert!(status.was_tried && status.last_fault.unwrap().contains("no answer in time"));
    scene.serve(&list(&scene.ca, &[]));
    scene.round_after(Duration::from_secs(60)).await;
    assert_eq!(scene.boards.crls.status().remove(0).last_fault, None);
}

#[tokio::test]
async fn what_is_no_list_replaces_none() {
    let scene = Scene::set();
    scene.serve(&list(&scene.ca, &[]));
    scene.round().await;

    scene.serve(&Bytes::from_static(b"<html>not here</html>"));
    scene.round_after(QUARTER).await;

    assert_eq!((scene.held().len(), scene.fetches("unusable")), (1, 1));
}

fn key_of(ca: &TestCa) -> Vec<u8> {
    let anchors = ca.anchors();
    let anchor = webpki::anchor_from_trusted_cert(&anchors[0]).unwrap();
    anchor.subject_public_key_info.to_vec()
}

/// Lists travel over plain HTTP (RFC 5280 section 8): whoever stands on the way may replay an older one.
#[tokio::test]
async fn an_older_list_never_replaces_a_newer_one_that_proved_itself() {
    let scene = Scene::set();
    let leaf = scene.ca.leaf(&["spiffe://corp.example/web"]).chain;
    let new = shaped(&scene.ca, &[&leaf[0]], |params| {
        params.this_update = date_time_ymd(2027, 1, 9)
    });
    scene.serve(&new);
    scene.round().await;
    assert!(scene.held()[0].is_signed_by(&key_of(&scene.ca)));

    scene.serve(&list(&scene.ca, &[]));
    scene.round_after(QUARTER).await;

    assert_eq!(scene.held()[0].len(), 1, "the revocation stands");
    assert_eq!(scene.fetches("older"), 1);
}

#[tokio::test]
async fn a_forged_list_does_not_push_out_one_that_proved_itself() {
    let scene = Scene::set();
    let forger = TestCa::new("ca");
    scene.serve(&list(&scene.ca, &[]));
    scene.round().await;
    assert!(scene.held()[0].is_signed_by(&key_of(&scene.ca)));

    for day in [9, 10, 11] {
        let forged = shaped(&forger, &[], |params| {
            params.this_update = date_time_ymd(2027, 1, day)
        });
        scene.serve(&forged);
        scene.round_after(QUARTER).await;
    }

    let held = scene.held();
    assert_eq!(held.len(), 2, "the honest one and the last forged one");
    assert!(held.iter().any(|list| list.is_signed_by(&key_of(&scene.ca))));
}

#[tokio::test]
async fn one_document_is_parsed_once_and_shared() {
    let scene = Scene::set();
    let source = super::super::samples::document(&list(&scene.ca, &[]));

    let one = scene.boards.crls.slot(&source).unwrap();
    let other = scene.boards.crls.slot(&source).unwrap();

    assert!(Arc::ptr_eq(&one, &other));
    assert!(one.generation() > 0);
}

#[tokio::test]
async fn gauges_say_how_old_a_list_is_and_go_with_it() {
    let scene = Scene::set();
    scene.serve(&list(&scene.ca, &[]));
    scene.round().await;
    scene.round().await;
    let metrics = &scene.boards.metrics.crls;

    let age = metrics.age.with_label_values(&[URL]).get();
    // From 1 January to 15 January 2027, 08:00.
    assert!((age - 1_238_400.0).abs() < 1.0, "{age}");
    assert_eq!(metrics.next_update.with_label_values(&[URL]).get(), 1_801_440_000);

    drop(scene.slot);
    scene.boards.crls.look_at_the_clock();
    assert!(metrics.age.remove_label_values(&[URL]).is_err(), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_hangs_keeps_no_other_waiting() {
    let scene = Scene::set();
    let board = Arc::clone(&scene.boards.crls);
    let quick = board
        .slot(&CrlSource::Url("http://quick.example/ca.crl".into()))
        .unwrap();
    struct Hanging(Bytes);
    #[async_trait]
    impl CrlFetch for Hanging {
        async fn fetch_list(&self, url: &str, _: NamedBy) -> Result<Bytes, FetchFault> {
            if url == URL {
                std::future::pending::<()>().await;
            }
            Ok(self.0.clone())
        }
    }
    let fetch = Hanging(list(&scene.ca, &[]));

    tokio::select! {
        () = board.keep_fresh(&fetch) => {}
        () = async { while quick.loaded().is_none() { tokio::task::yield_now().await } } => {}
    }

    assert!(scene.slot.loaded().is_none());
    assert!(!scene.slot.was_tried(), "it is still under way");
}
