//! `trust` and `identity`: whose certificates are believed, and who we are.

use portcullis_identity::plan::{CrlDepth, OnStaleCrl};
use portcullis_model::{Origin, Problem, Problems, TrustDomain};
use serde_json::Value;

use super::forwarding::Assertion;
use super::listeners::Certificate;
use super::revocation::CrlText;
use super::scalars::FilePath;
use super::section::{Definitions, OneOrMany, Read, section};
use super::tree::{Node, NodeKind};

section! {
    /// A set of trust anchors for client certificates, and for endpoints of its trust domain.
    struct Trust {
        /// PEM file of CA certificates; with `spiffe`, the bundle of that trust domain.
        optional pem: FilePath,
        /// A SPIFFE trust domain: only its IDs are accepted. Without `pem` and `bundle` its bundle comes from the Workload API.
        optional spiffe: TrustDomain,
        /// A SPIFFE bundle in a file, as `spire-server bundle show -format spiffe` writes it; with `spiffe`. Its JWT authorities serve the issuer of that trust domain.
        optional bundle: BundleFile,
        /// Revocation lists of the issuers under these anchors: files (PEM or DER) or URLs, one or several.
        optional crl: OneOrMany<CrlText>,
        /// `true`: the lists that certificates name are fetched too, from hosts in `gateway.egress.allow`; `false` by default.
        optional distribution_points: bool,
        /// Which certificates are looked up: `chain`, the default, or `leaf`.
        optional crl_depth: CrlDepth,
        /// What it means that no current list of an issuer is here: `deny`, the default, `warn` or `allow`.
        optional on_stale_crl: OnStaleCrl,
    }
}

/// The path of a SPIFFE bundle; bundles from an endpoint are not built.
#[derive(Debug)]
pub(crate) struct BundleFile(pub(crate) FilePath);

impl Read for BundleFile {
    fn read(node: &Node, origin: &Origin, problems: &mut Problems) -> Option<Self> {
        if let NodeKind::Mapping(keys) = &node.kind
            && let Some(profile) = keys
                .iter()
                .find(|key| ENDPOINT_PROFILES.contains(&key.key.as_str()))
        {
            let message = format!("a bundle by `{}` is not supported yet", profile.key);
            let hint = "name a file, or federate in SPIRE: its agent delivers the bundle";
            problems.push(Problem::error("not-supported-yet", origin, message).with_hint(hint));
            return None;
        }
        FilePath::read(node, origin, problems).map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        <FilePath as Read>::schema(definitions)
    }
}

/// How a bundle endpoint is authenticated (SPIFFE Federation, section 5.2).
const ENDPOINT_PROFILES: [&str; 2] = ["https_web", "https_spiffe"];

section! {
    /// Who we are toward endpoints, and what we tell them of principals.
    struct OwnIdentity {
        /// An X.509-SVID, when there is no Workload API.
        optional svid: Certificate,
        /// How principals are asserted.
        optional assertion: Assertion,
    }
}
