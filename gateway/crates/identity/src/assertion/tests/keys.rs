//! Keys: what they are named, which are refused, and how they take turns.

use super::*;

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
    let old = decode_header(scene.token(&workload())).unwrap().kid;
    let long_lived = |scene: &Scene| {
        let mut principal = workload();
        principal.expires_at = Some(scene.now() + DAY);
        decode_header(scene.token(&principal)).unwrap().kid
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

/// The key that signs now; the principal is another one each time, so that nothing remembered is sent.
fn signs(scene: &Scene) -> String {
    let mut principal = workload();
    principal.expires_at = Some(now() + DAY * 30 + scene.clock.passed());
    decode_header(scene.token(&principal)).unwrap().kid.unwrap()
}

/// Whoever verifies asks for the keys by time that passes, whatever our clock is set to.
#[test]
fn a_key_made_here_is_published_before_it_signs_although_the_clock_is_put_forward() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let old = signs(&scene);
    scene.clock.advance(DAY - LIFETIME);
    assert_eq!(scene.kids().len(), 2, "the next one is published");

    scene.clock.put_by(3600);

    assert_eq!(signs(&scene), old);
    scene
        .clock
        .advance(LIFETIME + KEY_SET_MAX_AGE - Duration::from_secs(1));
    assert_eq!(signs(&scene), old);
    scene.clock.advance(Duration::from_secs(1));
    assert_ne!(signs(&scene), old);
}

#[test]
fn keys_take_turns_although_the_clock_is_put_back() {
    let scene = Scene::set(AssertionKeys::Made(DAY));
    let old = signs(&scene);

    scene.clock.put_by(-7 * 24 * 3600);
    scene.clock.advance(DAY);
    assert_eq!(scene.kids().len(), 2, "the next one is published");
    scene.clock.advance(LIFETIME + KEY_SET_MAX_AGE);

    assert_ne!(signs(&scene), old);
}

/// Elsewhere the clock is as it was, and what was signed holds.
#[test]
fn a_key_that_signs_no_more_is_published_for_its_time_although_the_clock_is_put_forward() {
    let given_keys = || given(&[&key_pem()]);
    for (before, after) in [
        (given_keys(), given_keys()),
        (AssertionKeys::Made(DAY), given_keys()),
        (given_keys(), AssertionKeys::Made(DAY)),
    ] {
        let mut scene = Scene::set(before);
        let old = signs(&scene);
        scene.reload(&plan(after));

        scene.clock.put_by(3600);

        assert!(scene.kids().contains(&old));
        scene.clock.advance(LIFETIME + LEEWAY);
        assert!(scene.kids().contains(&old));
        scene.clock.advance(Duration::from_secs(1));
        assert!(!scene.kids().contains(&old));
    }
}

#[test]
fn a_reload_that_is_refused_often_pushes_no_key_out() {
    let mut scene = Scene::set(given(&[&key_pem()]));
    let old = signs(&scene);
    scene.reload(&plan(given(&[&key_pem()])));

    for _ in 0..200 {
        let refused = plan(given(&[&"no key".to_owned()]));
        assert!(compile(&refused, Some(&scene.runtime), &scene.boards).is_err());
    }

    assert!(scene.kids().contains(&old));
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
        let generation = scene.runtime.generation();

        scene.reload(&plan(after));
        assert_eq!(scene.runtime.generation(), generation, "no session ends over it");
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

/// A user of an issuer named `spiffe` is `spiffe:…`, and `spiffe://corp.example/web` is a workload.
#[test]
fn no_issuer_is_named_so_that_its_users_could_be_taken_for_workloads_not_even_by_a_reload() {
    let mut scene = Scene::set(AssertionKeys::Made(DAY));
    let named = |id: &str| {
        let mut issuer = issuer_plan(KeySource::Url(KEYS_URL.into()));
        issuer.id = IssuerId::new(id);
        IdentityPlan {
            issuers: vec![issuer],
            ..plan(AssertionKeys::Made(DAY))
        }
    };
    scene.reload(&named("customers"));

    for id in ["spiffe", "SPIFFE"] {
        for previous in [None, Some(&scene.runtime)] {
            let problems = compile(&named(id), previous, &scene.boards).unwrap_err();
            let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
            assert_eq!(codes, ["issuer-name"], "{id}: {problems}");
        }
        let mut unsigned = named(id);
        (unsigned.assertion, unsigned.forwards) = (None, Vec::new());
        assert!(compile(&unsigned, Some(&scene.runtime), &scene.boards).is_ok());
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
