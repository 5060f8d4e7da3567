//! Keys agree exactly where the facts that are read agree.

use serde_json::json;

use super::*;
use crate::policy::memory::{FactPath, Step};

fn reads(paths: &[&[&str]]) -> ReadSet {
    ReadSet::new(paths.iter().map(|path| FactPath::of(path)))
}

fn key(document: &serde_json::Value, reads: &ReadSet) -> Vec<u8> {
    Key::of(document, reads).unwrap().as_bytes().to_vec()
}

#[test]
fn what_is_not_read_does_not_change_a_key_and_what_is_read_does() {
    let reads = reads(&[&["a", "b"], &["c"]]);
    let one = json!({"a": {"b": 1, "x": 1}, "c": [1, {"d": null}], "e": 1});
    let other = json!({"a": {"x": 2, "b": 1}, "c": [1, {"d": null}]});

    assert_eq!(key(&one, &reads), key(&other, &reads));
    for different in [
        json!({"a": {"b": 2, "x": 1}, "c": [1, {"d": null}]}),
        json!({"a": {"b": 1, "x": 1}, "c": [1, {"d": false}]}),
        json!({"a": {"b": 1, "x": 1}, "c": [1, {}]}),
        json!({"a": {"b": 1, "x": 1}}),
        json!({"c": [1, {"d": null}]}),
    ] {
        assert_ne!(key(&one, &reads), key(&different, &reads), "{different}");
    }
}

#[test]
fn no_two_values_look_the_same() {
    let values = [
        json!(null),
        json!(false),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(1.5),
        json!(""),
        json!("0"),
        json!("1"),
        json!([]),
        json!([[]]),
        json!([null]),
        json!([1, 2]),
        json!([12]),
        json!(["1", "2"]),
        json!(["12"]),
        json!(["1,2"]),
        json!({}),
        json!({"a": null}),
        json!({"a": {}}),
        json!({"a": []}),
        json!({"": "a"}),
        json!({"a": ""}),
        json!({"a": "b", "c": "d"}),
        json!({"a": "bc", "d": ""}),
        json!([["a"], "b"]),
        json!([["a", "b"]]),
        json!([[], ["a", "b"]]),
        json!("\u{0}"),
        json!("\u{a}"),
    ];
    let reads = reads(&[&["v"]]);

    for (position, one) in values.iter().enumerate() {
        for other in values.iter().skip(position + 1) {
            assert_ne!(
                key(&json!({"v": one}), &reads),
                key(&json!({"v": other}), &reads),
                "{one} {other}"
            );
        }
    }
}

#[test]
fn elements_are_read_one_by_one() {
    let mut second = FactPath::of(&["list"]);
    second.0.push(Step::Item(1));
    let reads = ReadSet::new([second]);

    let of = |list| key(&json!({ "list": list }), &reads);

    assert_eq!(of(json!(["a", "b"])), of(json!(["x", "b", "c"])));
    assert_ne!(of(json!(["a", "b"])), of(json!(["a", "c"])));
    assert_ne!(of(json!(["a", null])), of(json!(["a"])));
    assert_ne!(of(json!(["a", ["b"]])), of(json!(["a", "b"])));
}

#[test]
fn a_value_with_nothing_below_it_stands_for_itself() {
    let reads = reads(&[&["a", "b"]]);

    let of = |value| key(&json!({ "a": value }), &reads);

    let all = [
        of(json!(null)),
        of(json!(1)),
        of(json!("x")),
        of(json!("y")),
        of(json!([])),
        of(json!({})),
        of(json!({"b": null})),
    ];
    for (position, one) in all.iter().enumerate() {
        assert!(
            all.iter().skip(position + 1).all(|other| other != one),
            "{position}"
        );
    }
}

#[test]
fn a_key_that_does_not_fit_is_none() {
    let reads = reads(&[&["a"]]);

    assert!(Key::of(&json!({"a": "x".repeat(MAX_KEY - 16)}), &reads).is_some());
    assert!(Key::of(&json!({"a": "x".repeat(MAX_KEY)}), &reads).is_none());
    assert!(Key::of(&json!({"a": "x".repeat(1 << 17)}), &reads).is_none());
    assert!(Key::of(&json!({"a": "", "b": "x".repeat(MAX_KEY)}), &reads).is_some());
}
