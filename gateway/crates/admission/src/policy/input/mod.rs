//! What a policy is told about a request: the contract with policy authors, described for them in
//! `policies/README.md`.

mod document;
mod value;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use portcullis_model::{JurisdictionId, Principal, RegionId, RequestHead, RouteId, SpiffeId};

pub(super) use document::{Document, is_forbidden_header};
pub(super) use value::{InputKeys, to_rego};

/// Everything a policy may be told about one request, borrowed; each policy is given the part it declares.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// The canonical request.
    pub head: RequestHead<'a>,
    /// The proven principal.
    pub principal: &'a Principal,
    /// The client's certificate, whether or not it is what proved the principal.
    pub certificate: Option<ClientCertificate<'a>>,
    /// The matched route.
    pub route: RouteFacts<'a>,
    /// This gateway.
    pub gateway: GatewayFacts<'a>,
    /// The parsed body, for policies that read it.
    pub body: Option<&'a serde_json::Value>,
}

impl PolicyInput<'_> {
    /// The client's address, after `trusted_proxies` were applied.
    #[must_use]
    pub const fn client_address(&self) -> IpAddr {
        self.head.client
    }
}

/// What a policy is told about a client certificate.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a> {
    /// Its SPIFFE ID, when it has exactly one.
    pub spiffe_id: Option<&'a SpiffeId>,
    /// SHA-256 of the certificate.
    pub fingerprint: &'a [u8; 32],
    /// When it expires.
    pub not_after: SystemTime,
}

/// What a policy is told about the route.
#[derive(Clone, Copy, Debug)]
pub struct RouteFacts<'a> {
    /// Its name.
    pub name: &'a RouteId,
    /// `critical`, `default` or `sheddable`.
    pub class: &'a str,
    /// The decoded path parameters.
    pub params: &'a [(Arc<str>, String)],
    /// The contract's operation, where the route has a contract that knows it.
    pub operation: Option<&'a str>,
    /// The jurisdictions the request may be processed in; empty: everywhere.
    pub residency: &'a [JurisdictionId],
}

/// What a policy is told about this gateway.
#[derive(Clone, Copy, Debug)]
pub struct GatewayFacts<'a> {
    /// Its region.
    pub region: &'a RegionId,
    /// The configuration's revision.
    pub revision: &'a str,
}

#[cfg(test)]
mod tests;
