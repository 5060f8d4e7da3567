//! `trust`, `identity` and `issuers`: who is on the other side, and who we are.

use portcullis_identity::plan::Algorithm;
use portcullis_model::TrustDomain;

use super::listeners::Certificate;
use super::patterns::ClaimText;
use super::scalars::{FilePath, HttpUrl};
use super::section::{List, section, words};
use super::units::Tolerance;

section! {
    /// A set of trust anchors for client certificates.
    struct Trust {
        /// PEM file of CA certificates; with `spiffe`, the bundle of that trust domain.
        optional pem: FilePath,
        /// A SPIFFE trust domain: only its IDs are accepted. Without `pem` its bundle comes from the Workload API.
        optional spiffe: TrustDomain,
    }
    later { "bundle", "crl" }
}

section! {
    /// Our own identity toward endpoints, when there is no Workload API.
    struct OwnIdentity {
        /// An X.509-SVID.
        required svid: Certificate,
    }
}

section! {
    /// A token issuer.
    struct Issuer {
        /// The exact `iss` claim; a URL.
        required issuer: HttpUrl,
        /// Where its keys come from.
        required jwks: Jwks,
        /// A token must name at least one of these in `aud`.
        required audiences: List<String>,
        /// Accepted algorithms; RS256, PS256, ES256, ES384 and EdDSA by default. Never inferred from the token.
        optional algorithms: List<Algorithm>,
        /// Tolerance for `exp`, `nbf` and `iat`; 30s by default.
        optional clock_skew: Tolerance,
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
    /// Where an issuer's keys come from; exactly one of these.
    struct Jwks {
        /// `true`: by OpenID Connect discovery from the issuer's URL.
        optional discovery: bool,
        /// A JWKS to fetch; https, or http on loopback.
        optional url: HttpUrl,
        /// A JWKS in a file.
        optional file: FilePath,
    }
}

section! {
    /// Paths into the claims, as in `realm_access.roles`.
    struct Claims {
        /// The tenant; a string.
        optional tenant: ClaimText,
        /// The roles; a string or a list.
        optional roles: ClaimText,
        /// The region or jurisdiction; a string.
        optional region: ClaimText,
        /// The scopes; a space-separated string or a list. By default `scope`, then `scp`.
        optional scopes: ClaimText,
    }
}
