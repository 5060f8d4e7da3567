use std::collections::BTreeSet;

use super::*;

/// Evaluates an expression with our guards on.
fn eval(expression: &str) -> Result<Value, String> {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    register(&mut engine).unwrap();
    engine
        .add_policy("p.rego".into(), format!("package p\nx := {expression}\n"))
        .map_err(|error| error.to_string())?;
    engine
        .eval_rule("data.p.x".into())
        .map_err(|error| error.to_string())
}

fn json(text: &str) -> Value {
    Value::from_json_str(text).unwrap()
}

#[test]
fn every_name_is_listed_once() {
    let names = PLAIN.iter().map(|(name, _)| *name);
    let names = names
        .chain(CHECKED.iter().map(|(name, ..)| *name))
        .chain(OWN.iter().map(|(name, _)| *name));
    let names: Vec<_> = names.chain(REFUSED.iter().map(|(name, _)| *name)).collect();

    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn every_built_in_that_the_check_knows_exists_in_the_engine() {
    for (name, arguments) in PLAIN
        .iter()
        .copied()
        .chain(CHECKED.iter().map(|(name, count, _)| (*name, *count)))
    {
        let values = vec!["null"; arguments].join(", ");
        let outcome = eval(&format!("{name}({values})"));
        let message = outcome.err().unwrap_or_default();
        assert!(!message.contains("could not find function"), "{name}: {message}");
        assert!(
            !message.contains(" arguments\n") && !message.contains("expects 1 argument\n"),
            "{name}: {message}"
        );
    }
}

#[test]
fn a_built_in_that_was_refused_is_refused_by_name() {
    assert!(matches!(find("opa.runtime"), Builtin::Refused(_)));
    assert!(matches!(find("http.send"), Builtin::Refused(_)));
    assert_eq!(
        find("count"),
        Builtin::Known {
            arguments: 1,
            takes_output: true
        }
    );
    assert_eq!(
        find("sprintf"),
        Builtin::Known {
            arguments: 2,
            takes_output: false
        }
    );
    assert_eq!(find("no.such"), Builtin::Unknown);
}

#[test]
fn counting_nothing_and_overlaps_is_as_in_opa() {
    assert_eq!(eval(r#"strings.count("aaa", "")"#).unwrap(), json("4"));
    assert_eq!(eval(r#"strings.count("aaa", "aa")"#).unwrap(), json("1"));
    assert_eq!(eval(r#"strings.count("äbä", "ä")"#).unwrap(), json("2"));
    assert!(
        eval(r#"strings.count(1, "a")"#)
            .unwrap_err()
            .contains("argument 1 is not a string")
    );
}

#[test]
fn subsets_of_objects_sets_and_lists_are_as_in_opa() {
    for (expression, expected) in [
        ("object.subset([], [])", true),
        ("object.subset([1, 2], [])", true),
        ("object.subset([1, 2, 3], [2, 3])", true),
        ("object.subset([1, 2, 3], [1, 3])", false),
        ("object.subset([1, 2], [1, 2, 3])", false),
        (r#"object.subset({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}})"#, true),
        (r#"object.subset({"a": {"b": 1}}, {"a": {"b": 2}})"#, false),
        ("object.subset({1, 2}, {1})", true),
        ("object.subset({1}, {1, 2})", false),
        ("object.subset([3, 1, 2], {1, 3})", true),
        ("object.subset([3], {1, 3})", false),
    ] {
        assert_eq!(eval(expression).unwrap(), Value::Bool(expected), "{expression}");
    }
    assert!(eval(r#"object.subset({}, [])"#).is_err());
}

#[test]
fn numbers_in_bounds_are_listed_and_others_refused() {
    assert_eq!(eval("numbers.range(1, 3)").unwrap(), json("[1, 2, 3]"));
    assert_eq!(eval("numbers.range(3, 1)").unwrap(), json("[3, 2, 1]"));
    assert_eq!(eval("count(numbers.range(1, 10000))").unwrap(), json("10000"));
    assert_eq!(eval("numbers.range_step(0, 10, 5)").unwrap(), json("[0, 5, 10]"));
    for hostile in [
        "numbers.range(1, 30000000)",
        "numbers.range(1, 10001)",
        "numbers.range(-9223372036854775807, 9223372036854775807)",
        "numbers.range(1, 1e30)",
        "numbers.range(1, 1.5)",
        "numbers.range_step(-9223372036854775807, 9223372036854775807, 9223372036854775807)",
        "numbers.range_step(1, 30000000, 1)",
        "numbers.range_step(1, 3, 0)",
        "numbers.range_step(1, 3, -1)",
    ] {
        assert!(eval(hostile).is_err(), "{hostile}");
    }
}

#[test]
fn networks_in_bounds_are_expanded_and_others_refused() {
    assert_eq!(
        eval(r#"count(net.cidr_expand("10.0.0.0/30"))"#).unwrap(),
        json("4")
    );
    assert_eq!(
        eval(r#"count(net.cidr_expand("2001:db8::/120"))"#).unwrap(),
        json("256")
    );
    for hostile in ["10.0.0.0/9", "::/0", "2001:db8::/64", "x", "10.0.0.0/33"] {
        assert!(
            eval(&format!("net.cidr_expand(\"{hostile}\")")).is_err(),
            "{hostile}"
        );
    }
}

#[test]
fn formats_in_bounds_are_written_and_others_refused() {
    assert_eq!(
        eval(r#"sprintf("%s is %d of %v", ["a", 1, [2]])"#).unwrap(),
        json(r#""a is 1 of [2]""#)
    );
    assert_eq!(
        eval(r#"sprintf("100%% %5d", [7])"#).unwrap(),
        json(r#""100%     7""#)
    );
    for hostile in [
        "%1000000000d",
        "%01000000000d",
        "%.1000000000f",
        "%1000000000s",
        "%%%1000000000d",
    ] {
        assert!(
            eval(&format!("sprintf(\"{hostile}\", [1])")).is_err(),
            "{hostile}"
        );
    }
}

#[test]
fn shifts_in_bounds_are_done_and_others_refused() {
    assert_eq!(eval("bits.lsh(1, 10)").unwrap(), json("1024"));
    for hostile in [
        "bits.lsh(1, 40000000)",
        "bits.lsh(1, 1e18)",
        "bits.lsh(1, -40000000)",
    ] {
        assert!(eval(hostile).is_err(), "{hostile}");
    }
}

#[test]
fn times_are_read_with_ascii_layouts_only() {
    assert_eq!(
        eval(r#"time.parse_ns("2006-01-02", "1970-01-02")"#).unwrap(),
        json("86400000000000")
    );
    for hostile in [
        r#"time.parse_ns("ä", "ä")"#,
        r#"time.parse_ns("2006é01", "2006")"#,
        r#"time.parse_ns("2006", "é")"#,
    ] {
        assert!(eval(hostile).is_err(), "{hostile}");
    }
}

#[test]
fn glob_match_takes_delimiters_as_opa_does() {
    assert_eq!(
        eval(r#"glob.match("*.example.com", [], "a.example.com")"#).unwrap(),
        Value::Bool(true)
    );
    assert_eq!(
        eval(r#"glob.match("*.example.com", [], "a.b.example.com")"#).unwrap(),
        Value::Bool(false)
    );
    assert_eq!(
        eval(r#"glob.match("*", null, "a.b")"#).unwrap(),
        Value::Bool(true)
    );
    assert_eq!(
        eval(r#"glob.match("/a/*", ["/"], "/a/b/c")"#).unwrap(),
        Value::Bool(false)
    );
    assert!(eval(r#"glob.match("*", ["ab"], "a")"#).is_err());
    assert!(eval(r#"glob.match("*", "a", "a")"#).is_err());
    assert!(eval(r#"glob.match("[", [], "a")"#).is_err());
    assert_eq!(
        eval(r#"glob.quote_meta("*.github.com")"#).unwrap(),
        json(r#""\\*.github.com""#)
    );
}

/// Nothing that a request can put into an argument makes a built-in panic or run away.
#[test]
fn odd_arguments_give_an_error_or_a_value_and_do_it_soon() {
    let odd = [
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1e300",
        "9223372036854775807",
        "-9223372036854775808",
        "\"\"",
        "\"ä\"",
        "\"a\"",
        "\"%999d\"",
        "\"[\"",
        "\"(?P<\"",
        "\"2006-01-02\"",
        "\"10.0.0.0/8\"",
        "\"-1h\"",
        "[]",
        "[[]]",
        "[1, \"a\"]",
        "{}",
        "{\"a\": {\"a\": []}}",
        "set()",
        "{1}",
    ];
    let all = PLAIN
        .iter()
        .copied()
        .chain(CHECKED.iter().map(|(name, count, _)| (*name, *count)))
        .chain(OWN);
    for (name, arguments) in all.filter(|(_, arguments)| (1..=2).contains(arguments)) {
        for first in odd {
            for second in odd.iter().take(if arguments == 2 { odd.len() } else { 1 }) {
                let call = if arguments == 2 {
                    format!("{name}({first}, {second})")
                } else {
                    format!("{name}({first})")
                };
                let started = std::time::Instant::now();
                drop(eval_prepared(&call));
                assert!(
                    started.elapsed() < std::time::Duration::from_secs(2),
                    "{call}: {:?}",
                    started.elapsed()
                );
            }
        }
    }
}

thread_local! {
    static GUARDED: Engine = {
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        register(&mut engine).unwrap();
        engine
    };
}

fn eval_prepared(expression: &str) -> Option<Value> {
    let mut engine = GUARDED.with(Clone::clone);
    engine
        .add_policy("p.rego".into(), format!("package p\nx := {expression}\n"))
        .ok()?;
    engine.eval_rule("data.p.x".into()).ok()
}
