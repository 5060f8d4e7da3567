use std::time::Duration;

use portcullis_model::IssuerId;

use super::super::name::{DenyKind, DenyName};
use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn entry(sub: &str, until: Option<u64>) -> DenyEntry {
    DenyEntry {
        name: DenyName::parse(DenyKind::Sub, sub, None).unwrap(),
        until: until.map(at),
        reason: Some("left".into()),
        source: DenySource::File {
            file: "deny.yaml".into(),
            line: 7,
            column: 3,
        },
    }
}

fn list() -> (DenyList, Arc<Pulse>) {
    let pulse = Arc::new(Pulse::new());
    (DenyList::new(Arc::clone(&pulse)), pulse)
}

fn denies(list: &DenyList, sub: &str, now: u64) -> bool {
    let names = TokenNames {
        issuer: IssuerId::new("corp"),
        jti: None,
        sub: Some(sub.into()),
        sid: None,
        spiffe: None,
    };
    list.denies_token(&names, at(now)).is_some()
}

#[test]
fn an_empty_list_denies_nobody() {
    let (list, _) = list();

    assert!(!denies(&list, "alice", 1));
}

#[test]
fn a_published_list_replaces_the_one_before_and_leaves_the_admin_port_s() {
    let (list, pulse) = list();
    list.add(entry("carol", None), at(1));

    list.publish(Side::File, DenyIndex::new(vec![entry("alice", None)], at(1)));
    assert!(denies(&list, "alice", 1));
    list.publish(Side::File, DenyIndex::new(vec![entry("bob", None)], at(1)));

    assert!(!denies(&list, "alice", 1));
    assert!(denies(&list, "bob", 1));
    assert!(denies(&list, "carol", 1));
    assert_eq!(pulse.count(), 3);
}

#[test]
fn a_list_that_became_empty_denies_nobody() {
    let (list, _) = list();
    list.publish(Side::File, DenyIndex::new(vec![entry("alice", None)], at(1)));

    list.publish(Side::File, DenyIndex::default());

    assert!(!denies(&list, "alice", 1));
}

#[test]
fn adding_the_same_name_again_replaces_its_entry() {
    let (list, _) = list();
    let Added::New(id) = list.add(entry("alice", Some(10)), at(1)) else {
        panic!("not new")
    };

    assert_eq!(list.add(entry("alice", None), at(1)), Added::Replaced(id));

    assert_eq!(list.entries(Side::Admin).entries().len(), 1);
    assert!(denies(&list, "alice", 11));
}

#[test]
fn a_removed_entry_denies_nobody_and_its_neighbour_stays() {
    let (list, _) = list();
    let Added::New(id) = list.add(entry("alice", None), at(1)) else {
        panic!("not new")
    };
    list.add(entry("bob", None), at(1));

    assert!(matches!(list.remove(&id, at(1)), Removed::Gone(gone) if &**gone.name.value() == "alice"));

    assert!(!denies(&list, "alice", 1));
    assert!(denies(&list, "bob", 1));
    assert_eq!(list.remove(&id, at(1)), Removed::Unknown);
}

#[test]
fn an_entry_of_the_file_is_not_the_admin_port_s_to_remove() {
    let (list, _) = list();
    list.publish(Side::File, DenyIndex::new(vec![entry("alice", None)], at(1)));

    assert_eq!(
        list.remove(&entry("alice", None).name.id(), at(1)),
        Removed::Unknown
    );

    assert!(denies(&list, "alice", 1));
}

#[test]
fn a_full_list_takes_no_more_until_some_have_ended() {
    let (list, _) = list();
    let full = (0..MAX_ADMIN_ENTRIES).map(|number| entry(&number.to_string(), Some(10)));
    list.publish(Side::Admin, DenyIndex::new(full.collect(), at(1)));

    assert_eq!(list.add(entry("alice", None), at(1)), Added::Full);
    assert!(!denies(&list, "alice", 1));
    // Naming somebody anew who is named already needs no room.
    assert!(!matches!(list.add(entry("7", Some(20)), at(1)), Added::Full));
    assert!(matches!(list.add(entry("alice", None), at(10)), Added::New(_)));
    // One gave way to it, and no more than that.
    assert_eq!(list.entries(Side::Admin).entries().len(), MAX_ADMIN_ENTRIES);
}

