use std::time::Duration;

use portcullis_model::IssuerId;
use proptest::prelude::*;

use super::super::entry::DenySource;
use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

const NOW: u64 = 1_000;

fn entry(kind: DenyKind, value: &str, within: Option<&str>, until: Option<u64>) -> DenyEntry {
    DenyEntry {
        name: DenyName::parse(kind, value, within.map(Arc::from)).unwrap(),
        until: until.map(at),
        reason: None,
        source: DenySource::File {
            file: "deny.yaml".into(),
            line: 1,
            column: 3,
        },
    }
}

fn index(entries: Vec<DenyEntry>) -> DenyIndex {
    DenyIndex::new(entries, at(0))
}

fn names(issuer: &str, sub: &str) -> TokenNames {
    TokenNames {
        issuer: IssuerId::new(issuer),
        jti: Some(Arc::from("t1")),
        sub: Some(Arc::from(sub)),
        sid: Some(Arc::from("s1")),
        spiffe: None,
    }
}

fn workload(text: &str) -> SpiffeId {
    SpiffeId::new(text).unwrap()
}

#[test]
fn each_name_of_a_token_is_looked_at_and_no_other() {
    for (kind, value) in [
        (DenyKind::Jti, "t1"),
        (DenyKind::Sub, "alice"),
        (DenyKind::Sid, "s1"),
    ] {
        let index = index(vec![entry(kind, value, None, None)]);

        let found = index.denies_token(&names("corp", "alice"), at(NOW)).unwrap();
        assert_eq!(found.name.kind(), kind);
        // The same text as another kind names something else.
        for other in DenyKind::ALL.into_iter().take(3).filter(|other| *other != kind) {
            let index = DenyIndex::new(vec![entry(other, value, None, None)], at(0));
            assert!(index.denies_token(&names("corp", "alice"), at(NOW)).is_none());
        }
    }
}

#[test]
fn an_entry_within_an_issuer_leaves_its_namesake_elsewhere_alone() {
    let index = index(vec![entry(DenyKind::Sub, "alice", Some("corp"), None)]);

    assert!(index.denies_token(&names("corp", "alice"), at(NOW)).is_some());
    assert!(index.denies_token(&names("partners", "alice"), at(NOW)).is_none());
    assert!(index.denies_token(&names("corp", "bob"), at(NOW)).is_none());
}

#[test]
fn an_entry_denies_until_its_end_and_not_at_it() {
    let index = index(vec![entry(DenyKind::Sub, "alice", None, Some(NOW))]);

    assert!(index.denies_token(&names("corp", "alice"), at(NOW - 1)).is_some());
    assert!(index.denies_token(&names("corp", "alice"), at(NOW)).is_none());
}

#[test]
fn an_ended_entry_does_not_hide_one_that_holds() {
    let index = index(vec![
        entry(DenyKind::Sub, "alice", None, Some(NOW - 1)),
        entry(DenyKind::Sub, "alice", Some("corp"), None),
    ]);

    assert!(index.denies_token(&names("corp", "alice"), at(NOW)).is_some());
}

#[test]
fn of_two_entries_with_one_name_the_longer_holds_in_either_order() {
    let short = entry(DenyKind::Jti, "t1", None, Some(NOW));
    let long = entry(DenyKind::Jti, "t1", None, Some(NOW + 10));
    let forever = entry(DenyKind::Jti, "t1", None, None);
    for (entries, longest) in [
        (vec![short.clone(), long.clone()], long.until),
        (vec![long.clone(), short.clone()], long.until),
        (vec![forever.clone(), long.clone()], None),
        (vec![short, forever], None),
    ] {
        let index = index(entries);

        assert_eq!(index.entries().len(), 1);
        assert_eq!(index.entries()[0].until, longest);
    }
}

/// A clock that was set ahead by mistake when the list was read.
#[test]
fn an_entry_that_had_ended_when_it_was_read_holds_once_the_clock_is_right() {
    let index = DenyIndex::new(vec![entry(DenyKind::Sub, "alice", None, Some(NOW))], at(NOW + 1));
    let names = names("corp", "alice");

    assert!(index.denies_token(&names, at(NOW + 1)).is_none());
    assert!(index.denies_token(&names, at(NOW - 1)).is_some());
}

