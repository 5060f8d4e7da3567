//! `issuers`: whose tokens are believed, by which keys, and what a token must say.

use std::sync::Arc;

use portcullis_identity::plan::Algorithm;
use portcullis_model::{Origin, Problems, TrustDomain};
use serde_json::{Value, json};

use super::patterns::ClaimText;
use super::scalars::{FilePath, HttpUrl};
use super::section::{Definitions, Flaw, List, Named, Read, Scalar, section, words, wrong_type};
use super::tree::{Node, NodeKind};
use super::units::{Period, Tolerance};

section! {
    /// A token issuer.
    struct Issuer {
        /// The exact `iss` claim; a URL. Its tokens prove users and clients.
        optional issuer: HttpUrl,
        /// A SPIFFE trust domain, instead of `issuer`: its JWT-SVIDs prove workloads, by the SPIFFE ID in `sub`.
        optional spiffe: TrustDomain,
        /// Where its keys come from; with `spiffe` they come from the Workload API unless this names them.
        optional jwks: Jwks,
        /// A token must name at least one of these in `aud`.
        required audiences: List<String>,
        /// Accepted algorithms; RS256, PS256, ES256, ES384 and EdDSA by default, with `spiffe` all but EdDSA. Never inferred from the token.
        optional algorithms: List<Algorithm>,
        /// Accepted types (`typ`), without `application/`; `none` is a token that has none. `[none, JWT, at+jwt]` by default.
        optional token_types: List<TokenType>,
        /// Tolerance for `exp`, `nbf` and `iat`; 30s by default, 5m at most.
        optional clock_skew: Tolerance,
        /// Longest time from `iat` (or now, without one) to `exp`; 24h by default.
        optional max_lifetime: Period,
        /// Claims that a token must have, by their paths: `present`, a value, or a list of values of which it is or holds one.
        optional require_claims: Named<Requirement>,
        /// `true` accepts only tokens that are bound to a key or certificate.
        optional require_bound: bool,
        /// Where principal fields are read from.
        optional claims: Claims,
    }
    later { "introspection" }
}

words! {
    Algorithm {
        "RS256" => Self::RS256, "RS384" => Self::RS384, "RS512" => Self::RS512,
        "PS256" => Self::PS256, "PS384" => Self::PS384, "PS512" => Self::PS512,
        "ES256" => Self::ES256, "ES384" => Self::ES384, "EdDSA" => Self::EdDSA,
    }
}

section! {
    /// Where an issuer's keys come from: one of `discovery`, `url` and `file`; and when they are fetched.
    struct Jwks {
        /// `true`: by OpenID Connect discovery from the issuer's URL.
        optional discovery: bool,
        /// A JWKS to fetch; https, or http on loopback.
        optional url: HttpUrl,
        /// A JWKS in a file.
        optional file: FilePath,
        /// Age at which the keys are fetched again, 10s to 24h; 5m by default.
        optional refresh: Period,
        /// Age at which the keys may no longer be used, from `refresh` to 24h; 1h by default, or `refresh` where that is longer.
        optional stale: Period,
        /// Least time between fetches for unknown keys, 1s to `refresh`; 10s by default.
        optional cooldown: Period,
    }
}

section! {
    /// Paths into the claims, as in `realm_access.roles`; a key with a dot stands in quotation marks, or the path is a list of its keys.
    struct Claims {
        /// The tenant; a string.
        optional tenant: ClaimPathText,
        /// The roles; a string or a list.
        optional roles: ClaimPathText,
        /// The region or jurisdiction; a string.
        optional region: ClaimPathText,
        /// The scopes; a space-separated string or a list. By default `scope`, then `scp`.
        optional scopes: ClaimPathText,
    }
}

/// A path into the claims: dotted, or a list of its keys, which may then be any text.
#[derive(Clone, Debug)]
pub(crate) struct ClaimPathText(pub(crate) Vec<Arc<str>>);

impl Read for ClaimPathText {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.kind, NodeKind::Sequence(_)) {
            return ClaimText::read(node, origin, problems).map(|path| Self(path.0));
        }
        let keys = List::<String>::read(node, origin, problems)?;
        if keys.broken {
            return None;
        }
        if keys.items.is_empty() || keys.iter().any(|key| key.value.is_empty()) {
            problems.push(Flaw::new("bad-value", "the path of a claim has an empty key").at(origin));
            return None;
        }
        Some(Self(
            keys.iter().map(|key| Arc::from(key.value.as_str())).collect(),
        ))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let keys = List::<String>::schema(definitions);
        json!({ "anyOf": [<ClaimText as Scalar>::schema(), keys] })
    }
}

/// A `typ`, or `none` for a token that has none.
#[derive(Clone, Debug)]
pub(crate) struct TokenType(pub(crate) String);

impl Scalar for TokenType {
    const EXPECTED: &'static str = "a token's type like \"at+jwt\"";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+/".contains(c);
        if text.is_empty() || !text.chars().all(is_name) {
            return Err(
                Flaw::new("bad-value", format!("{text:?} is not the type of a token"))
                    .with_hint(format!("expected {}, or `none`", Self::EXPECTED)),
            );
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// What a required claim must be.
#[derive(Clone, Debug)]
pub(crate) enum Requirement {
    Present,
    OneOf(Vec<Value>),
}

impl Requirement {
    const EXPECTED: &'static str = "`present`, a value or a list of values";

    fn value(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Value> {
        let value = node.to_json();
        if value.is_string() || value.is_boolean() || value.is_number() {
            return Some(value);
        }
        problems.push(wrong_type(Self::EXPECTED, node, origin));
        None
    }
}

impl Read for Requirement {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        let NodeKind::Sequence(nodes) = &node.kind else {
            let value = Self::value(node, origin, problems)?;
            return Some(if value == "present" {
                Self::Present
            } else {
                Self::OneOf(vec![value])
            });
        };
        if nodes.is_empty() {
            let message = "no value is named, so every token would be refused";
            problems.push(Flaw::new("bad-value", message).at(origin));
            return None;
        }
        let values: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| {
                let origin = node.place.origin(format!("{}[{index}]", origin.path));
                Self::value(node, &origin, problems)
            })
            .collect();
        values.into_iter().collect::<Option<_>>().map(Self::OneOf)
    }

    fn schema(_: &mut Definitions) -> Value {
        let value = json!({ "type": ["string", "boolean", "number"] });
        json!({ "anyOf": [value, { "type": "array", "items": value, "minItems": 1 }] })
    }
}
