#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use portcullis_model::{Attributes, Identity, IssuerId, Origin, Principal, Proof, Reason, Redacted, Subject};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::board::LEEWAY;
use super::*;
use crate::boards::Boards;
use crate::compile::{IdentityRuntime, compile};
use crate::mtls::{PeerIdentity, WorkloadIdentity};
use crate::plan::{AssertionKeyPlan, AssertionKeys, AssertionPlan, ForwardPlan, IdentityPlan, KeySource};
use crate::testing::{KEYS_URL, TestCa, TestClock, boards, issuer_plan, now};

mod keys;

const LIFETIME: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A gateway that forwards to the pool `orders`, and the clock that it goes by.
struct Scene {
    boards: Boards,
    clock: TestClock,
    runtime: IdentityRuntime,
}

fn key_pem() -> String {
    KeyPair::generate().unwrap().serialize_pem()
}

fn given(pems: &[&String]) -> AssertionKeys {
    let plans = pems.iter().map(|pem| AssertionKeyPlan {
        origin: Origin::of("identity.assertion.keys"),
        pem: Redacted::new(pem.as_str().into()),
    });
    AssertionKeys::Given(plans.collect())
}

fn plan(keys: AssertionKeys) -> IdentityPlan {
    IdentityPlan {
        assertion: Some(AssertionPlan {
            origin: Origin::of("identity.assertion"),
            issuer: "https://gw.example".into(),
            keys,
            lifetime: LIFETIME,
        }),
        forwards: vec![ForwardPlan {
            pool: "orders".into(),
            origin: Origin::of("pools.orders.forward_identity"),
            audience: Some("orders".into()),
            client_certificate: true,
        }],
        ..IdentityPlan::default()
    }
}

impl Scene {
    fn set(keys: AssertionKeys) -> Self {
        let (boards, clock, _) = boards();
        let (runtime, problems) = compile(&plan(keys), None, &boards).unwrap();
        assert!(problems.is_empty(), "{problems}");
        Self {
            boards,
            clock,
            runtime,
        }
    }

    fn reload(&mut self, plan: &IdentityPlan) {
        self.runtime = compile(plan, Some(&self.runtime), &self.boards).unwrap().0;
    }

    fn now(&self) -> SystemTime {
        self.boards.clock.wall()
    }

    fn told(&self, principal: &Principal, peer: Option<&PeerIdentity>) -> Result<HeaderMap, Reason> {
        let mut headers = HeaderMap::new();
        let forwarding = self.runtime.forwarding(&"orders".into()).unwrap();
        let written = forwarding.write(principal, peer, self.now(), &mut headers);
        written.map(|()| headers).map_err(|rejection| rejection.reason)
    }

    fn token(&self, principal: &Principal) -> String {
        let headers = self.told(principal, None).unwrap();
        headers[IDENTITY].to_str().unwrap().to_owned()
    }

    fn kids(&self) -> BTreeSet<String> {
        let set = self.runtime.assertion_keys();
        let keys = set["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// What an application does: the key by its name out of the key set, then a library.
fn verify(token: &str, set: &Value) -> Option<Value> {
    let set: JwkSet = serde_json::from_value(set.clone()).unwrap();
    let header = decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("portcullis-identity+jwt"));
    let key = set.find(&header.kid.unwrap())?;
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["orders"]);
    validation.set_issuer(&["https://gw.example"]);
    // The tests' present is not this machine's.
    validation.validate_exp = false;
    let verified = decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation);
    Some(verified.unwrap().claims)
}

fn user(name: &str, roles: &[&str]) -> Principal {
    Principal {
        identity: Identity::User(Subject {
            issuer: IssuerId::new("customers"),
            issuer_url: "https://login.example.com".into(),
            subject: name.into(),
        }),
        proof: Proof::Jwt,
        attributes: Arc::new(Attributes {
            tenant: Some("acme".into()),
            roles: roles.iter().map(|role| Arc::from(*role)).collect(),
            scopes: vec!["read".into()],
            region: Some("eu".into()),
            claims: json!({ "secret": "stays here" }),
        }),
        expires_at: Some(now() + Duration::from_secs(600)),
    }
}