/// A clock that jumps a year ahead and comes back must not let in whom it passed over.
#[test]
fn a_clock_that_was_set_ahead_and_back_lifts_nothing() {
    let (list, pulse) = list();
    let mono = Instant::now();
    list.add(entry("carol", Some(10)), at(1));
    list.publish(Side::File, DenyIndex::new(vec![entry("alice", Some(10))], at(1)));

    list.follow_clock(at(1_000_000_000), mono);
    list.add(entry("dave", None), at(1_000_000_000));
    list.publish(
        Side::File,
        DenyIndex::new(vec![entry("alice", Some(10))], at(1_000_000_000)),
    );
    assert!(!denies(&list, "alice", 1_000_000_000) && !denies(&list, "carol", 1_000_000_000));
    let (beats, certificates) = (pulse.count(), list.certificates());
    list.follow_clock(at(1_000_000_000), mono);
    assert_eq!((pulse.count(), list.certificates()), (beats, certificates));

    list.follow_clock(at(2), mono);

    assert!(denies(&list, "alice", 2) && denies(&list, "carol", 2));
    // What lives, and connections to endpoints, were let through in between.
    assert_eq!(
        (pulse.count(), list.certificates()),
        (beats + 1, certificates + 1)
    );
    list.follow_clock(at(2), mono);
    assert_eq!(pulse.count(), beats + 1);
}

#[test]
fn an_entry_of_the_admin_port_is_forgotten_a_day_after_its_end_and_the_file_s_never() {
    let (list, _) = list();
    let mono = Instant::now();
    list.add(entry("carol", Some(10)), at(1));
    list.add(entry("dave", None), at(1));
    list.publish(Side::File, DenyIndex::new(vec![entry("alice", Some(10))], at(1)));

    // Whatever the clock says that can be set, a day has to pass.
    assert!(!list.follow_clock(at(1_000_000_000), mono));
    assert!(!list.follow_clock(at(1_000_000_000), mono + KEPT - Duration::from_secs(1)));
    assert_eq!(list.entries(Side::Admin).entries().len(), 2);
    assert!(list.follow_clock(at(1_000_000_000), mono + KEPT));

    assert_eq!(list.entries(Side::Admin).entries().len(), 1);
    assert!(denies(&list, "dave", 1_000_000_000));
    assert_eq!(list.entries(Side::File).entries().len(), 1);
}

#[test]
fn an_entry_that_holds_again_in_between_is_kept_for_another_day() {
    let (list, _) = list();
    let mono = Instant::now();
    list.add(entry("carol", Some(10)), at(1));

    list.follow_clock(at(11), mono);
    list.follow_clock(at(2), mono + KEPT / 2);
    assert!(!list.follow_clock(at(11), mono + KEPT));

    assert!(denies(&list, "carol", 2));
}

#[test]
fn hits_and_entries_are_counted() {
    let (list, _) = list();
    list.publish(Side::File, DenyIndex::new(vec![entry("alice", None)], at(1)));
    denies(&list, "alice", 1);
    denies(&list, "bob", 1);

    let count = |source: &str| {
        let labels = ["sub", source];
        list.metrics().entries.with_label_values(&labels).get()
    };
    assert_eq!((count("file"), count("admin")), (1, 0));
    assert_eq!(list.metrics().hits.with_label_values(&["sub"]).get(), 1);
}

#[test]
fn an_operator_reads_which_entry_denies() {
    let (list, _) = list();

    list.add(entry("alice", None), at(1));

    let admin = list.entries(Side::Admin);
    let id = entry("alice", None).name.id();
    assert_eq!(
        entry("alice", None).to_string(),
        "denied by sub \"alice\" (deny.yaml:7:3 sub): left"
    );
    assert_eq!(
        admin.entries()[0].to_string(),
        format!("denied by sub \"alice\" (the admin port's deny list, entry {id}): left")
    );
}

#[test]
fn only_a_change_of_denied_certificates_asks_for_new_handshakes() {
    let (list, _) = list();
    let named = |kind, value| DenyEntry {
        name: DenyName::parse(kind, value, None).unwrap(),
        ..entry("alice", None)
    };
    let (serial, workload) = (
        named(DenyKind::Serial, "0a"),
        named(DenyKind::Spiffe, "spiffe://a.example/x"),
    );
    let publish = |entries: Vec<DenyEntry>| {
        list.publish(Side::File, DenyIndex::new(entries, at(1)));
        list.certificates()
    };

    assert_eq!(publish(vec![entry("alice", None)]), 0);
    assert_eq!(publish(vec![serial.clone(), workload.clone()]), 1);
    assert_eq!(
        publish(vec![workload.clone(), entry("bob", None), serial.clone()]),
        1
    );
    assert_eq!(publish(vec![serial]), 2);
    assert_eq!(publish(Vec::new()), 3);
}

/// An entry that had ended let its endpoint in; extending it must reach the connections made then.
#[test]
fn an_entry_that_is_extended_asks_for_new_handshakes() {
    let (list, _) = list();
    let until = |end| DenyEntry {
        name: DenyName::parse(DenyKind::Serial, "0a", None).unwrap(),
        ..entry("alice", end)
    };
    list.publish(Side::File, DenyIndex::new(vec![until(Some(10))], at(1)));
    let before = list.certificates();

    list.publish(Side::File, DenyIndex::new(vec![until(Some(10))], at(11)));
    assert_eq!(list.certificates(), before);
    list.publish(Side::File, DenyIndex::new(vec![until(Some(20))], at(11)));

    assert_eq!(list.certificates(), before + 1);
}
