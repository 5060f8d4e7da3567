use jsonwebtoken::Algorithm as Alg;
use serde_json::json;

use super::*;
use crate::testing::TestKey;

fn parse(keys: Vec<Value>) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), KeyPurpose::Tokens).unwrap()
}

/// The key's JWK with one more member; `Null` removes it.
fn with(key: &TestKey, name: &str, value: Value) -> Value {
    let mut jwk = key.jwk();
    jwk[name] = value;
    if jwk[name].is_null() {
        jwk.as_object_mut().unwrap().remove(name);
    }
    jwk
}

fn is_used(jwk: Value) -> bool {
    let set = parse(vec![jwk]);
    assert_eq!(set.len() + set.skipped, 1);
    set.len() == 1
}

fn algorithms(jwk: Value) -> Vec<Algorithm> {
    let set = parse(vec![jwk]);
    Algorithm::ALL
        .iter()
        .copied()
        .filter(|algorithm| set.fitting(None, *algorithm).next().is_some())
        .collect()
}

#[test]
fn a_key_is_bound_to_the_algorithms_of_its_type_and_curve() {
    assert_eq!(algorithms(TestKey::rsa("a", Alg::RS256).jwk()), RSA);
    assert_eq!(algorithms(TestKey::es256("a").jwk()), [Algorithm::ES256]);
    assert_eq!(algorithms(TestKey::es384("a").jwk()), [Algorithm::ES384]);
    assert_eq!(algorithms(TestKey::ed25519("a").jwk()), [Algorithm::EdDSA]);
}

#[test]
fn the_alg_member_narrows_a_key_to_one_algorithm() {
    let key = TestKey::rsa("a", Alg::RS256);

    assert_eq!(algorithms(with(&key, "alg", json!("PS384"))), [Algorithm::PS384]);
    assert!(!is_used(with(&key, "alg", json!("RSA-OAEP"))));
    assert!(!is_used(with(&key, "alg", json!("HS256"))));
    assert!(!is_used(with(&key, "alg", json!("ES256"))));
    assert!(!is_used(with(&key, "alg", json!(["RS256"]))));
}

#[test]
fn a_key_for_another_use_is_skipped() {
    let key = TestKey::es256("a");

    assert!(is_used(with(&key, "use", json!("sig"))));
    assert!(!is_used(with(&key, "use", json!("enc"))));
    assert!(!is_used(with(&key, "use", json!(1))));
    assert!(is_used(with(&key, "key_ops", json!(["verify"]))));
    assert!(!is_used(with(&key, "key_ops", json!(["sign", "encrypt"]))));
    assert!(!is_used(with(&key, "key_ops", json!("verify"))));
}

#[test]
fn symmetric_and_private_keys_are_skipped() {
    assert!(!is_used(json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a"})));
    assert!(!is_used(with(&TestKey::es256("a"), "d", json!("c2VjcmV0"))));
    assert!(!is_used(with(&TestKey::es256("a"), "k", json!("c2VjcmV0"))));
}

#[test]
fn unknown_types_and_curves_are_skipped_and_counted() {
    let good = TestKey::es256("good");
    let set = parse(vec![
        json!({"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA"}),
        with(&good, "crv", json!("secp256k1")),
        with(&TestKey::ed25519("a"), "crv", json!("X25519")),
        json!({}),
        good.jwk(),
    ]);

    assert_eq!((set.len(), set.skipped), (1, 4));
    assert!(set.knows(Some("good")));
}

#[test]
fn points_of_another_size_are_skipped() {
    let key = TestKey::es256("a");
    let short = URL_SAFE_NO_PAD.encode([1; 31]);

    assert!(!is_used(with(&key, "x", json!(short))));
    assert!(!is_used(with(&key, "y", json!(null))));
    assert!(!is_used(with(&key, "crv", json!("P-384"))));
    assert!(!is_used(with(&TestKey::ed25519("a"), "x", json!(short))));
    assert!(!is_used(with(&key, "x", json!("a+/="))));
}

#[test]
fn rsa_keys_outside_the_sizes_are_skipped() {
    let rsa = |bits: usize, exponent: &[u8]| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] = 0xff >> (modulus.len() * 8 - bits);
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent)})
    };
    let e = [1, 0, 1];

    assert!(is_used(rsa(2048, &e)));
    assert!(is_used(rsa(8192, &e)));
    assert!(!is_used(rsa(2047, &e)));
    assert!(!is_used(rsa(1024, &e)));
    assert!(!is_used(rsa(8193, &e)));
    assert!(!is_used(rsa(2048, &[1])));
    assert!(!is_used(rsa(2048, &[2])));
    assert!(!is_used(rsa(2048, &[])));
    assert!(!is_used(rsa(2048, &[1; 5])));
}

#[test]
fn leading_zeros_do_not_make_a_small_key_large() {
    let padded = [vec![0; 256], vec![0xff; 128]].concat();

    assert!(!is_used(
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(padded), "e": "AQAB"})
    ));
}

#[test]
fn a_kid_that_is_no_string_is_skipped() {
    assert!(!is_used(with(&TestKey::es256("a"), "kid", json!(1))));
    assert!(is_used(with(&TestKey::es256("a"), "kid", json!(null))));
}

#[test]
fn a_document_that_is_no_key_set_is_refused() {
    let refused = |text: &str| KeySet::parse(text.as_bytes(), KeyPurpose::Tokens).unwrap_err();

    assert_eq!(refused("{}"), KeySetFault::NoKeys);
    assert_eq!(refused(r#"{"keys":{}}"#), KeySetFault::NoKeys);
    assert_eq!(refused(r#"{"keys":[1]}"#), KeySetFault::NoKeys);
    assert!(matches!(refused("<html>"), KeySetFault::NotJson(_)));
    assert!(matches!(
        refused(r#"{"keys":[],"keys":[]}"#),
        KeySetFault::NotJson(_)
    ));
}

#[test]
fn a_document_over_a_bound_is_refused() {
    let many = |count: usize| json!({"keys": vec![json!({}); count]}).to_string();

    assert_eq!(
        KeySet::parse(many(MAX_KEYS).as_bytes(), KeyPurpose::Tokens)
            .unwrap()
            .skipped,
        MAX_KEYS
    );
    assert_eq!(
        KeySet::parse(many(MAX_KEYS + 1).as_bytes(), KeyPurpose::Tokens).unwrap_err(),
        KeySetFault::TooManyKeys
    );
    assert_eq!(
        KeySet::parse(&vec![b' '; MAX_DOCUMENT + 1], KeyPurpose::Tokens).unwrap_err(),
        KeySetFault::TooLarge
    );
}