fn workload() -> Principal {
    Principal {
        identity: Identity::Workload("spiffe://corp.example/web".parse().unwrap()),
        proof: Proof::Mtls,
        attributes: Arc::default(),
        expires_at: Some(now() + Duration::from_secs(600)),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn an_application_verifies_an_assertion_by_the_published_keys() {
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .unwrap()
        .serialize_pem();
    for (keys, algorithm) in [
        (AssertionKeys::Made(DAY), "ES256"),
        (given(&[&key_pem()]), "ES256"),
        (given(&[&ed25519, &key_pem()]), "EdDSA"),
    ] {
        let scene = Scene::set(keys);

        let token = scene.token(&user("alice", &["admin", "buyer"]));
        let claims = verify(&token, &scene.runtime.assertion_keys()).unwrap();

        assert_eq!(format!("{:?}", decode_header(&token).unwrap().alg), algorithm);
        let mut expected = json!({
            "iss": "https://gw.example", "aud": "orders", "sub": "customers:alice",
            "iat": seconds(now()), "exp": seconds(now()) + 60,
            "principal_kind": "user", "proof": "jwt", "issuer": "https://login.example.com",
            "tenant": "acme", "roles": ["admin", "buyer"], "scopes": ["read"], "region": "eu",
        });
        expected["jti"] = claims["jti"].clone();
        assert_eq!(claims, expected);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    }
}

#[test]
fn a_workload_is_told_by_its_spiffe_id_and_what_is_not_known_is_absent() {
    let scene = Scene::set(AssertionKeys::Made(DAY));

    let claims = verify(&scene.token(&workload()), &scene.runtime.assertion_keys()).unwrap();

    assert_eq!(claims["sub"], "spiffe://corp.example/web");
    assert_eq!(
        (&claims["principal_kind"], &claims["proof"]),
        (&json!("workload"), &json!("mtls"))
    );
    for absent in ["issuer", "tenant", "roles", "scopes", "region"] {
        assert!(claims.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn an_assertion_of_another_audience_or_changed_by_a_letter_is_not_verified() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let token = scene.token(&workload());
    let set: JwkSet = serde_json::from_value(scene.runtime.assertion_keys()).unwrap();
    let key = DecodingKey::from_jwk(&set.keys[0]).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_exp = false;
    let mut payments = validation.clone();
    payments.set_audience(&["payments"]);
    validation.set_audience(&["orders"]);
    let (head, tail) = token.split_at(token.len() / 2);
    let letter = if tail.starts_with('A') { "B" } else { "A" };
    let changed = format!("{head}{letter}{}", &tail[1..]);

    assert!(decode::<Value>(&token, &key, &validation).is_ok());
    assert!(decode::<Value>(&token, &key, &payments).is_err());
    assert!(decode::<Value>(&changed, &key, &validation).is_err());
}

#[test]
fn of_an_anonymous_principal_nothing_is_said() {
    let scene = Scene::set(AssertionKeys::Made(DAY));

    assert!(scene.told(&Principal::anonymous(), None).unwrap().is_empty());
    assert!(scene.told(&workload(), None).unwrap().contains_key(IDENTITY));
}

#[test]
fn an_assertion_never_outlives_the_proof() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let keys = scene.runtime.assertion_keys();
    let ends_in = |seconds_left: u64| {
        let mut principal = workload();
        principal.expires_at = Some(now() + Duration::from_secs(seconds_left));
        let claims = verify(&scene.token(&principal), &keys).unwrap();
        claims["exp"].as_u64().unwrap() - seconds(now())
    };

    for (left, expected) in [(3600, 60), (61, 60), (60, 60), (59, 59), (7, 7), (0, 0)] {
        assert_eq!(ends_in(left), expected, "{left}");
    }
}

#[test]
fn an_assertion_is_signed_once_until_a_third_of_it_is_left() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let first = scene.token(&workload());

    scene.clock.advance(Duration::from_secs(39));
    assert_eq!(scene.token(&workload()), first);
    scene.clock.advance(Duration::from_secs(1));
    let second = scene.token(&workload());

    assert_ne!(second, first);
    let claims = verify(&second, &scene.runtime.assertion_keys()).unwrap();
    assert_eq!(claims["iat"].as_u64().unwrap(), seconds(now()) + 40);
}

#[test]
fn one_that_could_not_end_later_is_sent_until_its_end() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let mut principal = workload();
    principal.expires_at = Some(now() + Duration::from_secs(30));
    let first = scene.token(&principal);

    scene.clock.advance(Duration::from_secs(29));

    assert_eq!(scene.token(&principal), first);
}

#[test]
fn an_assertion_from_the_future_is_not_sent_once_the_clock_was_put_right() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let mut principal = workload();
    principal.expires_at = Some(now() + DAY * 30);
    let early = scene.token(&principal);

    scene.clock.put_by(-24 * 3600);
    let right = scene.token(&principal);

    assert_ne!(right, early);
    let claims = verify(&right, &scene.runtime.assertion_keys()).unwrap();
    assert_eq!(claims["iat"].as_u64().unwrap(), seconds(now()) - 24 * 3600);
    assert_eq!(scene.token(&principal), right);
}

