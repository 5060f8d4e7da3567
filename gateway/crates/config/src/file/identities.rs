//! `trust` and `identity`: whose certificates are believed, and who we are.

use portcullis_identity::plan::{CrlDepth, OnStaleCrl};
use portcullis_model::TrustDomain;

use super::forwarding::Assertion;
use super::listeners::Certificate;
use super::revocation::CrlText;
use super::scalars::FilePath;
use super::section::{OneOrMany, section};

section! {
    /// A set of trust anchors for client certificates, and for endpoints of its trust domain.
    struct Trust {
        /// PEM file of CA certificates; with `spiffe`, the bundle of that trust domain.
        optional pem: FilePath,
        /// A SPIFFE trust domain: only its IDs are accepted. Without `pem` and `bundle` its bundle comes from the Workload API.
        optional spiffe: TrustDomain,
        /// A SPIFFE bundle in a file, as `spire-server bundle show -format spiffe` writes it; with `spiffe`. Its JWT authorities serve the issuer of that trust domain.
        optional bundle: FilePath,
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

section! {
    /// Who we are toward endpoints, and what we tell them of principals.
    struct OwnIdentity {
        /// An X.509-SVID, when there is no Workload API.
        optional svid: Certificate,
        /// How principals are asserted.
        optional assertion: Assertion,
    }
}