#[test]
fn wildcards_mean_what_they_mean_in_a_spiffe_rule() {
    for (name, denied, spared) in [
        ("spiffe://a.example/x", vec!["/x"], vec!["/x/y", "/y"]),
        (
            "spiffe://a.example/x/*",
            vec!["/x/y", "/x/z"],
            vec!["/x", "/x/y/z", "/y/x"],
        ),
        (
            "spiffe://a.example/x/**",
            vec!["/x/y", "/x/y/z"],
            vec!["/x", "/xx/y", "/y"],
        ),
        ("spiffe://a.example/*", vec!["/x"], vec!["/x/y"]),
        ("spiffe://a.example/**", vec!["/x", "/x/y"], vec![]),
    ] {
        let index = index(vec![entry(DenyKind::Spiffe, name, None, None)]);
        let asks = |domain: &str, path: &str| {
            index
                .denies_workload(&workload(&format!("spiffe://{domain}{path}")), at(NOW))
                .is_some()
        };

        for path in denied {
            assert!(asks("a.example", path), "{name} {path}");
            assert!(!asks("b.example", path), "{name} {path} elsewhere");
        }
        for path in spared {
            assert!(!asks("a.example", path), "{name} {path}");
        }
    }
}

#[test]
fn a_serial_number_within_a_trust_is_of_that_trust_alone() {
    let index = index(vec![
        entry(DenyKind::Serial, "0A:0B", Some("partners"), None),
        entry(DenyKind::Serial, "ff", None, None),
    ]);

    assert!(index.denies_serial("a0b", "partners", at(NOW)).is_some());
    assert!(index.denies_serial("a0b", "mesh", at(NOW)).is_none());
    assert!(index.denies_serial("ff", "mesh", at(NOW)).is_some());
    assert!(index.denies_serial("", "mesh", at(NOW)).is_none());
}

#[test]
fn every_entry_is_found_by_its_own_name() {
    let entries = vec![
        entry(DenyKind::Jti, "t1", None, None),
        entry(DenyKind::Sub, "alice", Some("corp"), None),
        entry(DenyKind::Serial, "0f", Some("mesh"), None),
        entry(DenyKind::Spiffe, "spiffe://a.example/x/*", None, None),
    ];
    let index = index(entries.clone());

    for entry in &entries {
        assert_eq!(index.find(&entry.name), Some(entry));
    }
    let missing = DenyName::parse(DenyKind::Sub, "alice", None).unwrap();
    assert_eq!(index.find(&missing), None);
}

#[test]
fn entries_that_hold_are_counted_by_kind() {
    let index = index(vec![
        entry(DenyKind::Sub, "a", None, None),
        entry(DenyKind::Sub, "a", Some("corp"), None),
        entry(DenyKind::Sub, "b", None, Some(NOW)),
        entry(DenyKind::Spiffe, "spiffe://a.example/x", None, None),
        entry(DenyKind::Spiffe, "spiffe://a.example/x/**", None, None),
        entry(DenyKind::Spiffe, "spiffe://b.example/x", None, None),
    ]);

    let counts = |now| DenyKind::ALL.map(|kind| index.count(at(now)).of(kind));
    assert_eq!(counts(NOW - 1), [0, 3, 0, 0, 3]);
    assert_eq!(counts(NOW), [0, 2, 0, 0, 3]);
}

/// The oracle: every entry is looked at, one after the other, as the documentation says it.
fn naive_token(entries: &[DenyEntry], token: &TokenNames, now: SystemTime) -> bool {
    entries.iter().any(|entry| {
        let claim = match entry.name.kind() {
            DenyKind::Jti => &token.jti,
            DenyKind::Sub => &token.sub,
            DenyKind::Sid => &token.sid,
            DenyKind::Serial => return false,
            DenyKind::Spiffe => {
                return token
                    .spiffe
                    .as_ref()
                    .is_some_and(|id| naive_workload(entry, id, now));
            }
        };
        let is_within = entry
            .name
            .within()
            .is_none_or(|within| **within == *token.issuer.as_str());
        entry.until.is_none_or(|until| now < until) && is_within && claim.as_ref() == Some(entry.name.value())
    })
}