#[test]
fn whatever_a_claim_depends_on_makes_another_assertion() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let base = user("alice", &["admin"]);
    let with = |change: fn(&mut Principal)| {
        let mut principal = base.clone();
        change(&mut principal);
        principal
    };
    let attributes = |principal: &mut Principal| (*principal.attributes).clone();
    let others = [
        user("bob", &["admin"]),
        user("alice", &[]),
        user("alice", &["admin", "buyer"]),
        workload(),
        with(|principal| principal.proof = Proof::Mtls),
        with(|principal| principal.expires_at = Some(now() + Duration::from_secs(599))),
        with(|principal| {
            principal.attributes = Arc::new(Attributes {
                tenant: Some("other".into()),
                ..(*principal.attributes).clone()
            });
        }),
        with(|principal| {
            principal.attributes = Arc::new(Attributes {
                region: None,
                ..(*principal.attributes).clone()
            });
        }),
        with(|principal| {
            principal.attributes = Arc::new(Attributes {
                scopes: vec!["read".into(), "write".into()],
                ..(*principal.attributes).clone()
            });
        }),
    ];
    let first = scene.token(&base);

    for other in &others {
        assert_ne!(scene.token(other), first, "{other:?}");
    }
    // Claims that are not forwarded change nothing, nor does another copy of the same attributes.
    let mut same = base.clone();
    same.attributes = Arc::new(Attributes {
        claims: Value::Null,
        ..attributes(&mut same)
    });
    assert_eq!(scene.token(&same), first);
}

#[test]
fn a_principal_that_does_not_fit_is_refused_not_cut() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let roles: Vec<String> = (0..400).map(|number| format!("role-{number}")).collect();
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();

    assert_eq!(scene.told(&user("alice", &roles), None), Err(Reason::Internal));
    let fits = scene.token(&user("alice", &roles[..200]));
    assert!(fits.len() <= 4096);
    let claims = verify(&fits, &scene.runtime.assertion_keys()).unwrap();
    assert_eq!(claims["roles"].as_array().unwrap().len(), 200);
}

#[test]
fn an_assertion_without_a_signer_is_a_problem() {
    let (boards, _, _) = boards();
    let mut plan = plan(AssertionKeys::Made(DAY));
    plan.assertion = None;

    let problems = compile(&plan, None, &boards).unwrap_err();
    assert!(
        problems.iter().any(|problem| problem.code == "missing-assertion"),
        "{problems}"
    );

    plan.forwards[0].audience = None;
    assert!(compile(&plan, None, &boards).is_ok());
}

#[test]
fn the_certificate_of_the_connection_is_told_with_our_own_name() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let ca = TestCa::new("ca");
    let leaf = ca.leaf(&["spiffe://corp.example/web"]);
    let peer = PeerIdentity::from_chain(&leaf.chain);
    let hash: String = peer
        .fingerprint
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let element = |scene: &Scene| scene.told(&workload(), Some(&peer)).unwrap()[CLIENT_CERTIFICATE].clone();
    let known = format!("Hash={hash};Subject=\"CN=rcgen self signed cert\";URI=spiffe://corp.example/web");

    assert_eq!(element(&scene), known);

    let us = "spiffe://corp.example/gateway";
    let mut delivered = scene;
    let mut plan = plan(AssertionKeys::Made(DAY));
    plan.workload_api = true;
    delivered.reload(&plan);
    let identity = WorkloadIdentity {
        svid: Some(ca.leaf(&[us]).svid(us)),
        ..WorkloadIdentity::default()
    };
    delivered.boards.workload.publish(identity).unwrap();

    assert_eq!(element(&delivered), format!("By={us};{known}"));
}

