//! Places that certificates name: how many, and for how long.

use super::*;
use crate::mtls::MAX_LISTS;
use crate::mtls::crl::points::{MAX_POINTS, POINT_KEPT};
use crate::mtls::crl::samples::pem;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const POINTS: &str = "distribution-points";

fn place(number: usize) -> String {
    format!("http://pki.example/{number}.crl")
}

impl Scene {
    fn fetches_of_points(&self, outcome: &str) -> u64 {
        let fetches = &self.boards.metrics.crls.fetches;
        fetches.with_label_values(&[POINTS, outcome]).get()
    }

    fn places(&self) -> Vec<String> {
        let points = lock(&self.boards.crls.points);
        points.keys().map(|url| url.to_string()).collect()
    }
}

#[tokio::test]
async fn places_that_certificates_name_are_bounded_and_share_one_name() {
    let scene = Scene::set();
    let board = &scene.boards.crls;

    let wanted: Vec<_> = (0..MAX_POINTS + 3)
        .map(|number| board.point(&format!("http://pki.example/{number}.crl")))
        .collect();

    assert_eq!(wanted.iter().flatten().count(), MAX_POINTS);
    assert!(
        board.point("http://pki.example/0.crl").is_some(),
        "a known one is found"
    );
    let fetches = &scene.boards.metrics.crls.fetches;
    let too_many = fetches.with_label_values(&["distribution-points", "too-many"]);
    assert_eq!(too_many.get(), 3);
    let names = board
        .status()
        .into_iter()
        .filter(|status| status.name == "distribution-points");
    assert_eq!(names.count(), MAX_POINTS);
}

#[tokio::test]
async fn places_that_nobody_names_any_more_make_room() {
    let scene = Scene::set();
    let board = &scene.boards.crls;
    for number in 0..MAX_POINTS {
        board.point(&format!("http://pki.example/{number}.crl"));
    }
    scene
        .fetch
        .answer_bytes("http://pki.example/0.crl", list(&scene.ca, &[]));
    scene.round().await;
    assert!(board.points_generation() > 0);

    scene.clock.advance(POINT_KEPT);
    board.point("http://pki.example/1.crl");
    assert!(board.point("http://pki.example/new.crl").is_some());

    let kept: Vec<_> = lock(&board.points).keys().map(|url| url.to_string()).collect();
    assert_eq!(
        kept,
        ["0", "1", "new"].map(|name| format!("http://pki.example/{name}.crl")),
        "one whose list is current, one that was just asked for, and the new one"
    );
}

#[tokio::test]
async fn a_place_that_nobody_names_any_more_goes_with_time_alone_and_whoever_rested_on_it_is_asked_again() {
    let scene = Scene::set();
    let board = &scene.boards.crls;
    board.point("http://pki.example/gone.crl");
    scene.round().await;
    let (generation, beats) = (board.points_generation(), scene.boards.pulse.count());

    scene.round_after(POINT_KEPT - Duration::from_secs(1)).await;
    assert_eq!(scene.places().len(), 1);
    assert_eq!(
        (board.points_generation(), scene.boards.pulse.count()),
        (generation, beats)
    );

    scene.round_after(Duration::from_secs(1)).await;
    assert_eq!(scene.places(), [""; 0]);
    assert!(board.status().iter().all(|status| status.name != POINTS));
    assert!(board.points_generation() > generation);
    assert_eq!(scene.boards.pulse.count(), beats + 1);
}

#[tokio::test]
async fn a_list_that_ended_and_that_nobody_looks_up_any_more_goes() {
    let scene = Scene::set();
    let board = &scene.boards.crls;
    let (unused, used) = (place(0), place(1));
    for url in [&unused, &used] {
        scene.fetch.answer_bytes(url, list(&scene.ca, &[]));
        board.point(url);
    }
    scene.round().await;
    // Past 1 February, when both end.
    scene.round_after(20 * DAY).await;
    assert_eq!(
        scene.places().len(),
        2,
        "whoever rested on them has a day to ask again"
    );

    board.point(&used);
    scene.round_after(DAY).await;

    assert_eq!(scene.places(), [used]);
}

/// Whoever rests on a list looks it up again once it has changed; before that, a verdict that is remembered may be all
/// that needs it.
#[tokio::test]
async fn without_room_the_list_goes_that_nobody_looked_up_since_it_changed() {
    let scene = Scene::set();
    let board = &scene.boards.crls;
    let name_all_but_the_first = || {
        for number in 1..MAX_POINTS {
            board.point(&place(number));
        }
    };
    board.point(&place(0));
    name_all_but_the_first();
    scene.fetch.answer_bytes(&place(0), list(&scene.ca, &[]));
    scene.round().await;
    scene.round_after(2 * DAY).await;
    name_all_but_the_first();
    assert!(
        board.point("http://pki.example/new.crl").is_none(),
        "it has not changed since it was named"
    );

    let newer = shaped(&scene.ca, &[], |params| {
        params.this_update = date_time_ymd(2027, 1, 9)
    });
    scene.fetch.answer_bytes(&place(0), newer);
    scene.round_after(QUARTER).await;
    scene.round_after(DAY).await;
    name_all_but_the_first();

    assert!(board.point("http://pki.example/new.crl").is_some());
    assert!(board.point("http://pki.example/another.crl").is_none());
    assert!(!scene.places().contains(&place(0)));
}

/// RFC 5280 section 4.2.1.13: at such a place is one list.
#[tokio::test]
async fn the_places_of_one_certificate_hold_no_more_lists_together_than_a_trust() {
    const PLACE: &str = "http://pki.example/many.crl";
    let scene = Scene::set();
    let lists = vec![list(&scene.ca, &[]); MAX_LISTS];
    scene.fetch.answer_bytes(PLACE, pem(&lists));
    let slot = scene.boards.crls.point(PLACE).unwrap();

    scene.round().await;

    assert_eq!(slot.len(), MAX_LISTS / 4);
    assert_eq!(scene.fetches_of_points("too-many"), 1);
}
