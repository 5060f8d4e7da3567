//! What the claims must say.

use super::*;

#[test]
fn expiry_is_required_typed_and_kept_with_the_skew() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let with = |exp: Value| key.sign(&claims_with("exp", exp));

    assert!(setup.judge(&with(json!(at(-29)))).is_ok());
    assert!(setup.judge(&with(json!(1_800_000_000.5))).is_ok());
    assert_eq!(setup.refusal(&with(json!(at(-30)))), Reason::TokenExpired);
    assert_eq!(setup.refusal(&with(json!(0))), Reason::TokenExpired);
    for exp in [
        json!(null),
        json!(at(600).to_string()),
        json!([at(600)]),
        json!(-1),
        json!(1e300),
        json!(true),
    ] {
        assert_eq!(setup.refusal(&with(exp.clone())), Reason::TokenClaims, "{exp}");
    }
    assert_eq!(
        setup.refusal(&key.sign_raw(
            r#"{"alg":"ES256","kid":"a"}"#,
            r#"{"iss":"https://login.example.com","sub":"a","aud":"api","exp":null}"#,
        )),
        Reason::TokenClaims
    );
}

#[test]
fn a_token_of_the_future_is_refused_until_the_skew_allows_it() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    for claim in ["nbf", "iat"] {
        assert!(
            setup.judge(&key.sign(&claims_with(claim, json!(at(30))))).is_ok(),
            "{claim}"
        );
        let early = key.sign(&claims_with(claim, json!(at(31))));
        assert_eq!(setup.refusal(&early), Reason::TokenNotYetValid, "{claim}");
        let text = key.sign(&claims_with(claim, json!("0")));
        assert_eq!(setup.refusal(&text), Reason::TokenClaims, "{claim}");
    }
}

#[test]
fn the_audience_must_hold_one_of_ours() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let with = |aud: Value| key.sign(&claims_with("aud", aud));

    assert!(setup.judge(&with(json!(["other", "api"]))).is_ok());
    for aud in [
        json!(null),
        json!("other"),
        json!(["other"]),
        json!([]),
        json!("api other"),
        json!("API"),
    ] {
        assert_eq!(setup.refusal(&with(aud.clone())), Reason::TokenAudience, "{aud}");
    }
    for aud in [json!(1), json!({"api": 1}), json!(["api", 1])] {
        assert_eq!(setup.refusal(&with(aud.clone())), Reason::TokenClaims, "{aud}");
    }
}

#[test]
fn a_subject_is_required() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    for sub in [json!(null), json!(""), json!(7), json!("x".repeat(2000))] {
        assert_eq!(
            setup.refusal(&key.sign(&claims_with("sub", sub))),
            Reason::TokenClaims
        );
    }
}

/// A number that does not fit becomes another one on its way to the deny list, where an entry with the digits that
/// stand in the token would deny nobody.
#[test]
fn a_token_or_session_that_no_entry_could_name_is_refused() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let with = |name: &str, value: &str| {
        let mut claims = claims().to_string();
        claims.insert_str(1, &format!("\"{name}\":{value},"));
        key.sign_raw(r#"{"alg":"ES256","kid":"a"}"#, &claims)
    };

    for name in ["jti", "sid"] {
        for value in ["\"a\"", "4711", "-1", "18446744073709551615", "null"] {
            assert!(setup.judge(&with(name, value)).is_ok(), "{name}: {value}");
        }
        for value in [
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "1.5",
            "12e3",
            "-0",
            "true",
            "[\"a\"]",
            "{\"a\":1}",
        ] {
            assert_eq!(
                setup.refusal(&with(name, value)),
                Reason::TokenClaims,
                "{name}: {value}"
            );
        }
    }
}

#[test]
fn claims_are_read_by_their_paths_and_must_have_their_types() {
    let key = TestKey::es256("a");
    let mut plan = issuer_plan(KeySource::Document(jwks(&[&key]).into()));
    plan.claims.tenant = Some(vec!["org".into(), "id".into()]);
    plan.claims.roles = Some(vec!["realm_access".into(), "roles".into()]);
    plan.claims.region = Some(vec!["region".into()]);
    plan.claims.scopes = Some(vec!["permissions".into()]);
    let setup = Setup::of(vec![plan], &["customers"]);
    let mut good = claims();
    good["org"] = json!({"id": "acme"});
    good["realm_access"] = json!({"roles": ["admin", "viewer"]});
    good["region"] = json!("eu");
    good["permissions"] = json!(["a:b", "c"]);

    let attributes = setup.judge(&key.sign(&good)).unwrap().principal.attributes;
    assert_eq!(attributes.tenant.as_deref(), Some("acme"));
    assert_eq!(attributes.roles, ["admin".into(), "viewer".into()]);
    assert_eq!(attributes.region.as_deref(), Some("eu"));
    assert_eq!(attributes.scopes, ["a:b".into(), "c".into()]);
    assert_eq!(attributes.claims["org"]["id"], "acme");

    let bare = setup.judge(&key.sign(&claims())).unwrap().principal.attributes;
    assert_eq!((&bare.tenant, bare.roles.len(), bare.scopes.len()), (&None, 0, 0));

    for (name, value) in [
        ("org", json!({"id": 7})),
        ("region", json!(["eu"])),
        ("permissions", json!({"a": 1})),
        ("permissions", json!([1])),
        ("realm_access", json!({"roles": [1]})),
        ("realm_access", json!({"roles": {"admin": true}})),
    ] {
        assert_eq!(
            setup.refusal(&key.sign(&claims_with(name, value.clone()))),
            Reason::TokenClaims,
            "{value}"
        );
    }
}

#[test]
fn scopes_are_read_from_scope_and_then_from_scp() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let scopes = |claims: &Value| {
        let attributes = setup.judge(&key.sign(claims)).unwrap().principal.attributes;
        attributes
            .scopes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let mut scp = claims_with("scope", Value::Null);
    scp["scp"] = json!(["a", "b"]);
    let mut both = claims();
    both["scp"] = json!(["a"]);

    assert_eq!(scopes(&scp), ["a", "b"]);
    assert_eq!(scopes(&both), ["read", "write"]);
    assert_eq!(scopes(&claims_with("scope", json!(" a  b "))), ["a", "b"]);
    assert_eq!(
        setup.refusal(&key.sign(&claims_with("scope", json!(1)))),
        Reason::TokenClaims
    );
}
