//! Wycheproof's JOSE vectors, all of them, through the parser, the key set and the signature check of traffic.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis_model::{Origin, Reason};
use serde_json::{Map, Value, json};
use wycheproof_ng_kdf_jose::json_web::{TestName, TestSet};

use super::Issuer;
use super::token::Jws;
use crate::authenticator::{Credentials, Scheme};
use crate::plan::{Algorithm, IdentityPlan, KeySource};
use crate::runtime::IdentityRuntime;
use crate::testing::{boards, issuer_plan, now};

/// Vectors in all; another number is another edition, whose table has to be read again.
const VECTORS: usize = 649;

/// Those of which we say what they say.
const MET: usize = 562;

/// Vectors of one set that are valid and that we refuse, and why. There is none that is invalid and that we accept.
struct Refused {
    set: TestName,
    vectors: &'static [RangeInclusive<usize>],
    /// Where they end: `KeysUnavailable` when the key set has no key for us, so that no issuer can be configured by it.
    reason: Reason,
    why: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused {
        set: TestName::JsonWebSignature,
        vectors: &[1..=1, 348..=348, 352..=352, 357..=359, 372..=373, 376..=377],
        reason: Reason::KeysUnavailable,
        why: SYMMETRIC,
    },
    Refused {
        set: TestName::JsonWebSignature,
        vectors: &[346..=346, 350..=350],
        reason: Reason::TokenAlgorithm,
        why: "the token says PS384 and the key PS256: a key is used with its own `alg` alone (RFC 7517 section 4.4, \
              RFC 8725 section 3.1)",
    },
    Refused {
        set: TestName::JsonWebSignature,
        vectors: &[347..=347, 351..=351],
        reason: Reason::KeysUnavailable,
        why: "P-521 is not accepted, and the key's `alg` is ES521, which is no algorithm of RFC 7518",
    },
    Refused {
        set: TestName::JsonWebKey,
        vectors: &[2..=2, 13..=15],
        reason: Reason::KeysUnavailable,
        why: SYMMETRIC,
    },
    Refused {
        set: TestName::JsonWebCrypto,
        vectors: &[1..=1, 48..=48],
        reason: Reason::KeysUnavailable,
        why: SYMMETRIC,
    },
    Refused {
        set: TestName::JsonWebCrypto,
        vectors: &[50..=50, 67..=67],
        reason: Reason::KeysUnavailable,
        why: ENCRYPTED,
    },
    Refused {
        set: TestName::JsonWebEncryption,
        vectors: &[
            1..=1,
            23..=23,
            28..=35,
            52..=62,
            66..=93,
            100..=105,
            112..=112,
            121..=121,
            128..=135,
        ],
        reason: Reason::KeysUnavailable,
        why: ENCRYPTED,
    },
];

const SYMMETRIC: &str = "who can verify such a token can make it: a gateway shares no secret with an issuer, and a published \
                         one is everybody's";
const ENCRYPTED: &str =
    "an encrypted token is opened by whom it is for; the gateway takes signed ones, and keys for signatures";

/// An issuer with one key set, and nothing else.
struct House {
    runtime: Option<IdentityRuntime>,
}

impl House {
    /// `None` within when the key set has no key that may verify tokens: such a configuration is refused.
    fn new(keys: &Value) -> Self {
        let document = match keys.get("keys") {
            Some(_) => keys.clone(),
            None => json!({ "keys": [keys] }),
        };
        let mut issuer = issuer_plan(KeySource::Document(document.to_string().into()));
        issuer.algorithms = Algorithm::ALL.to_vec();
        let plan = IdentityPlan {
            issuers: vec![issuer],
            ..IdentityPlan::default()
        };
        let compiled = crate::compile(&plan, None, &boards().0);
        Self {
            runtime: compiled.ok().map(|(runtime, _)| runtime),
        }
    }

    /// What becomes of a signature: parsed, its key found, checked. The payload may be anything.
    fn judge(&self, text: &str) -> Result<(), Reason> {
        let Some(runtime) = &self.runtime else {
            return Err(Reason::KeysUnavailable);
        };
        let issuer: &Arc<Issuer> = runtime.parts.issuers.values().next().unwrap();
        let token = Jws::parse(text)
            .map_err(|refusal| refusal.reason)?
            .with_claims(Map::new());
        issuer
            .check_signature(&token, &issuer.keys.loaded().unwrap())
            .map_err(|refusal| refusal.reason)
    }

