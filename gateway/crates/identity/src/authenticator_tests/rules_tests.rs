//! What an issuer's configuration asks of a token beside its signature: type, lifetime, claims.

use super::*;
use crate::plan::{RequiredClaim, TokenTypes, Wanted};

fn with_plan(key: &TestKey, change: impl FnOnce(&mut IssuerPlan)) -> Setup {
    let mut plan = issuer_plan(KeySource::Document(jwks(&[key]).into()));
    change(&mut plan);
    Setup::of(vec![plan], &["customers"])
}

fn typed(key: &TestKey, typ: Value) -> String {
    let header = json!({"alg": "ES256", "kid": "a", "typ": typ});
    key.sign_raw(&header.to_string(), &claims().to_string())
}

/// RFC 8725 section 3.11, RFC 9068 section 2.1: what was made for something else is no access token.
#[test]
fn a_token_of_another_type_is_refused() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);

    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"] {
        assert!(setup.judge(&typed(&key, json!(typ))).is_ok(), "{typ}");
    }
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "none",
        "",
    ] {
        assert_eq!(
            setup.refusal(&typed(&key, json!(typ))),
            Reason::TokenType,
            "{typ}"
        );
    }
    for typ in [json!(1), json!(["JWT"]), json!(null), json!({})] {
        assert_eq!(
            setup.refusal(&typed(&key, typ.clone())),
            Reason::TokenMalformed,
            "{typ}"
        );
    }
    // One check of a signature for each that passed and none for the rest.
    assert_eq!(setup.signature_checks(), 5);
}

#[test]
fn an_issuer_of_access_tokens_takes_nothing_that_does_not_say_so() {
    let key = TestKey::es256("a");
    let setup = with_plan(&key, |plan| {
        plan.token_types = TokenTypes {
            absent: false,
            named: vec!["at+jwt".into()],
        };
    });

    assert!(setup.judge(&typed(&key, json!("application/at+jwt"))).is_ok());
    assert_eq!(setup.refusal(&typed(&key, json!("JWT"))), Reason::TokenType);
    assert_eq!(setup.refusal(&key.sign(&claims())), Reason::TokenType);
}

#[test]
fn a_token_that_lives_too_long_is_refused() {
    let key = TestKey::es256("a");
    let setup = with_plan(&key, |plan| plan.max_lifetime = Duration::from_secs(3600));
    let lives = |iat: Value, exp: Value| {
        let mut claims = claims_with("iat", iat);
        claims["exp"] = exp;
        setup.judge(&key.sign(&claims)).map_err(|refused| refused.reason)
    };

    assert!(lives(json!(at(-10)), json!(at(3590))).is_ok());
    assert_eq!(
        lives(json!(at(-10)), json!(at(3591))).unwrap_err(),
        Reason::TokenLifetime
    );
    // Without iat what is left of it counts.
    assert!(lives(Value::Null, json!(at(3600))).is_ok());
    assert_eq!(
        lives(Value::Null, json!(at(3601))).unwrap_err(),
        Reason::TokenLifetime
    );
    // However far the end is: the arithmetic neither wraps nor saturates into something that passes.
    for exp in [
        json!(9_007_199_254_740_993_u64),
        json!(i64::MAX),
        json!(1e15),
        json!(4e18),
    ] {
        let reason = lives(json!(at(-10)), exp.clone()).unwrap_err();
        assert!(
            matches!(reason, Reason::TokenLifetime | Reason::TokenClaims),
            "{exp}: {reason:?}"
        );
    }
    // Nor does an issue date in the far future make a long life short.
    assert_eq!(
        lives(json!(at(86_400)), json!(at(86_500))).unwrap_err(),
        Reason::TokenNotYetValid
    );
}

