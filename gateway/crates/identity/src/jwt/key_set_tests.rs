use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm as Alg;
use serde_json::json;

use super::super::verify_key::RSA;
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

/// CVE-2015-7940 and its like: a point off its curve leaks or forges; it is no key, and said so when it is read.
#[test]
fn a_point_that_is_not_on_its_curve_is_skipped() {
    let spoilt = |key: &TestKey, size: usize| {
        let mut y = URL_SAFE_NO_PAD.decode(key.jwk()["y"].as_str().unwrap()).unwrap();
        y[size - 1] ^= 1;
        with(key, "y", json!(URL_SAFE_NO_PAD.encode(y)))
    };
    let (p256, p384) = (TestKey::es256("a"), TestKey::es384("a"));
    let zero = json!(URL_SAFE_NO_PAD.encode([0; 32]));
    let over = json!(URL_SAFE_NO_PAD.encode([0xff; 32]));
    let point = |x: &Value, y: &Value| json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});

    assert!(!is_used(spoilt(&p256, 32)));
    assert!(!is_used(spoilt(&p384, 48)));
    assert!(!is_used(point(&zero, &zero)));
    assert!(!is_used(point(&over, &over)));
    // The coordinates of one key are not those of another.
    assert!(!is_used(with(&p256, "x", TestKey::es256("b").jwk()["x"].clone())));
    assert!(is_used(p256.jwk()) && is_used(p384.jwk()));
}

#[test]
fn private_parts_of_every_kind_make_a_key_nobodys() {
    for part in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for value in [json!("AQAB"), json!(null), json!([])] {
            let mut jwk = TestKey::rsa("a", Alg::RS256).jwk();
            jwk[part] = value;
            assert!(!is_used(jwk), "{part}");
        }
    }
}

/// RFC 7517 section 4.3: operations are names, and none stands there twice.
#[test]
fn operations_that_are_no_set_of_names_are_skipped() {
    let key = TestKey::es256("a");

    assert!(is_used(with(&key, "key_ops", json!(["verify", "encrypt"]))));
    assert!(!is_used(with(&key, "key_ops", json!(["verify", "verify"]))));
    assert!(!is_used(with(&key, "key_ops", json!(["verify", 1]))));
    assert!(!is_used(with(&key, "key_ops", json!({"verify": true}))));
    let many: Vec<_> = (0..40)
        .map(|at| format!("op{at}"))
        .chain(["verify".to_owned()])
        .collect();
    assert!(!is_used(with(&key, "key_ops", json!(many))));
}

/// A certificate beside a key changes nothing: it is neither believed nor a reason to refuse.
#[test]
fn certificates_beside_a_key_are_not_looked_at() {
    let mut jwk = TestKey::es256("a").jwk();
    jwk["x5c"] = json!(["not a certificate"]);
    jwk["x5u"] = json!("https://evil.example/x5u");
    jwk["x5t"] = json!(7);

    assert!(is_used(jwk));
}

#[test]
fn a_key_that_stands_there_twice_is_one_key() {
    let (one, two) = (TestKey::es256("a"), TestKey::es256("a"));

    let set = parse(vec![one.jwk(), one.jwk(), two.jwk(), one.jwk()]);

    assert_eq!((set.len(), set.skipped), (2, 2));
    assert_eq!(set.fitting(Some("a"), Algorithm::ES256).count(), 2);
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
    let even = URL_SAFE_NO_PAD.encode([&[0xff; 255][..], &[0xfe]].concat());
    assert!(!is_used(json!({"kty": "RSA", "n": even, "e": "AQAB"})));
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
