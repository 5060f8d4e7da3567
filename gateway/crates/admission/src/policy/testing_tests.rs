use super::*;
use crate::policy::test_facts::{example_data, example_modules};

fn run(text: &str) -> TestReport {
    let modules = [RegoModule {
        file: "p_test.rego".into(),
        text: text.into(),
    }];
    run_tests(
        &Origin::of("policies.p"),
        &modules,
        &serde_json::json!({ "limit": 3 }),
    )
    .unwrap()
}

#[test]
fn every_test_of_the_example_policies_passes() {
    let report = run_tests(&Origin::of("policies"), &example_modules(true), &example_data()).unwrap();

    assert!(report.is_success(), "{report}");
    assert!(
        report.tests.len() >= 35,
        "only {} tests were found",
        report.tests.len()
    );
}

#[test]
fn every_example_policy_has_a_test_file_with_an_allow_and_a_deny_case() {
    let modules = example_modules(true);
    for module in modules
        .iter()
        .filter(|module| !module.file.ends_with("_test.rego"))
    {
        let name = module.file.replace(".rego", "_test.rego");
        let tests = modules
            .iter()
            .find(|module| *module.file == *name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert!(
            tests.text.contains("not ") || tests.text.contains("\"allow\": false"),
            "{name} has no deny case"
        );
        assert!(
            tests.text.contains(".allow with") || tests.text.contains("\"allow\": true"),
            "{name} has no allow case"
        );
    }
}

#[test]
fn true_passes_false_and_undefined_fail_and_an_error_is_an_error() {
    let report = run("package p_test\n\
         test_true if data.limit == 3\n\
         test_false := false\n\
         test_undefined if input.nothing\n\
         test_error if to_number(\"x\") == 1\n\
         todo_test_later if false\n\
         helper if false\n");

    let verdicts: Vec<_> = report
        .tests
        .iter()
        .map(|test| (test.line, &test.verdict))
        .collect();

    assert_eq!(verdicts[0], (2, &TestVerdict::Pass));
    assert_eq!(verdicts[1], (3, &TestVerdict::Fail));
    assert_eq!(verdicts[2], (4, &TestVerdict::Fail));
    assert!(
        matches!(verdicts[3], (5, TestVerdict::Error(error)) if error.starts_with("p_test.rego:5:")),
        "{report}"
    );
    assert_eq!(verdicts[4], (6, &TestVerdict::Skipped));
    assert_eq!(verdicts.len(), 5);
    assert!(!report.is_success());
}

#[test]
fn the_report_names_the_place_and_counts() {
    let report = run("package p_test\ntest_a := true\ntest_b := false\n");

    let text = report.to_string();

    assert!(text.contains("p_test.rego:3: data.p_test.test_b: FAIL"), "{text}");
    assert!(text.contains("PASS: 1/2") && text.contains("FAIL: 1/2"), "{text}");
}

#[test]
fn a_test_with_cases_passes_when_every_case_is_true() {
    let report = run("package p_test\n\
         test_all[n] := n < data.limit if some n in [1, 2]\n\
         test_some[n] := n < data.limit if some n in [1, 4]\n\
         test_none[n] := true if some n in []\n");

    let passed: Vec<_> = report
        .tests
        .iter()
        .map(|test| test.verdict == TestVerdict::Pass)
        .collect();

    assert_eq!(passed, [true, false, false]);
}

#[test]
fn a_second_test_of_the_same_name_is_not_hidden_by_the_first() {
    let report = run("package p_test\ntest_a if true\ntest_a if false\n");

    assert_eq!(report.tests.len(), 2);
    assert!(matches!(report.tests[1].verdict, TestVerdict::Error(_)));
}

#[test]
fn a_report_without_tests_is_no_success() {
    assert!(!run("package p_test\nallow := true\n").is_success());
}

#[test]
fn a_test_that_hangs_ends() {
    let report = run("package p_test\n\
         test_slow if { some c in numbers.range(1, 5000); some d in numbers.range(1, 5000); d + c == 0 }\n\
         test_fast if true\n");

    assert!(
        matches!(report.tests[0].verdict, TestVerdict::Error(_)),
        "{report}"
    );
    assert_eq!(report.tests[1].verdict, TestVerdict::Pass);
}

#[test]
fn data_functions_and_input_can_be_replaced_and_prints_are_kept() {
    let report = run("package p_test\n\
         f(x) := x + 1\n\
         allow if { f(1) == 5; data.users[input.name]; print(\"asked for\", input.name) }\n\
         test_allow if { allow with input as {\"name\": \"a\"} with data.users as {\"a\": true} with f as 5 }\n");

    assert!(report.is_success(), "{report}");
    assert!(
        report.tests[0].prints[0].contains("asked for a"),
        "{:?}",
        report.tests[0].prints
    );
}