    /// What a route says: no payload of these vectors is a set of claims, so that it lets nobody in.
    fn assert_lets_nobody_in(&self, text: &str, vector: &str) {
        let (Some(runtime), Ok(value)) = (&self.runtime, HeaderValue::from_str(&format!("Bearer {text}")))
        else {
            return;
        };
        let issuer = runtime.parts.issuers.keys().next().unwrap();
        let scheme = Scheme::Jwt(issuer.clone(), Origin::default());
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let credentials = Credentials {
            headers: &headers,
            peer: None,
        };
        let verdict = runtime
            .authenticator(&[scheme])
            .unwrap()
            .authenticate_offline(credentials, now());
        assert!(verdict.is_err(), "{vector} is somebody: {verdict:?}");
    }
}

/// The vector's text: compact, or JSON where it is an object.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        object => object.to_string(),
    }
}

impl Refused {
    fn holds(&self, set: TestName, vector: usize) -> bool {
        self.set == set && self.vectors.iter().any(|range| range.contains(&vector))
    }
}

#[test]
fn every_vector_is_met_or_refused_for_a_stated_reason() {
    let (mut met, mut refused) = (0, 0);
    for set in TestName::all() {
        for group in TestSet::load(set).unwrap().test_groups {
            let keys = group.public_key.or(group.private_key).unwrap();
            let house = House::new(&keys);
            for test in group.tests {
                let vector = format!(
                    "{set:?} {} ({}, {})",
                    test.tc_id, test.comment, group.group_comment
                );
                let text = text_of(test.jws.as_ref().or(test.jwe.as_ref()).unwrap());
                let ours = house.judge(&text);
                house.assert_lets_nobody_in(&text, &vector);

                let mut rows = REFUSED.iter().filter(|row| row.holds(set, test.tc_id));
                match (rows.next(), test.result.must_fail()) {
                    (None, must_fail) => {
                        assert_eq!(ours.is_err(), must_fail, "{vector}: {ours:?}");
                        met += 1;
                    }
                    (Some(row), false) => {
                        assert_eq!(ours, Err(row.reason), "{vector}, refused because {}", row.why);
                        refused += 1;
                    }
                    (Some(_), true) => panic!("{vector} has a reason and needs none"),
                }
                assert!(rows.next().is_none(), "{vector} has two reasons");
            }
        }
    }
    assert_eq!((met, refused), (MET, VECTORS - MET));
}

/// RFC 7517 section 9.2: a private key that somebody published verifies nothing any more.
#[test]
fn no_private_key_of_the_vectors_is_used() {
    let mut count = 0;
    for set in TestName::all() {
        for group in TestSet::load(set).unwrap().test_groups {
            let keys = group.private_key.unwrap();
            let each = keys
                .get("keys")
                .map_or(vec![&keys], |keys| keys.as_array().unwrap().iter().collect());
            for key in each
                .into_iter()
                .filter(|key| key.get("d").or(key.get("k")).is_some())
            {
                assert!(House::new(key).runtime.is_none(), "{key}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 90);
}

/// The vectors of base64 have symmetric keys, but the parser is the same for all. RFC 7515 section 2: no white space,
/// no padding, no other characters; where vectors say that readers may skip some (372, 373), ours does not.
#[test]
fn vectors_of_base64_that_are_invalid_do_not_parse() {
    let set = TestSet::load(TestName::JsonWebSignature).unwrap();
    let groups = set.test_groups.into_iter();
    let tests = groups
        .filter(|group| group.group_comment == "base64")
        .flat_map(|group| group.tests);
    let texts: BTreeMap<usize, String> = tests
        .map(|test| (test.tc_id, text_of(&test.jws.unwrap())))
        .collect();
    assert_eq!(texts.len(), 21);

    let parsed: Vec<_> = texts
        .iter()
        .filter(|(_, text)| Jws::parse(text).is_ok())
        .map(|(vector, _)| *vector)
        .collect();

    assert_eq!(parsed, [357, 358, 359, 367, 370, 376, 377]);
    // These two are called invalid, and yet they are the valid one: their padding was lost where they were written.
    assert_eq!((&texts[&367], &texts[&370]), (&texts[&357], &texts[&357]));
}
