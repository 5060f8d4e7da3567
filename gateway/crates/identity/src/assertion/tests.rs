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
use crate::plan::{AssertionKeyPlan, AssertionKeys, AssertionPlan, ForwardPlan, IdentityPlan};
use crate::testing::{TestCa, TestClock, boards, now};

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
fn a_key_is_named_by_its_thumbprint() {
    // RFC 8037 appendices A.1 to A.3: the private key, and the thumbprint of the public one.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let der = format!("302e020100300506032b657004220420{seed}");
    let der: Vec<u8> = (0..der.len())
        .step_by(2)
        .map(|index| u8::from_str_radix(&der[index..index + 2], 16).unwrap())
        .collect();
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");

    let key = SigningKey::read(&pem).unwrap();

    assert_eq!(&**key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(key.public()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
}

#[test]
fn a_published_key_set_holds_nothing_private() {
    for keys in [AssertionKeys::Made(DAY), given(&[&key_pem()])] {
        let scene = Scene::set(keys);
        let set = scene.runtime.assertion_keys();
        let members: BTreeSet<&str> = set["keys"][0]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();

        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"].into());
    }
}

#[test]
fn keys_of_other_kinds_and_what_is_no_key_are_refused() {
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)
        .unwrap()
        .serialize_pem();
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        .unwrap()
        .serialize_pem();
    let public = KeyPair::generate().unwrap().public_key_pem();
    let refused = [
        (p384, KeyRefusal::Unsupported),
        (rsa, KeyRefusal::Unsupported),
        (public, KeyRefusal::NotPem),
        ("no key".to_owned(), KeyRefusal::NotPem),
    ];

    for (pem, refusal) in refused {
        assert_eq!(SigningKey::read(&pem).unwrap_err(), refusal);
        let (boards, _, _) = boards();
        let problems = compile(&plan(given(&[&pem])), None, &boards).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.code == "assertion-key"),
            "{problems}"
        );
    }
    assert!(SigningKey::read(&key_pem()).is_ok());
}

#[test]
fn the_same_key_twice_is_a_problem() {
    let (boards, _, _) = boards();
    let pem = key_pem();

    let problems = compile(&plan(given(&[&pem, &pem])), None, &boards).unwrap_err();

    assert!(problems.to_string().contains("twice"), "{problems}");
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
fn a_key_made_here_is_published_before_it_signs_and_until_what_it_signed_has_ended() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let mut outstanding: Vec<(String, u64)> = Vec::new();
    // What an application knows that asks for the key set once in the time it may be remembered.
    let mut known = scene.runtime.assertion_keys();
    let mut asked = scene.now();
    let mut signers = BTreeSet::new();
    let step = Duration::from_secs(20);

    for number in 0..(3 * DAY.as_secs() / step.as_secs()) {
        if scene.now() >= asked + KEY_SET_MAX_AGE {
            known = scene.runtime.assertion_keys();
            asked = scene.now();
        }
        // Some every 20 s, so that every assertion is renewed many times.
        let mut principal = user(&format!("user-{}", number % 3), &[]);
        principal.expires_at = Some(scene.now() + Duration::from_secs(600));
        let token = scene.token(&principal);
        signers.insert(decode_header(&token).unwrap().kid.unwrap());
        outstanding.push((token, seconds(scene.now()) + 60));
        outstanding.retain(|(_, end)| *end >= seconds(scene.now()));
        if number % 50 == 0 || number % (DAY.as_secs() / step.as_secs()) < 12 {
            for (token, _) in &outstanding {
                assert!(verify(token, &known).is_some(), "step {number}");
            }
        }
        assert!(scene.kids().len() <= 2);
        scene.clock.advance(step);
    }

    assert_eq!(signers.len(), 3);
    assert_eq!(
        scene.kids().len(),
        2,
        "the fourth signs, and what the third signed has not ended"
    );
    scene.clock.advance(LIFETIME + LEEWAY + Duration::from_secs(1));
    assert_eq!(scene.kids().len(), 1, "what has ended is published no longer");
}

#[test]
fn a_key_whose_turn_came_late_is_published_before_it_signs_all_the_same() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let old = decode_header(&scene.token(&workload())).unwrap().kid;
    let long_lived = |scene: &Scene| {
        let mut principal = workload();
        principal.expires_at = Some(scene.now() + DAY);
        decode_header(&scene.token(&principal)).unwrap().kid
    };

    // Nobody asked for anything for three days.
    scene.clock.advance(DAY * 3);
    assert_eq!(long_lived(&scene), old);
    assert_eq!(scene.kids().len(), 2);
    scene
        .clock
        .advance(LIFETIME + KEY_SET_MAX_AGE - Duration::from_secs(1));
    assert_eq!(long_lived(&scene), old);
    scene.clock.advance(Duration::from_secs(1));
    assert_ne!(long_lived(&scene), old);
}

#[test]
fn a_reload_with_other_keys_leaves_what_was_signed_verifiable() {
    let (old, new) = (key_pem(), key_pem());
    let ways: [(AssertionKeys, AssertionKeys); 4] = [
        (given(&[&old]), given(&[&new, &old])),
        // Even without the overlap that the documentation asks for.
        (given(&[&old]), given(&[&new])),
        (AssertionKeys::Made(DAY), given(&[&new])),
        (given(&[&old]), AssertionKeys::Made(DAY)),
    ];
    for (before, after) in ways {
        let overlaps = matches!(&after, AssertionKeys::Given(keys) if keys.len() == 2);
        let mut scene = Scene::set(before);
        let token = scene.token(&workload());

        scene.reload(&plan(after));
        let renewed = scene.token(&workload());

        let keys = scene.runtime.assertion_keys();
        assert_ne!(
            decode_header(&renewed).unwrap().kid,
            decode_header(&token).unwrap().kid
        );
        assert!(verify(&token, &keys).is_some() && verify(&renewed, &keys).is_some());
        scene.clock.advance(LIFETIME + LEEWAY + Duration::from_secs(1));
        let keys = scene.runtime.assertion_keys();
        assert_eq!(verify(&token, &keys).is_some(), overlaps);
        assert!(verify(&renewed, &keys).is_some());
    }
}

#[test]
fn a_reload_that_changes_nothing_about_assertions_keeps_what_is_remembered() {
    let pem = key_pem();
    let mut scene = Scene::set(given(&[&pem]));
    let token = scene.token(&workload());

    let mut moved = plan(given(&[&pem]));
    moved.assertion.as_mut().unwrap().origin = Origin::of("elsewhere");
    scene.reload(&moved);
    assert_eq!(scene.token(&workload()), token);

    let mut other = plan(given(&[&pem]));
    other.assertion.as_mut().unwrap().issuer = "https://other.example".into();
    scene.reload(&other);
    assert_ne!(scene.token(&workload()), token);
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

#[test]
fn a_certificate_that_has_ended_or_that_nobody_showed_is_not_told() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let peer = PeerIdentity::from_chain(&TestCa::new("ca").leaf(&["spiffe://corp.example/web"]).chain);
    let mut ended = peer.clone();
    ended.valid_until = now() - Duration::from_secs(1);
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
