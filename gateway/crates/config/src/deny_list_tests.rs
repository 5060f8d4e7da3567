use std::path::Path;
use std::time::{Duration, SystemTime};

use portcullis_identity::plan::{
    Algorithm, ClaimPaths, IssuerKind, IssuerPlan, KeySource, KeyTimes, TokenTypes, TrustAnchors, TrustPlan,
};
use portcullis_model::{IssuerId, TrustId};
use proptest::prelude::*;

use super::*;

fn plan(path: &Path) -> DenyListPlan {
    DenyListPlan {
        path: Arc::from(path),
        origin: Origin {
            path: "revocation.deny_list".into(),
            file: "portcullis.yaml".into(),
            line: 3,
            column: 15,
        },
    }
}

fn read(text: &str) -> Result<Vec<DenyEntry>, Refused> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deny.yaml");
    std::fs::write(&path, text).unwrap();
    read_deny_list(&plan(&path))
}

/// Every problem as `line:column code`.
fn problems(text: &str) -> Vec<String> {
    let refused = read(text).unwrap_err();
    let place = |problem: &Problem| {
        let Origin { line, column, .. } = problem.origin;
        format!("{line}:{column} {}", problem.code)
    };
    refused.problems.iter().map(place).collect()
}

#[test]
fn every_kind_of_entry_is_read_with_its_place() {
    let text = r#"
# who left
- jti: 6f1c
- sub: alice
  issuer: corp
  until: 2026-12-31T00:00:00Z
  reason: left the company
- { sid: 08a5 }
- serial: "0A:1B"
  trust: partners
- spiffe: spiffe://corp.example/ns/*
"#;

    let entries = read(text).unwrap();

    let shown: Vec<String> = entries.iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(
        shown,
        [
            "jti \"6f1c\"",
            "sub \"alice\" of corp",
            "sid \"08a5\"",
            "serial \"a1b\" of partners",
            "spiffe \"spiffe://corp.example/ns/*\""
        ]
    );
    let alice = &entries[1];
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_675_200);
    assert_eq!(alice.until, Some(end));
    assert_eq!(alice.reason.as_deref(), Some("left the company"));
    assert_eq!((alice.origin().line, alice.origin().column), (4, 3));
}

