//! `contracts`, `policies` and `rate_limits`: may a request in.

use http::HeaderName;
use portcullis_admission::plan::{KeyPart, UnknownOperations};
use portcullis_model::Mode;
use serde_json::{Value, json};

use super::patterns::ClaimText;
use super::scalars::FilePath;
use super::section::{Flaw, List, OneOrMany, Scalar, section, unknown_word, words};
use super::units::{GuardShare, Period, Rate, Whole};

section! {
    /// An OpenAPI document that requests must fit.
    struct Contract {
        /// The document, OpenAPI 3.0 or 3.1 in YAML or JSON.
        required openapi: FilePath,
        /// `off`, `observe` or `enforce` (the default).
        optional mode: Mode,
        /// The share of requests it holds for; all by default.
        optional percent: GuardShare,
        /// What happens to operations the document does not have: `deny` (the default) or `allow`.
        optional unknown_operations: UnknownOperations,
    }
    later { "responses" }
}

words! { UnknownOperations { "deny" => Self::Deny, "allow" => Self::Allow } }

section! {
    /// A policy: a folder of Rego modules, or a Wasm module made by OPA. Exactly one of `rego` and `wasm`.
    struct Policy {
        /// A Rego file or a folder of them; `*_test.rego` is left out.
        optional rego: FilePath,
        /// A module made by `opa build -t wasm`.
        optional wasm: FilePath,
        /// The data document, JSON or YAML; by default `data.json`, `data.yaml` or `data.yml` in the `rego` folder.
        optional data: FilePath,
        /// The rule that decides: `data.portcullis.authz.decision` (the default) for Rego, `portcullis/authz/decision` for Wasm.
        optional decision: String,
        /// How long one decision may take; 5ms by default.
        optional budget: Period,
        /// Request fields the policy may read; none by default.
        optional headers: List<HeaderName>,
        /// Whether the policy reads the request body, at most 64KiB of it.
        optional body: bool,
        /// Whether a decision is remembered for requests with the same facts, where the policy allows it; true by default.
        optional remember: bool,
        /// `off`, `observe` or `enforce` (the default).
        optional mode: Mode,
        /// The share of requests it holds for; all by default.
        optional percent: GuardShare,
    }
    later { "bundle", "engine" }
}

section! {
    /// A rate limit.
    struct RateLimit {
        /// Who shares a bucket; several parts make one key.
        required key: OneOrMany<KeyPart>,
        /// How much, as in `100/s`; units: /s /m /h /d.
        required limit: Rate,
        /// How many may come at once; by default one second's worth, at least 1.
        optional burst: Whole<1, 4_000_000_000>,
        /// `off`, `observe` or `enforce` (the default).
        optional mode: Mode,
        /// The share of requests it holds for; all by default.
        optional percent: GuardShare,
    }
    later { "sharing", "on_store_loss" }
}

const KEY_WORDS: &[&str] = &[
    "client.address",
    "client.sni",
    "request.host",
    "route",
    "principal",
    "principal.tenant",
    "principal.claim.<name>",
    "header.<name>",
];

impl Scalar for KeyPart {
    const EXPECTED: &'static str = "a key like `client.address`";

    fn parse(text: &str, plain: bool) -> Result<Self, Flaw> {
        if let Some(claim) = text.strip_prefix("principal.claim.") {
            return ClaimText::parse(claim, plain).map(|path| Self::Claim(path.0));
        }
        if let Some(name) = text.strip_prefix("header.") {
            return HeaderName::parse(name, plain).map(Self::Header);
        }
        match text {
            "client.address" => Ok(Self::ClientAddress),
            "client.sni" => Ok(Self::Sni),
            "request.host" => Ok(Self::Host),
            "route" => Ok(Self::Route),
            "principal" => Ok(Self::Principal),
            "principal.tenant" => Ok(Self::Tenant),
            other => Err(unknown_word(other, KEY_WORDS)),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [
            { "enum": ["client.address", "client.sni", "request.host", "route", "principal", "principal.tenant"] },
            { "type": "string", "pattern": "^(principal\\.claim|header)\\.." }
        ] })
    }
}
