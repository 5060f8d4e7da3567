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

/// What was proven by keys that then could not be had: worth waiting for where they have never been here, which is a
/// configuration that is new, and refuted where nobody has confirmed them for longer than they may be used.
#[tokio::test]
async fn keys_that_never_came_are_waited_for_by_what_lives_and_stale_ones_are_not() {
    let key = TestKey::es256("a");
    let setup = Setup::url();
    let headers = bearer_of(&key.sign(&claims()));
    let still = || {
        let credentials = Credentials {
            headers: &headers,
            peer: None,
        };
        setup.authenticator.still_proves(credentials, now())
    };
    let stale = Duration::from_secs(60 * 60);
    assert!(matches!(still(), Ok(Still::AwaitsKeys(patience)) if patience == stale));

    setup.fetch.answer(KEYS_URL, jwks(&[&key]));
    setup.boards.keys.refresh_due(setup.clock.instant()).await;
    setup.clock.advance(stale);
    assert!(matches!(still(), Ok(Still::Proven(_))));
    let beats = setup.boards.pulse.count();
    setup.fetch.fail(KEYS_URL, FetchFault::Timeout);
    setup.boards.keys.refresh_due(setup.clock.instant()).await;
    assert_eq!(setup.boards.pulse.count(), beats);

    setup.clock.advance(Duration::from_secs(1));
    setup.boards.keys.refresh_due(setup.clock.instant()).await;
    setup.boards.keys.refresh_due(setup.clock.instant()).await;

    // Whoever lives by them is told once that they are not to be used any more.
    assert_eq!(setup.boards.pulse.count(), beats + 1);
    assert_eq!(still().unwrap_err().reason, Reason::KeysUnavailable);
}

/// A judgement of what lives is not traffic: ten thousand streams at one beat would read like ten thousand requests.
#[test]
fn what_lives_is_judged_again_without_counting_as_a_request() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let headers = bearer_of(&key.sign(&claims()));
    let credentials = Credentials {
        headers: &headers,
        peer: None,
    };
    let tokens = |outcome: &str| {
        let labels = ["customers", outcome];
        setup.boards.metrics.tokens.with_label_values(&labels).get()
    };
    let late = now() + Duration::from_secs(630);
    setup
        .authenticator
        .authenticate_offline(credentials, now())
        .unwrap();
    setup
        .authenticator
        .authenticate_offline(credentials, now())
        .unwrap();
    assert_eq!((tokens("verified"), tokens("cached")), (1, 1));

    let still = setup.authenticator.still_proves(credentials, now()).unwrap();
    let ended = setup.authenticator.still_proves(credentials, late).unwrap_err();
    // What was remembered is forgotten by now: the signature is checked again.
    let again = setup.authenticator.still_proves(credentials, now());

    assert!(matches!(still, Still::Proven(found) if found.principal.to_string() == "customers:alice"));
    assert_eq!(ended.reason, Reason::TokenExpired);
    assert!(again.is_ok());
    let counted = (tokens("verified"), tokens("cached"), tokens("token-expired"));
    assert_eq!(counted, (1, 1, 0));
    assert!(
        setup
            .authenticator
            .authenticate_offline(credentials, late)
            .is_err()
    );
    assert_eq!(tokens("token-expired"), 1);
}

#[test]
fn a_certificate_of_what_lives_is_judged_again_without_counting_as_a_request() {
    let setup = Setup::of(Vec::new(), &["mesh"]);
    let headers = HeaderMap::new();
    let (ours, stranger) = (
        PeerIdentity::from_chain(&setup.ca.leaf(&[WEB]).chain),
        PeerIdentity::from_chain(&TestCa::new("other").leaf(&[WEB]).chain),
    );
    let still = |peer| {
        let credentials = Credentials {
            headers: &headers,
            peer: Some(peer),
        };
        setup.authenticator.still_proves(credentials, now())
    };
    let counted = || {
        ["verified", "remembered", "certificate-untrusted"].map(|outcome| {
            let certificates = &setup.boards.metrics.certificates;
            certificates.with_label_values(&[outcome]).get()
        })
    };

    assert!(matches!(still(&ours), Ok(Still::Proven(_))));
    assert_eq!(still(&stranger).unwrap_err().reason, Reason::CertificateUntrusted);

    assert_eq!(counted(), [0, 0, 0]);
}
