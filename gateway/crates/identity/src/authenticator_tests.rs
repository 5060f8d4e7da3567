use std::time::Duration;

use jsonwebtoken::Algorithm as Alg;
use portcullis_model::{Identity, TrustDomain};
use serde_json::{Value, json};

use super::*;
use crate::compile::{IdentityRuntime, compile};
use crate::jwt::FetchFault;
use crate::plan::{Algorithm, IdentityPlan, IssuerPlan, KeySource, TrustAnchors, TrustPlan};
use crate::testing::{
    ISSUER, KEYS_URL, ScriptedFetch, TestCa, TestClock, TestKey, at, boards, claims, claims_with,
    issuer_plan, jwks, now,
};

const WEB: &str = "spiffe://corp.example/web";

struct Setup {
    boards: Boards,
    clock: TestClock,
    fetch: Arc<ScriptedFetch>,
    runtime: IdentityRuntime,
    ca: TestCa,
    authenticator: Authenticator,
}

impl Setup {
    fn of(issuers: Vec<IssuerPlan>, order: &[&str]) -> Self {
        let (boards, clock, fetch) = boards();
        let ca = TestCa::new("ca");
        let trust = TrustPlan {
            id: TrustId::new("mesh"),
            origin: Origin::of("trust.mesh"),
            anchors: TrustAnchors::TrustDomain(TrustDomain::new("corp.example").unwrap(), Some(ca.anchors())),
        };
        let plan = IdentityPlan {
            issuers,
            trust: vec![trust],
            ..IdentityPlan::default()
        };
        let (runtime, _) = compile(&plan, None, &boards).unwrap();
        let authenticator = runtime.authenticator(&schemes(order)).unwrap();
        Self {
            boards,
            clock,
            fetch,
            runtime,
            ca,
            authenticator,
        }
    }

    fn document(keys: &[&TestKey]) -> Self {
        Self::of(
            vec![issuer_plan(KeySource::Document(jwks(keys).into()))],
            &["customers"],
        )
    }

    fn url() -> Self {
        Self::of(vec![issuer_plan(KeySource::Url(KEYS_URL.into()))], &["customers"])
    }

    fn judge(&self, token: &str) -> Result<Authenticated, Rejection> {
        self.judge_at(token, now())
    }

    fn judge_at(&self, token: &str, now: SystemTime) -> Result<Authenticated, Rejection> {
        let headers = bearer_of(token);
        self.authenticator.authenticate_offline(
            Credentials {
                headers: &headers,
                peer: None,
            },
            now,
        )
    }

    async fn judge_online(&self, token: &str) -> Result<Authenticated, Rejection> {
        let headers = bearer_of(token);
        self.authenticator
            .authenticate(
                Credentials {
                    headers: &headers,
                    peer: None,
                },
                now(),
            )
            .await
    }

    fn refusal(&self, token: &str) -> Reason {
        self.judge(token).unwrap_err().reason
    }

    fn signature_checks(&self) -> u64 {
        self.boards.metrics.signature_checks("customers")
    }
}

fn schemes(order: &[&str]) -> Vec<Scheme> {
    let scheme = |(position, name): (usize, &&str)| {
        let origin = Origin::of(format!("routes[0].authenticate[{position}]"));
        match *name {
            "mesh" => Scheme::Mtls(TrustId::new("mesh"), origin),
            issuer => Scheme::Jwt(IssuerId::new(issuer), origin),
        }
    };
    order.iter().enumerate().map(scheme).collect()
}

fn bearer_of(token: &str) -> HeaderMap {
    fields(&[&format!("Bearer {token}")])
}

