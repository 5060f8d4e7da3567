//! What is remembered, for how long, and where keys come from meanwhile.

use super::*;

#[test]
fn the_second_use_of_a_token_checks_no_signature() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims());

    let first = setup.judge(&token).unwrap();
    let second = setup.judge(&token).unwrap();

    assert_eq!(first.principal, second.principal);
    assert_eq!(first.by, second.by);
    assert_eq!(setup.signature_checks(), 1);
    assert_eq!(setup.boards.tokens.len(), 1);
}

#[test]
fn a_remembered_token_still_expires() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims());
    assert!(setup.judge(&token).is_ok());

    let late = setup
        .judge_at(&token, now() + Duration::from_secs(630))
        .unwrap_err();

    assert_eq!(late.reason, Reason::TokenExpired);
    assert!(setup.boards.tokens.is_empty());
}

#[test]
fn refused_tokens_are_not_remembered() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    assert_eq!(
        setup.refusal(&key.sign(&claims_with("aud", json!("other")))),
        Reason::TokenAudience
    );

    assert!(setup.boards.tokens.is_empty());
}

#[test]
fn a_remembered_token_does_not_outlive_a_change_of_its_issuer() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims());
    assert!(setup.judge(&token).is_ok());
    let mut plan = issuer_plan(KeySource::Document(jwks(&[&key]).into()));
    plan.audiences = vec!["other".into()];
    let plan = IdentityPlan {
        issuers: vec![plan],
        ..IdentityPlan::default()
    };

    let (changed, _) = compile(&plan, Some(&setup.runtime), &setup.boards).unwrap();
    let authenticator = changed.authenticator(&schemes(&["customers"])).unwrap();
    let headers = bearer_of(&token);
    let refused = authenticator.authenticate_offline(
        Credentials {
            headers: &headers,
            peer: None,
        },
        now(),
    );

    assert_eq!(refused.unwrap_err().reason, Reason::TokenAudience);
}

#[tokio::test]
async fn a_withdrawn_key_stops_a_remembered_token_at_once() {
    let (old, new) = (TestKey::es256("old"), TestKey::es256("new"));
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&old]));
    setup.boards.keys.refresh_due(setup.clock.instant()).await;
    let token = old.sign(&claims());
    assert!(setup.judge(&token).is_ok());

    setup.fetch.answer(KEYS_URL, jwks(&[&new]));
    setup.clock.advance(Duration::from_secs(300));
    setup.boards.keys.refresh_due(setup.clock.instant()).await;

    assert_eq!(setup.refusal(&token), Reason::TokenKeyUnknown);
    assert!(setup.judge(&new.sign(&claims())).is_ok());
}

#[tokio::test]
async fn an_unknown_key_is_fetched_while_the_request_waits() {
    let (old, new) = (TestKey::es256("old"), TestKey::es256("new"));
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&old]));
    setup.boards.keys.refresh_due(setup.clock.instant()).await;
    setup.fetch.answer(KEYS_URL, jwks(&[&old, &new]));
    setup.clock.advance(Duration::from_secs(10));

    assert!(setup.judge_online(&new.sign(&claims())).await.is_ok());
    let unknown = TestKey::es256("never").sign(&claims());
    assert_eq!(
        setup.judge_online(&unknown).await.unwrap_err().reason,
        Reason::TokenKeyUnknown
    );
    assert_eq!(setup.fetch.count(), 2);
}

#[tokio::test]
async fn without_keys_the_answer_is_unavailable_and_says_when_to_come_back() {
    let setup = Setup::url();
    setup.fetch.fail(KEYS_URL, FetchFault::Timeout);
    let key = TestKey::es256("a");

    let refused = setup.judge_online(&key.sign(&claims())).await.unwrap_err();
    assert_eq!(refused.reason, Reason::KeysUnavailable);
    assert_eq!(refused.detail.unwrap().retry_after, Some(Duration::from_secs(10)));
    assert_eq!(setup.refusal(&key.sign(&claims())), Reason::KeysUnavailable);

    setup.fetch.answer(KEYS_URL, jwks(&[&key]));
    setup.clock.advance(Duration::from_secs(10));
    assert!(setup.judge_online(&key.sign(&claims())).await.is_ok());
}

#[tokio::test]
async fn remembered_tokens_stop_when_the_keys_are_stale() {
    let key = TestKey::es256("a");
    let setup = Setup::url();
    setup.fetch.answer(KEYS_URL, jwks(&[&key]));
    setup.boards.keys.refresh_due(setup.clock.instant()).await;
    let token = key.sign(&claims());
    assert!(setup.judge(&token).is_ok());

    setup.clock.advance(Duration::from_secs(3601));

    assert_eq!(setup.refusal(&token), Reason::KeysUnavailable);
}
