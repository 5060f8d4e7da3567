use std::time::Duration;

use http::header::AUTHORIZATION;
use jsonwebtoken::Algorithm as Alg;
use portcullis_model::{Identity, TrustDomain};
use serde_json::{Value, json};

use super::*;
use crate::compile::{IdentityRuntime, compile};
use crate::jwt::FetchFault;
use crate::plan::{Algorithm, IdentityPlan, IssuerKind, IssuerPlan, KeySource, TrustAnchors, TrustPlan};
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
            revocation: None,
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

    fn judge_peer(&self, peer: &PeerIdentity) -> Result<Authenticated, Rejection> {
        self.judge_peer_at(peer, now())
    }

    fn judge_peer_at(&self, peer: &PeerIdentity, now: SystemTime) -> Result<Authenticated, Rejection> {
        let credentials = Credentials {
            headers: &HeaderMap::new(),
            peer: Some(peer),
        };
        self.authenticator.authenticate_offline(credentials, now)
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

mod claims_tests;
mod deny_tests;
mod examination_tests;
mod keys_tests;
mod memory_tests;
mod rules_tests;
mod standing_tests;
mod svid_tests;

#[test]
fn the_issuer_is_chosen_by_the_exact_iss_among_those_of_the_route() {
    let (ours, theirs) = (TestKey::es256("a"), TestKey::es256("a"));
    let mut partner = issuer_plan(KeySource::Document(jwks(&[&theirs]).into()));
    partner.id = IssuerId::new("partners");
    partner.kind = IssuerKind::Url("https://partner.example".into());
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
        Some("aud holds none of the accepted audiences; what passes: aud is or holds one of api")
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
