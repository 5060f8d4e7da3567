use portcullis_model::{Attributes, Identity, Proof, Subject};
use serde_json::{Value, json};

use super::*;

fn jurisdictions() -> Jurisdictions {
    let set = |regions: &[&str]| Arc::new(regions.iter().copied().map(RegionId::from).collect());
    Arc::new(BTreeMap::from([
        (JurisdictionId::from("EU"), set(&["eu-west", "eu-central"])),
        (JurisdictionId::from("US"), set(&["us-east"])),
    ]))
}

fn rule(from: Option<ResidencySource>, default: &[&str]) -> Residency {
    let default = default.iter().copied().map(JurisdictionId::from).collect();
    Residency::compile(
        &ResidencyPlan {
            origin: Origin::of("routes[0].residency"),
            from,
            default,
        },
        &jurisdictions(),
    )
}

fn principal(region: Option<&str>, claims: Value) -> Principal {
    Principal {
        identity: Identity::User(Subject {
            issuer: "idp".into(),
            issuer_url: Arc::from("https://idp.test"),
            subject: Arc::from("s"),
        }),
        proof: Proof::Jwt,
        attributes: Arc::new(Attributes {
            region: region.map(Arc::from),
            claims,
            ..Attributes::default()
        }),
        expires_at: None,
    }
}

fn stated(region: Option<&str>) -> Principal {
    principal(region, Value::Null)
}

fn claimed(claims: Value) -> Principal {
    principal(None, claims)
}

fn names(allowed: Result<AllowedRegions, Rejection>) -> Vec<String> {
    match allowed.unwrap() {
        AllowedRegions::All => vec!["*".to_owned()],
        AllowedRegions::Only(regions) => regions.iter().map(ToString::to_string).collect(),
    }
}

fn from_claim() -> Option<ResidencySource> {
    Some(ResidencySource::Claim(vec![Arc::from("org"), Arc::from("home")]))
}

#[test]
fn a_route_without_residency_may_be_served_anywhere() {
    assert_eq!(
        names(Residency::anywhere().allowed(&Principal::anonymous())),
        ["*"]
    );
}

#[test]
fn the_identity_decides_and_the_default_holds_when_it_says_nothing() {
    let rule = rule(Some(ResidencySource::Region), &["EU"]);

    assert_eq!(names(rule.allowed(&stated(Some("US")))), ["us-east"]);
    assert_eq!(names(rule.allowed(&stated(None))), ["eu-central", "eu-west"]);
}

#[test]
fn an_unknown_value_is_refused_even_with_a_default() {
    let refused = rule(Some(ResidencySource::Region), &["EU"])
        .allowed(&stated(Some("MARS")))
        .unwrap_err();

    assert_eq!(refused.reason, Reason::ResidencyUnknown);
    assert!(refused.detail.unwrap().decided_by.is_some());
}

#[test]
fn a_missing_value_without_a_default_is_refused() {
    assert!(
        rule(Some(ResidencySource::Region), &[])
            .allowed(&stated(None))
            .is_err()
    );
    assert!(rule(None, &[]).allowed(&stated(Some("EU"))).is_err());
}

#[test]
fn without_a_source_the_default_always_holds() {
    assert_eq!(
        names(rule(None, &["EU", "US"]).allowed(&stated(Some("US")))),
        ["eu-central", "eu-west", "us-east"]
    );
}

#[test]
fn a_claim_is_a_name_or_a_list_of_known_names() {
    let rule = rule(from_claim(), &[]);
    let allowed = |value: Value| rule.allowed(&claimed(json!({ "org": { "home": value } })));

    assert_eq!(names(allowed(json!("US"))), ["us-east"]);
    assert_eq!(
        names(allowed(json!(["US", "EU"]))),
        ["eu-central", "eu-west", "us-east"]
    );
    for refused in [
        json!(["US", "MARS"]),
        json!([]),
        json!(7),
        json!(["US", 7]),
        json!({}),
        json!(null),
        json!(""),
    ] {
        assert!(allowed(refused.clone()).is_err(), "{refused}");
    }
}

#[test]
fn an_unreadable_claim_is_not_a_missing_one() {
    let rule = rule(from_claim(), &["EU"]);

    assert!(rule.allowed(&claimed(json!({ "org": { "home": 7 } }))).is_err());
    assert_eq!(
        names(rule.allowed(&claimed(json!({ "org": {} })))),
        ["eu-central", "eu-west"]
    );
}

#[test]
fn a_default_that_nobody_knows_allows_nothing() {
    assert!(names(rule(None, &["MARS"]).allowed(&stated(None))).is_empty());
}