/// RFC 7519 section 2, CVE-2026-25537: a date is a number, in every spelling that JSON has for one.
#[test]
fn a_date_that_is_no_sane_number_is_refused() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let raw = |claim: &str, date: &str| {
        let exp = if claim == "exp" {
            String::new()
        } else {
            format!(r#""exp":{},"#, at(600))
        };
        key.sign_raw(
            r#"{"alg":"ES256","kid":"a"}"#,
            &format!(r#"{{"iss":"{ISSUER}","sub":"a","aud":"api",{exp}"{claim}":{date}}}"#),
        )
    };

    for claim in ["exp", "nbf", "iat"] {
        for date in [
            "\"1800000600\"",
            "-1",
            "-0.5",
            "[]",
            "{}",
            "true",
            "null",
            "1e18",
            "1e300",
            "99999999999999999999",
        ] {
            let reason = setup.refusal(&raw(claim, date));
            let is_refused = matches!(reason, Reason::TokenClaims)
                || (claim == "exp" && reason == Reason::TokenLifetime)
                || (claim != "exp" && reason == Reason::TokenNotYetValid);
            assert!(is_refused, "{claim} {date}: {reason:?}");
        }
        for date in [
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "0x10",
            "01",
            "+1",
            "1_000",
            ".5",
        ] {
            assert_eq!(
                setup.refusal(&raw(claim, date)),
                Reason::TokenMalformed,
                "{claim} {date}"
            );
        }
    }
    assert!(setup.judge(&raw("exp", "1.8000006e9")).is_ok());
    assert!(setup.judge(&raw("iat", "1800000000.25")).is_ok());
    assert!(setup.judge(&raw("nbf", "-0")).is_ok());
}

#[test]
fn required_claims_are_there_and_have_one_of_their_values() {
    let key = TestKey::es256("a");
    let required = |path: &[&str], wanted: Wanted| RequiredClaim {
        path: path.iter().map(|key| Arc::from(*key)).collect(),
        wanted,
    };
    let setup = with_plan(&key, |plan| {
        plan.required = vec![
            required(&["azp"], Wanted::OneOf(vec![json!("web"), json!("app")])),
            required(&["email_verified"], Wanted::OneOf(vec![json!(true)])),
            required(&["realm_access", "roles"], Wanted::OneOf(vec![json!("admin")])),
            required(&["amr"], Wanted::Present),
        ];
    });
    let mut good = claims();
    good["azp"] = json!("app");
    good["email_verified"] = json!(true);
    good["realm_access"] = json!({"roles": ["viewer", "admin"]});
    good["amr"] = json!([]);
    let spoilt = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        setup.judge(&key.sign(&claims)).unwrap_err()
    };

    assert!(setup.judge(&key.sign(&good)).is_ok());
    for (name, value) in [
        ("azp", json!("other")),
        ("azp", json!("WEB")),
        ("azp", json!(["other"])),
        ("azp", json!({"web": true})),
        ("azp", Value::Null),
        ("email_verified", json!("true")),
        ("email_verified", json!(1)),
        ("email_verified", json!(false)),
        ("realm_access", json!({"roles": ["viewer"]})),
        ("realm_access", json!(["roles"])),
        ("realm_access", json!({"roles": {"admin": true}})),
        ("amr", Value::Null),
    ] {
        let refused = spoilt(name, value.clone());
        assert_eq!(refused.reason, Reason::TokenClaims, "{name} {value}");
        let detail = refused.detail.unwrap().private.unwrap();
        assert!(detail.contains(name), "{detail}");
        assert!(!detail.contains("viewer"), "{detail}");
    }
    let mut azp = good.clone();
    azp["azp"] = json!(["other", "web"]);
    assert!(setup.judge(&key.sign(&azp)).is_ok());
}

/// The shapes in which Keycloak, Auth0, Entra and Okta write roles, tenant and scopes.
#[test]
fn claims_of_well_known_issuers_are_read() {
    let key = TestKey::es256("a");
    let path = |steps: &[&str]| Some(steps.iter().map(|step| Arc::from(*step)).collect());
    let read = |claim: &str, value: Value, roles: &[&str], tenant: &[&str]| {
        let setup = with_plan(&key, |plan| {
            plan.claims.roles = path(roles);
            plan.claims.tenant = path(tenant);
        });
        let mut claims = claims_with(claim, value);
        claims["tid"] = json!("t-1");
        let attributes = setup.judge(&key.sign(&claims)).unwrap().principal.attributes;
        let roles: Vec<_> = attributes.roles.iter().map(ToString::to_string).collect();
        (roles, attributes.tenant.as_ref().map(ToString::to_string))
    };
    let both = vec!["admin".to_owned(), "ops".to_owned()];
    let tenant = Some("t-1".to_owned());

    let keycloak = json!({"my.client": {"roles": ["admin", "ops"]}, "account": {"roles": ["view"]}});
    assert_eq!(
        read(
            "resource_access",
            keycloak,
            &["resource_access", "my.client", "roles"],
            &["tid"]
        ),
        (both.clone(), tenant.clone())
    );
    assert_eq!(
        read(
            "https://example.com/roles",
            json!(["admin", "ops"]),
            &["https://example.com/roles"],
            &["tid"]
        ),
        (both.clone(), tenant.clone())
    );
    assert_eq!(
        read("roles", json!(["admin", "ops"]), &["roles"], &["tid"]),
        (both.clone(), tenant)
    );
    assert_eq!(
        read("groups", json!(["admin", "ops"]), &["groups"], &["absent"]),
        (both, None)
    );
}

#[test]
fn of_several_issuers_of_one_name_the_refusal_is_of_the_one_that_came_furthest() {
    let (ours, theirs) = (TestKey::es256("ours"), TestKey::es256("theirs"));
    let first = issuer_plan(KeySource::Document(jwks(&[&ours]).into()));
    let mut second = issuer_plan(KeySource::Document(jwks(&[&theirs]).into()));
    second.id = IssuerId::new("second");
    let setup = Setup::of(vec![first, second], &["customers", "second"]);

    let other_audience = claims_with("aud", json!("other"));
    assert_eq!(setup.refusal(&ours.sign(&other_audience)), Reason::TokenAudience);
    assert_eq!(
        setup.refusal(&theirs.sign(&other_audience)),
        Reason::TokenAudience
    );
    assert!(setup.judge(&ours.sign(&claims())).is_ok());
    assert!(setup.judge(&theirs.sign(&claims())).is_ok());
}

#[tokio::test]
async fn a_key_is_fetched_for_the_first_issuer_although_the_second_refuses_too() {
    let key = TestKey::es256("a");
    let first = issuer_plan(KeySource::Url(KEYS_URL.into()));
    let mut second = issuer_plan(KeySource::Document(jwks(&[&TestKey::es256("other")]).into()));
    second.id = IssuerId::new("second");
    let setup = Setup::of(vec![first, second], &["customers", "second"]);
    setup.fetch.answer(KEYS_URL, jwks(&[&key]));

    assert!(setup.judge_online(&key.sign(&claims())).await.is_ok());
}
