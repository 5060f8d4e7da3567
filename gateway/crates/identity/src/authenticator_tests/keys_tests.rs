//! Algorithms, keys and signatures.

use super::*;

#[test]
fn a_signed_token_proves_its_subject() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    let proven = setup.judge(&key.sign(&claims())).unwrap();

    assert_eq!(proven.by.path.as_ref(), "routes[0].authenticate[0]");
    assert_eq!(proven.principal.proof, Proof::Jwt);
    assert_eq!(proven.principal.to_string(), "customers:alice");
    assert_eq!(
        proven.principal.attributes.scopes,
        ["read".into(), "write".into()]
    );
    assert_eq!(
        proven.principal.expires_at,
        Some(now() + Duration::from_secs(630))
    );
    let Identity::User(subject) = proven.principal.identity else {
        panic!("not a user")
    };
    assert_eq!(subject.issuer_url.as_ref(), ISSUER);
}

#[test]
fn every_algorithm_works_with_its_own_key() {
    let rsa = [
        Alg::RS256,
        Alg::RS384,
        Alg::RS512,
        Alg::PS256,
        Alg::PS384,
        Alg::PS512,
    ];
    let mut keys: Vec<_> = rsa.iter().map(|alg| TestKey::rsa("rsa", *alg)).collect();
    keys.extend([
        TestKey::es256("p256"),
        TestKey::es384("p384"),
        TestKey::ed25519("ed"),
    ]);
    for key in keys {
        let mut plan = issuer_plan(KeySource::Document(jwks(&[&key]).into()));
        plan.algorithms = Algorithm::ALL.to_vec();
        let setup = Setup::of(vec![plan], &["customers"]);

        assert!(setup.judge(&key.sign(&claims())).is_ok(), "{}", key.alg_name());
    }
}

#[test]
fn an_algorithm_that_the_issuer_does_not_list_is_refused() {
    let key = TestKey::rsa("a", Alg::RS384);
    let setup = Setup::document(&[&key]);

    assert_eq!(setup.refusal(&key.sign(&claims())), Reason::TokenAlgorithm);
    assert_eq!(setup.signature_checks(), 0);
}

#[test]
fn no_algorithm_and_symmetric_ones_are_refused() {
    let key = TestKey::rsa("a", Alg::RS256);
    let setup = Setup::document(&[&key]);

    for alg in [
        "none", "None", "NONE", "HS256", "HS384", "HS512", "", "rs256", "ES256K", "RS256 ",
    ] {
        let token = key.sign_raw(
            &json!({"alg": alg, "kid": "a"}).to_string(),
            &claims().to_string(),
        );
        assert_eq!(setup.refusal(&token), Reason::TokenAlgorithm, "{alg}");
    }
    let unsigned = key.sign_raw(r#"{"alg":"none"}"#, &claims().to_string());
    let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
    assert_eq!(setup.refusal(unsigned), Reason::TokenAlgorithm);
}

#[test]
fn a_token_signed_with_the_public_key_as_a_secret_is_refused() {
    let key = TestKey::rsa("a", Alg::RS256);
    let setup = Setup::document(&[&key]);
    let modulus = key.jwk()["n"].as_str().unwrap().to_owned();
    let secret = jsonwebtoken::EncodingKey::from_secret(modulus.as_bytes());
    let header = jsonwebtoken::Header {
        kid: Some("a".to_owned()),
        ..jsonwebtoken::Header::new(Alg::HS256)
    };

    let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();

    assert_eq!(setup.refusal(&token), Reason::TokenAlgorithm);
}

#[test]
fn a_key_of_another_type_or_curve_is_never_tried() {
    let (p256, p384) = (TestKey::es256("a"), TestKey::es384("a"));
    let setup = Setup::document(&[&p256]);

    let rs = p256.sign_raw(r#"{"alg":"RS256","kid":"a"}"#, &claims().to_string());
    assert_eq!(setup.refusal(&rs), Reason::TokenAlgorithm);
    assert_eq!(setup.refusal(&p384.sign(&claims())), Reason::TokenAlgorithm);
    assert_eq!(setup.signature_checks(), 0);
}

#[test]
fn a_signature_of_another_key_or_over_other_claims_is_refused() {
    let (ours, theirs) = (TestKey::es256("a"), TestKey::es256("a"));
    let setup = Setup::document(&[&ours]);
    let token = ours.sign(&claims());
    let other = ours.sign(&claims_with("sub", json!("mallory")));
    let (head, _) = other.rsplit_once('.').unwrap();
    let (_, signature) = token.rsplit_once('.').unwrap();

    assert_eq!(setup.refusal(&theirs.sign(&claims())), Reason::TokenSignature);
    assert_eq!(
        setup.refusal(&format!("{head}.{signature}")),
        Reason::TokenSignature
    );
    assert_eq!(setup.refusal(&format!("{head}.")), Reason::TokenSignature);
}

#[test]
fn the_zero_signature_is_refused() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims());
    let (head, _) = token.rsplit_once('.').unwrap();

    // CVE-2022-21449: r = s = 0.
    assert_eq!(
        setup.refusal(&format!("{head}.{}", "A".repeat(86))),
        Reason::TokenSignature
    );
}

#[test]
fn keys_that_share_an_id_are_all_tried_within_their_algorithm() {
    let (one, two, rsa) = (
        TestKey::es256("a"),
        TestKey::es256("a"),
        TestKey::rsa("a", Alg::RS256),
    );
    let setup = Setup::document(&[&one, &two, &rsa]);

    assert!(setup.judge(&two.sign(&claims())).is_ok());
    assert_eq!(setup.signature_checks(), 2);
    assert!(setup.judge(&rsa.sign(&claims())).is_ok());
    assert_eq!(setup.signature_checks(), 3);
}

#[test]
fn a_token_without_a_key_id_is_tried_with_the_fitting_keys() {
    let (one, two) = (TestKey::es256("a"), TestKey::es256("b"));
    let setup = Setup::document(&[&one, &two]);

    assert!(
        setup
            .judge(&two.sign_raw(r#"{"alg":"ES256"}"#, &claims().to_string()))
            .is_ok()
    );
}

#[test]
fn only_so_many_keys_are_tried() {
    let keys: Vec<_> = (0..12).map(|_| TestKey::es256("a")).collect();
    let setup = Setup::document(&keys.iter().collect::<Vec<_>>());

    assert_eq!(setup.refusal(&keys[11].sign(&claims())), Reason::TokenSignature);
    assert_eq!(setup.signature_checks(), 8);
}
