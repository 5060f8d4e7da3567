//! The file as written: one module per section, every key with its documentation.
//!
//! A section is defined once, by the `section!` macro: its type, its reader and its part of the JSON Schema come
//! from the same lines, so that they cannot part. [`tree`] is the YAML beneath, [`units`], [`scalars`] and
//! [`patterns`] are the values, the other modules the sections.

pub(crate) mod admissions;
pub(crate) mod denials;
pub(crate) mod forwarding;
pub(crate) mod gateway;
pub(crate) mod guards;
pub(crate) mod identities;
pub(crate) mod issuers;
pub(crate) mod listeners;
pub(crate) mod patterns;
pub(crate) mod regions;
pub(crate) mod revocation;
pub(crate) mod routes;
pub(crate) mod scalars;
pub(crate) mod section;
pub(crate) mod telemetry;
pub(crate) mod tree;
pub(crate) mod units;

use serde_json::{Map, Value, json};

use self::section::{Definitions, Flaw, List, Named, Read, Scalar, section};

section! {
    /// The configuration of a Portcullis gateway.
    struct GatewayFile {
        /// The version of this format: 1.
        required version: Version,
        /// The gateway process itself.
        optional gateway: gateway::Gateway,
        /// The doors, by name.
        required listeners: Named<listeners::Listener>,
        /// Trust anchors for client certificates, by name.
        optional trust: Named<identities::Trust>,
        /// Who we are toward endpoints, and what we tell them of principals.
        optional identity: identities::OwnIdentity,
        /// Token issuers, by name.
        optional issuers: Named<issuers::Issuer>,
        /// Credentials that are refused although they are right.
        optional revocation: denials::Revocation,
        /// OpenAPI documents, by name.
        optional contracts: Named<admissions::Contract>,
        /// Policies, by name.
        optional policies: Named<admissions::Policy>,
        /// Rate limits, by name.
        optional rate_limits: Named<admissions::RateLimit>,
        /// Which regions a jurisdiction has.
        optional jurisdictions: Named<List<String>>,
        /// Regions, by name.
        optional regions: Named<regions::Region>,
        /// Services, by name.
        optional pools: Named<regions::Pool>,
        /// What is served, in order.
        optional routes: List<routes::Route>,
        /// What is written about requests.
        optional telemetry: telemetry::Telemetry,
    }
    later { "stores", "safety", "acme", "drills", "include" }
}

/// The version of the format that this gateway reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version;

impl Scalar for Version {
    const EXPECTED: &'static str = "a version of the format: 1";

    fn parse(text: &str, _: bool) -> Result<Self, Flaw> {
        if text == "1" {
            return Ok(Self);
        }
        Err(
            Flaw::new("bad-value", format!("{text:?} is not a version of this format"))
                .with_hint("write `version: 1`"),
        )
    }

    fn schema() -> Value {
        json!({ "const": 1 })
    }
}

/// The JSON Schema of the file, for editors and for `portcullis schema`.
#[must_use]
pub fn json_schema() -> Value {
    let mut definitions = Definitions::default();
    let root = GatewayFile::schema(&mut definitions);
    let defs: Map<String, Value> = definitions
        .0
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://portcullis.dev/schemas/portcullis.schema.json",
        "title": "Portcullis configuration",
        "$ref": root.get("$ref"),
        "$defs": defs,
    })
}