fn fields(values: &[&str]) -> HeaderMap {
    values
        .iter()
        .map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn challenge_of(rejection: &Rejection) -> String {
    let (name, value) = &rejection.detail.as_ref().unwrap().headers[0];
    assert_eq!(name, WWW_AUTHENTICATE);
    value.to_str().unwrap().to_owned()
}

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

#[test]
fn the_issuer_is_chosen_by_the_exact_iss_among_those_of_the_route() {
    let (ours, theirs) = (TestKey::es256("a"), TestKey::es256("a"));
    let mut partner = issuer_plan(KeySource::Document(jwks(&[&theirs]).into()));
    partner.id = IssuerId::new("partners");
    partner.issuer = "https://partner.example".into();
    let customers = issuer_plan(KeySource::Document(jwks(&[&ours]).into()));
    let both = Setup::of(vec![customers, partner], &["customers", "partners"]);
    let of_partner = claims_with("iss", json!("https://partner.example"));

    assert_eq!(
        both.judge(&theirs.sign(&of_partner)).unwrap().by.path.as_ref(),
        "routes[0].authenticate[1]"
    );
    assert!(both.judge(&ours.sign(&claims())).is_ok());
    assert_eq!(both.refusal(&ours.sign(&of_partner)), Reason::TokenSignature);
    for iss in [
        json!("https://login.example.com/"),
        json!("HTTPS://login.example.com"),
        json!(""),
    ] {
        assert_eq!(
            both.refusal(&ours.sign(&claims_with("iss", iss))),
            Reason::TokenIssuerUnknown
        );
    }
    assert_eq!(
        both.refusal(&ours.sign(&claims_with("iss", json!(null)))),
        Reason::TokenClaims
    );
    let only = both.runtime.authenticator(&schemes(&["customers"])).unwrap();
    let headers = bearer_of(&theirs.sign(&of_partner));
    let refused = only
        .authenticate_offline(
            Credentials {
                headers: &headers,
                peer: None,
            },
            now(),
        )
        .unwrap_err();
    assert_eq!(refused.reason, Reason::TokenIssuerUnknown);
}

#[test]
fn two_issuers_with_one_iss_are_told_apart_by_audience() {
    let key = TestKey::es256("a");
    let api = issuer_plan(KeySource::Document(jwks(&[&key]).into()));
    let mut admin = api.clone();
    admin.id = IssuerId::new("admins");
    admin.audiences = vec!["admin".into()];
    let setup = Setup::of(vec![api, admin], &["customers", "admins"]);

    let proven = setup
        .judge(&key.sign(&claims_with("aud", json!("admin"))))
        .unwrap();

    assert_eq!(proven.principal.to_string(), "admins:alice");
}

#[test]
fn the_second_use_of_a_token_checks_no_signature() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims());

    let first = setup.judge(&token).unwrap();
    let second = setup.judge(&token).unwrap();

    assert_eq!(first, second);
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