fn naive_workload(entry: &DenyEntry, id: &SpiffeId, now: SystemTime) -> bool {
    let (id, value) = (id.to_string(), entry.name.value());
    let matches = if let Some(above) = value.strip_suffix("**") {
        id.strip_prefix(above).is_some_and(|below| !below.is_empty())
    } else if let Some(above) = value.strip_suffix('*') {
        id.strip_prefix(above)
            .is_some_and(|below| !below.is_empty() && !below.contains('/'))
    } else {
        id == **value
    };
    matches && entry.until.is_none_or(|until| now < until)
}

fn short() -> impl Strategy<Value = String> {
    "[ab]{1,2}"
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]", 1..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn any_entry() -> impl Strategy<Value = DenyEntry> {
    let until = prop::option::of(0..20_u64);
    let token = (
        prop::sample::select(vec![DenyKind::Jti, DenyKind::Sub, DenyKind::Sid]),
        short(),
        prop::option::of("[cd]"),
        until.clone(),
    )
        .prop_map(|(kind, value, within, until)| entry(kind, &value, within.as_deref(), until));
    let serial = ("[0-3]{1,2}", prop::option::of("[cd]"), until.clone())
        .prop_map(|(value, within, until)| entry(DenyKind::Serial, &value, within.as_deref(), until));
    let spiffe = (
        prop::option::of(path()),
        prop::sample::select(vec!["", "/*", "/**"]),
        "[ab]",
        until,
    )
        .prop_filter_map("a domain alone", |(path, wildcard, domain, until)| {
            let path = path.unwrap_or_default();
            let text = format!("spiffe://{domain}{path}{wildcard}");
            (!path.is_empty() || !wildcard.is_empty()).then(|| entry(DenyKind::Spiffe, &text, None, until))
        });
    prop_oneof![token, serial, spiffe]
}

proptest! {
    /// Whatever the list and whoever is asked about, the index answers as a look at every entry would.
    #[test]
    fn the_index_agrees_with_a_naive_scan(
        entries in prop::collection::vec(any_entry(), 0..24),
        (jti, sub, sid) in (prop::option::of(short()), short(), prop::option::of(short())),
        issuer in "[cd]",
        serial in "[0-3]{1,2}",
        (domain, path) in ("[ab]", path()),
        (built, now) in (0..20_u64, 0..20_u64),
    ) {
        let now = at(now);
        let index = DenyIndex::new(entries.clone(), at(built));
        let id = workload(&format!("spiffe://{domain}{path}"));
        let shared = |text: Option<String>| text.map(Arc::from);
        let token = TokenNames {
            issuer: IssuerId::new(issuer.as_str()),
            jti: shared(jti),
            sub: shared(Some(sub)),
            sid: shared(sid),
            spiffe: Some(id.clone()),
        };

        let found = index.denies_token(&token, now);
        prop_assert_eq!(found.is_some(), naive_token(&entries, &token, now));
        if let Some(found) = found {
            prop_assert!(naive_token(std::slice::from_ref(found), &token, now));
        }

        let by_id = entries
            .iter()
            .filter(|entry| entry.name.kind() == DenyKind::Spiffe)
            .any(|entry| naive_workload(entry, &id, now));
        prop_assert_eq!(index.denies_workload(&id, now).is_some(), by_id);

        let wanted = serial.trim_start_matches('0');
        let wanted = if wanted.is_empty() { "0" } else { wanted };
        let by_serial = entries.iter().any(|entry| {
            entry.name.kind() == DenyKind::Serial
                && **entry.name.value() == *wanted
                && entry.name.within().is_none_or(|within| **within == *issuer)
                && entry.until.is_none_or(|until| now < until)
        });
        prop_assert_eq!(index.denies_serial(wanted, &issuer, now).is_some(), by_serial);
    }
}
