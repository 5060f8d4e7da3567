//! Who pays from which bucket: the parts of a key, folded into one keyed hash.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;

use portcullis_model::{Principal, RequestHead, RouteId};
use serde_json::Value;

use crate::plan::KeyPart;

/// What is known of a request at a limit point.
#[derive(Clone, Copy, Debug)]
pub struct LimitFacts<'a> {
    /// The request.
    pub head: &'a RequestHead<'a>,
    /// The name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The route, once it is matched.
    pub route: Option<&'a RouteId>,
    /// The principal, once it is proven.
    pub principal: Option<&'a Principal>,
}

/// Hashes keys with secrets drawn when the process starts: nobody outside can make two keys meet on purpose, and a
/// published hash gives no identity away.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyHash {
    high: RandomState,
    low: RandomState,
}

impl KeyHash {
    pub(super) fn key(&self, parts: &[KeyPart], facts: &LimitFacts<'_>) -> u128 {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            for part in parts {
                hash_part(part, facts, &mut hasher);
            }
            u128::from(hasher.finish())
        };
        (half(&self.high) << 64) | half(&self.low)
    }
}

/// Every part is hashed with its kind and its presence, so that an absent tenant is a key of its own and parts
/// cannot run into one another.
fn hash_part(part: &KeyPart, facts: &LimitFacts<'_>, hasher: &mut impl Hasher) {
    std::mem::discriminant(part).hash(hasher);
    match part {
        KeyPart::ClientAddress => hash_address(facts.head.client, hasher),
        KeyPart::Sni => hash_name(facts.sni, hasher),
        KeyPart::Host => hash_name(Some(facts.head.host), hasher),
        KeyPart::Route => facts.route.hash(hasher),
        KeyPart::Principal => facts.principal.map(|principal| &principal.identity).hash(hasher),
        KeyPart::Tenant => {
            facts
                .principal
                .and_then(|principal| principal.attributes.tenant.as_deref())
                .hash(hasher);
        }
        KeyPart::Claim(path) => {
            let claims = facts.principal.map(|principal| &principal.attributes.claims);
            let claim = path
                .iter()
                .try_fold(claims, |value, step| value.map(|value| value.get(step.as_ref())));
            hash_value(claim.flatten().unwrap_or(&Value::Null), hasher);
        }
        KeyPart::Header(name) => {
            name.hash(hasher);
            for value in facts.head.headers.get_all(name) {
                value.as_bytes().hash(hasher);
            }
            // Ends the list, so that no header's values can be taken for the next part.
            u64::MAX.hash(hasher);
        }
    }
}

/// An IPv6 client owns its /64 and may use every address in it, so the /64 pays.
fn hash_address(address: IpAddr, hasher: &mut impl Hasher) {
    match address.to_canonical() {
        IpAddr::V4(address) => (4_u8, address.octets()).hash(hasher),
        IpAddr::V6(address) => (6_u8, u128::from(address) >> 64).hash(hasher),
    }
}

/// Names are equal whatever their case; hashing them as they come would give a client one bucket per spelling.
fn hash_name(name: Option<&str>, hasher: &mut impl Hasher) {
    name.is_some().hash(hasher);
    for byte in name.unwrap_or_default().bytes() {
        byte.to_ascii_lowercase().hash(hasher);
    }
    0xff_u8.hash(hasher);
}

