use super::*;

fn read(text: &str) -> (Option<Node>, Problems) {
    let mut problems = Problems::new();
    let node = parse(text, &"test.yaml".into(), &mut problems).unwrap_or_else(|stop| {
        problems.push(*stop);
        None
    });
    (node, problems)
}

#[test]
fn values_keep_their_line_and_column() {
    let (node, problems) = read("a:\n  b: [1, two]\n");

    assert!(problems.is_empty());
    let NodeKind::Mapping(entries) = node.unwrap().kind else {
        panic!("not a mapping")
    };
    let NodeKind::Mapping(inner) = &entries[0].value.kind else {
        panic!("not a mapping")
    };
    let NodeKind::Sequence(items) = &inner[0].value.kind else {
        panic!("not a list")
    };
    assert_eq!((items[1].place.line, items[1].place.column), (2, 10));
}

#[test]
fn every_duplicate_key_is_reported() {
    let (_, problems) = read("a: 1\na: 2\nb: { c: 1, c: 2 }\n");

    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.origin.path.to_string())
        .collect();
    assert_eq!(paths, ["a", "b.c"]);
}

#[test]
fn aliases_that_expand_without_end_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let previous = level - 1;
        let refs = vec![format!("*a{previous}"); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }

    let (node, problems) = read(&text);

    assert!(node.is_none());
    assert!(problems.iter().any(|problem| problem.code == "too-large"));
}

#[test]
fn nesting_without_end_is_refused() {
    let (node, problems) = read(&"[".repeat(10_000));

    assert!(node.is_none());
    assert!(problems.has_errors());
}

#[test]
fn a_list_gives_its_items_away_one_by_one() {
    let (mut items, mut problems) = (Vec::new(), Problems::new());

    let is_there = each_item(
        "- a\n- { b: 1 }\n",
        &"list.yaml".into(),
        &mut problems,
        |index, node, _| {
            items.push((index, node.place.line, node.to_json()));
            Ok(())
        },
    );

    assert!(is_there.unwrap() && problems.is_empty());
    assert_eq!(
        items,
        [
            (0, 1, serde_json::json!("a")),
            (1, 2, serde_json::json!({ "b": 1 }))
        ]
    );
}

#[test]
fn what_is_no_list_and_what_is_too_much_for_an_item_is_said() {
    let read = |text: &str| {
        let mut problems = Problems::new();
        let read = each_item(text, &"list.yaml".into(), &mut problems, |_, _, _| Ok(()));
        match read {
            Ok(true) => problems.iter().next().map_or("fine", |problem| problem.code),
            Ok(false) => "nothing",
            Err(stop) => stop.code,
        }
    };

    assert_eq!(read("- a: 1\n- b\n"), "fine");
    assert_eq!(read("[]"), "fine");
    assert_eq!(read("# nothing but a comment\n"), "nothing");
    assert_eq!(read("a: 1"), "wrong-type");
    assert_eq!(read("just a text"), "wrong-type");
    assert_eq!(read("- a: 1\n  a: 2\n"), "duplicate-key");
    assert_eq!(read("[]\n---\n[]"), "yaml-documents");
    assert_eq!(read(&format!("- [{}]", "1, ".repeat(300))), "too-large");
    assert_eq!(read("- [1, 2"), "yaml-syntax");
    // Aliases count for every item that they are in.
    let bomb = format!("- &a [{}]\n- [*a, *a, *a]\n", "1, ".repeat(100));
    assert_eq!(read(&bomb), "too-large");
}

#[test]
fn a_key_that_stands_twice_among_many_is_found() {
    let mut text = String::new();
    for number in 0..20 {
        text.push_str(&format!("k{number}: 1\n"));
    }
    text.push_str("k19: 2\nk0: 2\n");

    let (_, problems) = read(&text);

    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.origin.path.to_string())
        .collect();
    assert_eq!(paths, ["k19", "k0"]);
}

#[test]
fn garbage_is_a_problem_and_never_a_panic() {
    for text in [
        "a: b: c",
        "- a\nb",
        "*a",
        "a: 'x",
        "[1, 2",
        "{a: 1",
        "? [a]\n: b",
        "a: 1\n---\nb: 2",
        "!!str a",
    ] {
        let (_, problems) = read(text);
        assert!(problems.has_errors(), "{text:?} was accepted");
    }
    for text in [
        "\u{0}",
        "\t- x",
        "&a *a",
        "%YAML 9\n---\n",
        "\u{feff}a: 1",
        "|",
        ">",
        "? ",
        "- - - -",
    ] {
        let _ = read(text);
    }
}

#[test]
fn plain_scalars_follow_the_core_schema_and_quoted_ones_are_text() {
    let (node, _) = read("[1, -2, 1.5, true, ~, \"1\", 1.2.3, 18446744073709551615]");

    let value = node.unwrap().to_json();
    assert_eq!(
        value,
        serde_json::json!([1, -2, 1.5, true, null, "1", "1.2.3", u64::MAX])
    );
}