/// One connection, many requests and several pools: what is told of it follows our name all the same.
#[test]
fn the_element_of_a_connection_follows_our_own_name() {
    let ca = TestCa::new("ca");
    let mut scene = Scene::set(AssertionKeys::Made(DAY));
    let mut plan = plan(AssertionKeys::Made(DAY));
    plan.workload_api = true;
    scene.reload(&plan);
    let (one, other) = (
        PeerIdentity::from_chain(&ca.leaf(&["spiffe://corp.example/web"]).chain),
        PeerIdentity::from_chain(&ca.leaf(&["spiffe://corp.example/batch"]).chain),
    );
    let element = |peer: &PeerIdentity| {
        let headers = scene.told(&workload(), Some(peer)).unwrap();
        headers[CLIENT_CERTIFICATE].to_str().unwrap().to_owned()
    };
    let deliver = |us: &str| {
        let identity = WorkloadIdentity {
            svid: Some(ca.leaf(&[us]).svid(us)),
            ..WorkloadIdentity::default()
        };
        scene.boards.workload.publish(identity).unwrap();
    };

    let bare = element(&one);
    assert!(bare.starts_with("Hash=") && bare.ends_with("/web"), "{bare}");
    for us in ["spiffe://corp.example/gateway", "spiffe://corp.example/edge"] {
        deliver(us);
        for _ in 0..2 {
            assert_eq!(element(&one), format!("By={us};{bare}"));
            assert_ne!(element(&other), element(&one));
        }
    }
}

#[test]
fn a_certificate_that_has_ended_or_that_nobody_showed_is_not_told() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let peer = PeerIdentity::from_chain(&TestCa::new("ca").leaf(&["spiffe://corp.example/web"]).chain);
    let mut ended = peer.clone();
    ended.not_after = now() - Duration::from_secs(1);
    let tells = |peer: Option<&PeerIdentity>| {
        let headers = scene.told(&workload(), peer).unwrap();
        headers.contains_key(CLIENT_CERTIFICATE)
    };

    assert!(tells(Some(&peer)));
    assert!(!tells(Some(&ended)) && !tells(None));
}

#[test]
fn fields_that_are_there_already_are_replaced_or_removed() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let forwarding = scene.runtime.forwarding(&"orders".into()).unwrap();
    let mut headers = HeaderMap::new();
    for name in [IDENTITY, CLIENT_CERTIFICATE] {
        headers.append(name.clone(), HeaderValue::from_static("spoofed"));
        headers.append(name, HeaderValue::from_static("spoofed"));
    }

    forwarding.write(&workload(), None, now(), &mut headers).unwrap();

    assert_eq!(headers.len(), 1);
    assert_ne!(headers[IDENTITY], "spoofed");
    assert!(headers[IDENTITY].is_sensitive());
    forwarding
        .rehearse(&workload(), None, now(), &mut headers)
        .unwrap();
    assert_eq!(headers[IDENTITY], "(signed when it is sent)");
}

#[test]
fn our_fields_are_known_in_every_spelling_an_endpoint_may_fold() {
    let ours = |name: &str| is_written_by_us(&HeaderName::try_from(name).unwrap());

    for name in [
        "x-portcullis-identity",
        "X-Portcullis-Identity",
        "x_portcullis_identity",
        "x.portcullis-identity",
        "x-forwarded-client-cert",
        "X-Forwarded_Client-Cert",
    ] {
        assert!(ours(name), "{name}");
    }
    for name in [
        "x-portcullis-identities",
        "x-portcullis-identit",
        "x-forwarded-client-certs",
        "x-forwarded-for",
        "xaportcullisaidentity",
        "authorization",
    ] {
        assert!(!ours(name), "{name}");
    }
}