/// Claims are an issuer's JSON, bounded in depth when the token was read. Member order has no meaning in JSON, so
/// members are hashed in the order of their names.
fn hash_value(value: &Value, hasher: &mut impl Hasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Bool(flag) => flag.hash(hasher),
        Value::Number(number) => number.hash(hasher),
        Value::String(text) => text.hash(hasher),
        Value::Array(items) => {
            items.len().hash(hasher);
            for item in items {
                hash_value(item, hasher);
            }
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name.as_str());
            members.len().hash(hasher);
            for (name, member) in members {
                name.hash(hasher);
                hash_value(member, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, LazyLock};

    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use portcullis_model::{Attributes, Identity, IssuerId, Proof, Query, Subject, UrlScheme};
    use serde_json::json;

    use super::*;

    static NO_QUERY: Query = Query {
        text: String::new(),
        pairs: Vec::new(),
    };
    static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

    fn head(client: &str) -> RequestHead<'static> {
        RequestHead {
            method: &Method::GET,
            scheme: UrlScheme::Https,
            host: "h",
            path: "/",
            query: &NO_QUERY,
            headers: &NO_HEADERS,
            client: client.parse().unwrap(),
        }
    }

    fn facts<'a>(head: &'a RequestHead<'a>) -> LimitFacts<'a> {
        LimitFacts {
            head,
            sni: None,
            route: None,
            principal: None,
        }
    }

    fn user(tenant: Option<&str>, claims: Value) -> Principal {
        Principal {
            identity: Identity::User(Subject {
                issuer: IssuerId::from("idp"),
                issuer_url: "https://idp".into(),
                subject: "alice".into(),
            }),
            proof: Proof::Jwt,
            attributes: Arc::new(Attributes {
                tenant: tenant.map(Into::into),
                claims,
                ..Attributes::default()
            }),
            expires_at: None,
        }
    }

    #[test]
    fn an_ipv6_client_pays_as_its_64_and_an_ipv4_client_as_itself() {
        let hash = KeyHash::default();
        let key = |client: &str| hash.key(&[KeyPart::ClientAddress], &facts(&head(client)));

        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    }

    #[test]
    fn an_absent_tenant_or_claim_is_a_key_of_its_own() {
        let hash = KeyHash::default();
        let key = |parts: &[KeyPart], principal: &Principal| {
            hash.key(
                parts,
                &LimitFacts {
                    principal: Some(principal),
                    ..facts(&head("192.0.2.1"))
                },
            )
        };
        let tenant = [KeyPart::Tenant];
        let claim = [KeyPart::Claim(vec!["org".into(), "id".into()])];

        assert_ne!(
            key(&tenant, &user(None, json!({}))),
            key(&tenant, &user(Some(""), json!({})))
        );
        assert_eq!(
            key(&tenant, &user(Some("a"), json!({}))),
            key(&tenant, &user(Some("a"), json!({"b": 1})))
        );
        assert_ne!(
            key(&claim, &user(None, json!({}))),
            key(&claim, &user(None, json!({"org": {"id": "a"}})))
        );
        assert_eq!(
            key(&claim, &user(None, json!({"org": {"id": {"a": 1, "b": 2}}}))),
            key(&claim, &user(None, json!({"org": {"id": {"b": 2, "a": 1}}})))
        );
    }

    #[test]
    fn every_value_of_a_header_counts() {
        let hash = KeyHash::default();
        let key = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-key", HeaderValue::from_static(value));
            }
            let part = KeyPart::Header(HeaderName::from_static("x-key"));
            hash.key(
                &[part],
                &facts(&RequestHead {
                    headers: &headers,
                    ..head("192.0.2.1")
                }),
            )
        };

        assert_eq!(key(&["a"]), key(&["a"]));
        assert_ne!(key(&["a"]), key(&["a", "b"]));
        assert_ne!(key(&["ab"]), key(&["a", "b"]));
        assert_ne!(key(&[]), key(&[""]));
    }

    #[test]
    fn names_are_equal_whatever_their_case() {
        let hash = KeyHash::default();
        let sni = |name| {
            hash.key(
                &[KeyPart::Sni],
                &LimitFacts {
                    sni: name,
                    ..facts(&head("192.0.2.1"))
                },
            )
        };

        assert_eq!(sni(Some("API.example")), sni(Some("api.EXAMPLE")));
        assert_ne!(sni(Some("api.example")), sni(Some("api.example.com")));
        assert_ne!(sni(None), sni(Some("")));
    }

    #[test]
    fn two_tables_hash_the_same_key_differently() {
        let parts = [KeyPart::ClientAddress];
        let head = head("192.0.2.1");

        assert_ne!(
            KeyHash::default().key(&parts, &facts(&head)),
            KeyHash::default().key(&parts, &facts(&head))
        );
    }
}