#[test]
fn json_is_read_as_well() {
    let entries = read(r#"[{ "sub": "alice", "reason": "left" }, { "serial": "0a" }]"#).unwrap();

    assert_eq!(entries.len(), 2);
}

#[test]
fn a_name_that_looks_like_a_number_or_a_word_of_yaml_is_taken_as_it_is_written() {
    let entries = read("- jti: 0123e5\n- sub: true\n- serial: 00010\n- sub: ${x}\n").unwrap();

    let values: Vec<&str> = entries.iter().map(|entry| &**entry.name.value()).collect();
    assert_eq!(values, ["0123e5", "true", "10", "${x}"]);
}

#[test]
fn every_problem_is_told_with_its_line_and_column() {
    let text = "\
- sbu: alice
- sub: alice
  sub: bob
- sub: [alice]
- sub: alice
  jti: a
- reason: nothing named
- serial: xyz
- spiffe: spiffe://corp.example
- sub: a
  until: tomorrow
- sub: a
  trust: partners
- serial: 0a
  issuer: corp
- spiffe: spiffe://corp.example/a
  issuer: corp
- just a text
- sub: \"\"
- sub: ~
";

    assert_eq!(
        problems(text),
        [
            "1:3 unknown-key",
            "3:3 duplicate-key",
            "4:3 wrong-type",
            "5:3 conflicting-keys",
            "7:3 missing-key",
            "8:11 bad-value",
            "9:11 bad-value",
            "11:10 bad-value",
            "13:10 conflicting-keys",
            "15:11 conflicting-keys",
            "17:11 conflicting-keys",
            "18:3 wrong-type",
            "19:8 bad-value",
            "20:3 wrong-type",
        ]
    );
}

#[test]
fn a_reason_is_one_short_line() {
    assert!(read(&format!("- {{ sub: a, reason: {} }}\n", "r".repeat(200))).is_ok());
    assert_eq!(
        problems(&format!("- {{ sub: a, reason: {} }}", "r".repeat(201))),
        ["1:21 out-of-range"]
    );
    assert_eq!(
        problems("- { sub: a, reason: \"one\\nand another\" }"),
        ["1:21 bad-value"]
    );
}

/// Somebody who writes the file in place truncates it first; that moment must not give everybody back.
#[test]
fn an_empty_file_is_refused_and_an_empty_list_is_not() {
    assert_eq!(problems(""), ["0:0 empty-file"]);
    assert_eq!(problems("# nobody\n"), ["0:0 empty-file"]);
    assert_eq!(read("[]").unwrap(), []);
}

/// What was written of it so far is a good list as well, with other names in it, and shorter.
#[test]
fn a_list_that_ends_within_a_line_is_refused_and_one_in_brackets_need_not_end_it() {
    for (text, place) in [
        ("- sub: alice\n- sub: bo", "2:1 unfinished-file"),
        ("- { sub: alice }\n- { sub: bob }", "2:1 unfinished-file"),
        ("# who left\n---\n- jti: a]", "3:1 unfinished-file"),
    ] {
        assert_eq!(problems(text), [place], "{text}");
        assert!(read(&format!("{text}\n")).is_ok(), "{text}");
        assert!(read(&format!("{text}\r\n")).is_ok(), "{text}");
    }
    for text in [
        "[]",
        "# nobody\n[]",
        "---\n[{ sub: alice }]",
        "[{ \"sub\": \"alice\" },\n {\"sub\": \"bob\"}]",
    ] {
        assert!(read(text).is_ok(), "{text}");
    }
    // The admin port's entries are written whole and renamed, by us.
    assert!(read_kept_entries(r#"[{ "sub": "alice" }]"#).is_ok());
}

#[test]
fn what_is_not_a_list_is_refused() {
    assert_eq!(problems("sub: alice"), ["1:1 wrong-type"]);
    assert_eq!(problems("- [sub, alice"), ["1:3 yaml-syntax"]);
    assert_eq!(problems("[]\n---\n[]"), ["3:1 yaml-documents"]);
}

#[test]
fn a_missing_file_is_a_problem_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();

    let refused = read_deny_list(&plan(&folder.path().join("deny.yaml"))).unwrap_err();

    let problem = refused.problems.iter().next().unwrap();
    assert_eq!((problem.code, problem.origin.line), ("unreadable-file", 3));
    assert_eq!(&*problem.origin.file, "portcullis.yaml");
}

#[test]
fn a_file_of_nothing_but_problems_is_not_read_to_its_end() {
    let told = problems(&"- nonsense\n".repeat(10_000));

    assert_eq!(told.len(), MOST_PROBLEMS + 1);
    assert_eq!(told.last().unwrap(), "100:3 too-many-problems");
}

#[test]
fn a_wrong_file_comes_with_its_text_for_the_snippets() {
    let refused = read("- sub: [a]\n").unwrap_err();

    let name = refused.problems.iter().next().unwrap().origin.file.clone();
    assert_eq!(refused.sources.text(&name), Some("- sub: [a]\n"));
}

#[test]
fn entries_share_what_they_have_in_common() {
    let entries =
        read("- { sub: a, issuer: corp, reason: left }\n- { sub: b, issuer: corp, reason: left }\n");

    let entries = entries.unwrap();
    let (first, second) = (&entries[0], &entries[1]);
    assert!(Arc::ptr_eq(
        first.reason.as_ref().unwrap(),
        second.reason.as_ref().unwrap()
    ));
    assert!(Arc::ptr_eq(
        first.name.within().unwrap(),
        second.name.within().unwrap()
    ));
}

#[test]
fn one_entry_is_read_from_json_by_the_same_rules() {
    let entry = read_deny_entry(r#"{ "serial": "0A:0B", "trust": "partners" }"#).unwrap();
    assert_eq!(entry.name.to_string(), "serial \"a0b\" of partners");
    assert!(matches!(entry.source, DenySource::Admin { id } if *id == *entry.name.id()));

    let same = read_deny_entry("\n{\"trust\":\"partners\",\"\\u0073erial\":\"a0b\"}\n").unwrap();
    assert_eq!(same.name, entry.name);
    for (text, code) in [
        ("", "empty-file"),
        (" \n", "empty-file"),
        ("{}", "missing-key"),
        (r#"{ "sub": "a", "sub": "b" }"#, "duplicate-key"),
        (r#"{ "sub": "a", "\u0073ub": "b" }"#, "duplicate-key"),
        (r#"{ "sub": "a", "for": "b" }"#, "unknown-key"),
        (r#"{ "sub": "a", "until": "soon" }"#, "bad-value"),
    ] {
        let problems = read_deny_entry(text).unwrap_err();
        assert_eq!(problems.iter().next().unwrap().code, code, "{text}");
    }
}

/// Whatever YAML or a kinder reader makes of it, it could be another name than the one that was meant.
#[test]
fn one_entry_is_json_with_texts_and_nothing_else() {
    for (text, code) in [
        ("{", "json-syntax"),
        ("sub: x", "json-syntax"),
        ("{ sub: x }", "json-syntax"),
        ("{ 'sub': 'x' }", "json-syntax"),
        (r#"{ "sub": x }"#, "json-syntax"),
        (r#"{ "sub": "x", }"#, "json-syntax"),
        (r#"{ "sub": "x" } {}"#, "json-syntax"),
        ("{ \"sub\": \"x\" } # why", "json-syntax"),
        ("- { \"sub\": \"x\" }", "json-syntax"),
        (r#"{ "serial": 0x12 }"#, "wrong-type"),
        (r#"{ "serial": 12e3 }"#, "wrong-type"),
        (r#"{ "jti": 4711 }"#, "wrong-type"),
        (r#"{ "sub": null }"#, "wrong-type"),
        (r#"{ "sub": true }"#, "wrong-type"),
        (r#"{ "sub": ["x"] }"#, "wrong-type"),
        (r#"{ "sub": { "a": "x" } }"#, "wrong-type"),
        (r#"{ "sub": "x", "until": null }"#, "wrong-type"),
        ("[]", "wrong-type"),
        (r#""x""#, "wrong-type"),
        ("null", "wrong-type"),
    ] {
        let problems = read_deny_entry(text).unwrap_err();
        let problem = problems.iter().next().unwrap();
        assert_eq!(problem.code, code, "{text}: {problem:?}");
        assert!(
            problem.hint.as_deref().unwrap().contains("values are texts"),
            "{text}"
        );
    }
}

#[test]
fn what_is_meant_within_something_unknown_is_warned_of_once() {
    let entries = read(
        "- { sub: a, issuer: crop }\n- { sub: b, issuer: crop }\n- { serial: 1, trust: partners }\n- { sub: c }\n",
    )
    .unwrap();
    let trust = TrustPlan {
        id: TrustId::new("mesh"),
        ..plan_of("partners")
    };
    let identity = IdentityPlan {
        trust: vec![trust],
        ..IdentityPlan::default()
    };

    let warnings = unknown_names(&entries, &identity);

    let told: Vec<(u32, &str)> = warnings
        .iter()
        .map(|problem| (problem.origin.line, problem.code))
        .collect();
    assert_eq!(told, [(1, "unknown-reference"), (3, "unknown-reference")]);
    assert!(!warnings.has_errors());
    let known = IdentityPlan {
        trust: vec![plan_of("partners")],
        ..IdentityPlan::default()
    };
    assert_eq!(unknown_names(&entries[2..], &known), Problems::new());
}

#[test]
fn a_principal_as_the_log_writes_it_is_warned_of_and_a_subject_with_a_colon_is_not() {
    let entries = read(
        "- sub: corp:alice\n- { sub: \"corp:bob\", issuer: corp }\n- sub: github:carol\n- sub: corp\n- jti: corp:1\n",
    )
    .unwrap();
    let identity = IdentityPlan {
        issuers: vec![issuer_of("corp")],
        ..IdentityPlan::default()
    };

    let warnings = unknown_names(&entries, &identity);

    let told: Vec<(u32, &str)> = warnings
        .iter()
        .map(|problem| (problem.origin.line, problem.code))
        .collect();
    assert_eq!(told, [(1, "principal-as-sub"), (2, "principal-as-sub")]);
    assert!(
        warnings.to_string().contains("write `--sub alice --issuer corp`"),
        "{warnings}"
    );
}

fn issuer_of(name: &str) -> IssuerPlan {
    IssuerPlan {
        id: IssuerId::from(name),
        origin: Origin::default(),
        kind: IssuerKind::Url(Arc::from("https://login.example.com")),
        keys: KeySource::Discovery,
        key_times: KeyTimes::default(),
        audiences: vec![Arc::from("api")],
        algorithms: Algorithm::DEFAULT.to_vec(),
        token_types: TokenTypes::access_tokens(),
        clock_skew: Duration::from_secs(30),
        max_lifetime: Duration::from_secs(3600),
        required: Vec::new(),
        claims: ClaimPaths::default(),
    }
}

fn plan_of(trust: &str) -> TrustPlan {
    TrustPlan {
        id: TrustId::new(trust),
        origin: Origin::default(),
        anchors: TrustAnchors::Pem(Vec::new()),
        revocation: None,
    }
}

/// What both readers make of a text; of problems only whether there are some.
fn both(text: &str) -> (Option<Vec<DenyEntry>>, Option<Vec<DenyEntry>>) {
    let (file, mut problems) = (Arc::from("deny.yaml"), Problems::new());
    let slow = read_yaml(text, &file, &mut problems).filter(|_| !problems.has_errors());
    (lines::read(text, &file), slow)
}

#[test]
fn the_plain_form_is_read_line_by_line_and_means_the_same() {
    for text in [
        "- sub: alice\n",
        "# who left\n\n- sub: alice\n  # since May\n  reason: left: no, was let go\n\n- jti: 6f1c",
        "- serial: \"0A:1B\"\n  trust: partners\n- spiffe: spiffe://corp.example/ns/**\n",
        "- sub: 'alice smith'\n  issuer: corp\n  until: 2026-12-31T00:00:00Z\n",
        "- sub: auth0|5f7c8ec7c33c6c004bbafe82\n- sid: /a#b\n- jti: a,b[c]{d}\n",
    ] {
        let (fast, slow) = both(text);
        assert_eq!(fast.is_some(), !text.contains(": no"), "{text}");
        assert!(
            slow.is_some() == fast.is_some() && (fast.is_none() || fast == slow),
            "{text}"
        );
    }
}

#[test]
fn what_has_another_form_or_is_wrong_is_left_to_the_whole_reader() {
    for text in [
        "",
        "[]",
        "# nobody",
        "---\n- sub: a\n",
        "- {sub: a}\n",
        "-  sub: a\n",
        "- sub:  a\n",
        "- sub: a # b\n",
        "- sub: \"a\\tb\"\n",
        "- sub: &x a\n",
        "- sub: !!str a\n",
        "- sub: |\n    a\n",
        "- sub: a\n   b\n",
        "- sub: null\n",
        "- sub: ~\n",
        "- sub: \"\"\n",
        "- sub: a:\n",
        "- sub: a\r\n",
        "- sub: a\n  sub: b\n",
        "- sub: a\n  trust: b\n",
        "- sub: a\n  until: soon\n",
        "- sbu: a\n",
        "  sub: a\n",
        "- reason: a\n",
    ] {
        assert_eq!(lines::read(text, &Arc::from("deny.yaml")), None, "{text:?}");
    }
}

/// Values as they come, and as they should never come.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,4}",
        "[a-zA-Z0-9:/@.#'\"|>&*!%~ \\-]{0,6}",
        Just("spiffe://corp.example/ns/*".to_owned()),
        Just("2026-12-31T00:00:00Z".to_owned()),
        Just("\"quoted text\"".to_owned()),
        Just("null".to_owned()),
    ]
}

fn written_entry() -> impl Strategy<Value = String> {
    let keys = [
        "jti", "sub", "sid", "serial", "spiffe", "issuer", "trust", "until", "reason", "other",
    ];
    let pair = (prop::sample::select(keys.to_vec()), value());
    let rest = prop::sample::select(vec!["", "", "", "\n", "# c\n", "  # c\n", " "]);
    (prop::collection::vec(pair, 1..4), rest).prop_map(|(pairs, rest)| {
        let lines = pairs.iter().enumerate().map(|(index, (key, value))| {
            let indent = if index == 0 { "- " } else { "  " };
            format!("{indent}{key}: {value}\n")
        });
        format!("{}{rest}", lines.collect::<String>())
    })
}

proptest! {
    /// Whatever the line reader accepts, the whole reader reads as the very same entries.
    #[test]
    fn the_line_reader_never_reads_anything_else_than_the_whole_reader(
        text in prop::collection::vec(written_entry(), 1..4),
    ) {
        let (fast, slow) = both(&text.concat());
        if fast.is_some() {
            prop_assert_eq!(fast, slow);
        }
    }

    /// And a plain list is read by it, whatever the names.
    #[test]
    fn a_plain_list_is_read_line_by_line(subs in prop::collection::vec("[a-zA-Z0-9][a-zA-Z0-9:/@._|+=-]{0,30}[a-z0-9]", 1..20)) {
        let text: String = subs.iter().map(|sub| format!("- sub: {sub}\n  reason: left\n")).collect();
        let (fast, slow) = both(&text);
        prop_assert!(fast.is_some());
        prop_assert_eq!(fast, slow);
    }
}