#[test]
fn nothing_presented_is_answered_with_a_bare_challenge() {
    let setup = Setup::document(&[&TestKey::es256("a")]);
    let judge = |headers: &HeaderMap| {
        setup
            .authenticator
            .authenticate_offline(Credentials { headers, peer: None }, now())
            .unwrap_err()
    };

    for headers in [HeaderMap::new(), fields(&["Basic YTpi"])] {
        let refused = judge(&headers);
        assert_eq!(refused.reason, Reason::CredentialsMissing);
        assert_eq!(challenge_of(&refused), r#"Bearer realm="portcullis""#);
    }
}

#[test]
fn a_field_that_is_not_one_bearer_token_is_refused() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims());
    let judge = |values: &[&str]| {
        let headers = fields(values);
        setup.authenticator.authenticate_offline(
            Credentials {
                headers: &headers,
                peer: None,
            },
            now(),
        )
    };

    assert!(judge(&[&format!("bEaReR  {token}")]).is_ok());
    for values in [
        &["Bearer"][..],
        &["Bearer "],
        &["Bearer a b"],
        &[&format!("Bearer {token}, Bearer {token}")],
        &[&format!("Bearer {token}"), "Basic YTpi"],
        &["Basic YTpi", &format!("Bearer {token}")],
    ] {
        let refused = judge(values).unwrap_err();
        assert_eq!(refused.reason, Reason::TokenMalformed, "{values:?}");
        assert!(challenge_of(&refused).contains(r#"error="invalid_token""#));
    }
}

#[test]
fn a_refusal_names_the_check_and_the_line_and_never_the_token() {
    let key = TestKey::es256("a");
    let setup = Setup::document(&[&key]);
    let token = key.sign(&claims_with("aud", json!("secret-audience")));

    let refused = setup.judge(&token).unwrap_err();

    let challenge = challenge_of(&refused);
    let detail = refused.detail.unwrap();
    assert_eq!(
        detail.decided_by.unwrap().path.as_ref(),
        "routes[0].authenticate[0]"
    );
    assert_eq!(
        detail.private.as_deref(),
        Some("aud holds none of the accepted audiences")
    );
    assert_eq!(
        challenge,
        r#"Bearer realm="portcullis", error="invalid_token", error_description="The token is for another audience""#
    );
}

#[test]
fn a_certificate_proves_a_workload() {
    let setup = Setup::of(vec![], &["mesh"]);
    let peer = PeerIdentity::from_chain(&setup.ca.leaf(&[WEB]).chain);
    let stranger = PeerIdentity::from_chain(&TestCa::new("other").leaf(&[WEB]).chain);
    let judge = |peer: Option<&PeerIdentity>| {
        setup.authenticator.authenticate_offline(
            Credentials {
                headers: &HeaderMap::new(),
                peer,
            },
            now(),
        )
    };

    let proven = judge(Some(&peer)).unwrap();
    assert_eq!(proven.principal.spiffe_id().unwrap().to_string(), WEB);
    assert_eq!(proven.principal.expires_at, Some(peer.not_after));
    assert_eq!(
        judge(Some(&stranger)).unwrap_err().reason,
        Reason::CertificateUntrusted
    );
    let missing = judge(None).unwrap_err();
    assert_eq!(missing.reason, Reason::CertificateMissing);
    assert_eq!(challenge_of(&missing), CERTIFICATE_CHALLENGE);
}

#[test]
fn the_first_credential_that_is_present_decides() {
    let key = TestKey::es256("a");
    let issuer = issuer_plan(KeySource::Document(jwks(&[&key]).into()));
    let setup = Setup::of(vec![issuer], &["customers", "mesh"]);
    let reversed = setup
        .runtime
        .authenticator(&schemes(&["mesh", "customers"]))
        .unwrap();
    let peer = PeerIdentity::from_chain(&setup.ca.leaf(&[WEB]).chain);
    let (good, bad) = (bearer_of(&key.sign(&claims())), bearer_of("broken"));
    let none = HeaderMap::new();
    let with = |authenticator: &Authenticator, headers: &HeaderMap, peer: Option<&PeerIdentity>| {
        authenticator
            .authenticate_offline(Credentials { headers, peer }, now())
            .map(|proven| proven.principal.proof)
    };

    assert_eq!(
        with(&setup.authenticator, &good, Some(&peer)).unwrap(),
        Proof::Jwt
    );
    assert_eq!(with(&reversed, &good, Some(&peer)).unwrap(), Proof::Mtls);
    assert_eq!(
        with(&setup.authenticator, &none, Some(&peer)).unwrap(),
        Proof::Mtls
    );
    assert_eq!(with(&reversed, &good, None).unwrap(), Proof::Jwt);
    assert_eq!(
        with(&setup.authenticator, &bad, Some(&peer)).unwrap_err().reason,
        Reason::TokenMalformed
    );
    assert_eq!(
        with(&setup.authenticator, &none, None).unwrap_err().reason,
        Reason::CredentialsMissing
    );
}

#[test]
fn a_scheme_that_the_plan_does_not_have_is_a_problem() {
    let setup = Setup::of(vec![], &["mesh"]);

    let problems = setup
        .runtime
        .authenticator(&schemes(&["nobody", "mesh"]))
        .unwrap_err();

    assert_eq!(problems.iter().count(), 1);
    assert!(problems.to_string().contains(r#"unknown issuer "nobody""#));
}
