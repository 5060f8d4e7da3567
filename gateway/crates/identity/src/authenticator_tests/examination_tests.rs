//! What `portcullis token` shows is what traffic would have said, check by check.

use super::*;
use crate::jwt::{CheckName, CheckOutcome, TokenExamination};
use crate::plan::{RequiredClaim, Wanted};

fn outcomes(examination: &TokenExamination, outcome: CheckOutcome) -> Vec<CheckName> {
    let checks = examination.checks.iter();
    checks
        .filter(|check| check.outcome == outcome)
        .map(|check| check.name)
        .collect()
}

#[test]
fn an_accepted_token_passes_every_check_in_order() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    let examined = setup.authenticator.examine(&key.sign(&claims()), now());

    assert_eq!(examined.verdict.unwrap().to_string(), "customers:alice");
    assert_eq!(examined.issuer.as_ref().unwrap().as_str(), "customers");
    let names: Vec<_> = examined.checks.iter().map(|check| check.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert!(examined.checks.iter().all(|check| {
        check.outcome == CheckOutcome::Passed && !check.expected.is_empty() && check.advice.is_none()
    }));
    assert!(setup.boards.tokens.is_empty());
}

#[test]
fn every_check_that_fails_is_named_with_what_would_pass_and_what_to_do() {
    let key = TestKey::es256("a");
    let mut plan = issuer_plan(KeySource::Document(jwks(&[&key]).into()));
    plan.required = vec![RequiredClaim {
        path: vec!["azp".into()],
        wanted: Wanted::OneOf(vec![json!("web")]),
    }];
    let setup = Setup::of(vec![plan], &["customers"]);
    let mut bad = claims_with("aud", json!("other"));
    bad["exp"] = json!(at(-3600));
    bad["azp"] = json!("app");
    let token = key.sign_raw(
        r#"{"alg":"ES256","kid":"a","typ":"logout+jwt"}"#,
        &bad.to_string(),
    );

    let examined = setup.authenticator.examine(&token, now());

    assert_eq!(examined.verdict.as_ref().unwrap_err(), &Reason::TokenType);
    assert_eq!(
        outcomes(&examined, CheckOutcome::Failed),
        [
            CheckName::Type,
            CheckName::Audience,
            CheckName::Expiry,
            CheckName::RequiredClaim
        ]
    );
    for check in &examined.checks {
        assert_eq!(check.advice.is_some(), check.outcome == CheckOutcome::Failed);
    }
    let audience = &examined.checks[8];
    assert!(audience.expected.contains("api"), "{}", audience.expected);
    assert!(audience.found.contains("other"), "{}", audience.found);
    assert!(
        examined.checks[9].found.contains("1h ago"),
        "{}",
        examined.checks[9].found
    );
}

#[test]
fn what_cannot_be_asked_is_skipped() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    let unsigned = key.sign_raw(r#"{"alg":"none"}"#, &claims().to_string());
    let examined = setup.authenticator.examine(&unsigned, now());
    assert_eq!(
        outcomes(&examined, CheckOutcome::Skipped),
        [CheckName::Key, CheckName::Signature, CheckName::DenyList]
    );

    let stranger = TestKey::es256("b").sign(&claims());
    let examined = setup.authenticator.examine(&stranger, now());
    assert_eq!(outcomes(&examined, CheckOutcome::Failed), [CheckName::Key]);
    assert!(examined.checks[5].expected.contains("\"a\""));

    let examined = setup.authenticator.examine("not a token", now());
    assert_eq!(examined.verdict.unwrap_err(), Reason::TokenMalformed);
    assert_eq!((examined.checks.len(), examined.issuer), (1, None));
}

#[test]
fn a_token_of_nobody_is_judged_by_the_rules_it_breaks_least() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    let examined = setup.authenticator.examine(
        &key.sign(&claims_with("iss", json!("https://login.example.com/"))),
        now(),
    );

    assert_eq!(
        examined.verdict.as_ref().unwrap_err(),
        &Reason::TokenIssuerUnknown
    );
    assert_eq!(outcomes(&examined, CheckOutcome::Failed), [CheckName::Issuer]);
    assert!(examined.checks[1].advice.unwrap().contains("slash"));
}

/// One judge: over all that is wrong with a token, traffic and examination give one answer.
#[test]
fn an_examination_gives_the_verdict_of_traffic() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let mut tokens = vec![key.sign(&claims()), "a.b".to_owned(), String::new()];
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", json!(null)),
        ("sub", json!(7)),
        ("aud", json!([])),
        ("exp", json!("1")),
        ("exp", json!(at(-3600))),
        ("nbf", json!(at(3600))),
        ("exp", json!(at(999_999))),
        ("scope", json!(1)),
    ] {
        tokens.push(key.sign(&claims_with(name, value)));
    }
    tokens.push(TestKey::es256("a").sign(&claims()));
    tokens.push(TestKey::es256("b").sign(&claims()));
    tokens.push(TestKey::es384("a").sign(&claims()));

    for token in tokens {
        let traffic = setup.judge(&token);
        let examined = setup.authenticator.examine(&token, now());
        let traffic = traffic
            .map(|proven| proven.principal)
            .map_err(|refused| refused.reason);
        assert_eq!(examined.verdict, traffic, "{token}");
    }
}

/// Neither the text nor the signature of a token is in what people are shown.
#[test]
fn an_examination_does_not_hold_the_token() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims());

    let shown = format!("{:?}", setup.authenticator.examine(&token, now()));

    for part in token.split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
}

#[test]
fn keys_that_nobody_asked_for_are_no_verdict_and_what_fails_without_them_is() {
    let key = TestKey::es256("a");
    let setup = Setup::of(vec![issuer_plan(KeySource::Url(KEYS_URL.into()))], &["customers"]);

    let unknown = setup.authenticator.examine(&key.sign(&claims()), now());
    let expired = setup
        .authenticator
        .examine(&key.sign(&claims_with("exp", json!(at(-3600)))), now());

    assert_eq!(unknown.verdict, Err(Reason::KeysUnavailable));
    assert!(!unknown.is_judged(), "{unknown:?}");
    assert_eq!(outcomes(&unknown, CheckOutcome::NotKnown), [CheckName::Keys]);
    assert!(expired.is_judged(), "{expired:?}");
    assert_eq!(expired.verdict, Err(Reason::TokenExpired));
}
