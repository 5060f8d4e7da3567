//! `issuers`: whose tokens are believed, and by which keys.

use std::sync::Arc;

use portcullis_identity::plan::{Algorithm, ClaimPaths, IssuerPlan, KeySource};
use portcullis_model::{IssuerId, Origin};
use url::Url;

use crate::file::guards::exactly_one;
use crate::file::identities::{Claims, Issuer};
use crate::file::patterns::ClaimText;
use crate::file::scalars::HttpUrl;
use crate::file::section::{At, Key, items};
use crate::file::units::Tolerance;
use crate::resolve::{Resolver, shared};
use crate::sources::{Files, MAX_DOCUMENT};

/// Clocks that are further apart than this are broken.
const DEFAULT_CLOCK_SKEW: Tolerance = Tolerance(std::time::Duration::from_secs(30));

pub(super) fn issuer(
    name: &At<String>,
    issuer: &Issuer,
    resolver: &mut Resolver<'_, '_>,
) -> Option<IssuerPlan> {
    if let Some(At { value: true, origin }) = issuer.require_bound.at() {
        resolver.error(
            "not-supported-yet",
            origin,
            "`require_bound: true` is not supported yet",
        );
    }
    let audiences = shared(items(&issuer.audiences));
    if audiences.is_empty() && issuer.audiences.get().is_some_and(|list| !list.broken) {
        let origin = issuer.audiences.at().map_or(&name.origin, |list| &list.origin);
        resolver.error(
            "bad-value",
            origin,
            "no audience is named, so every token would be refused",
        );
    }
    let mut algorithms: Vec<Algorithm> = items(&issuer.algorithms).map(|item| item.value).collect();
    if let Some(At { value: list, origin }) = issuer.algorithms.at() {
        if list.items.is_empty() && !list.broken {
            resolver.error(
                "bad-value",
                origin,
                "no algorithm is named, so every token would be refused",
            );
        }
    } else {
        algorithms = Algorithm::DEFAULT.to_vec();
    }
    let url = issuer.issuer.at()?;
    let keys = key_source(issuer, url, resolver)?;
    Some(IssuerPlan {
        id: IssuerId::from(name.value.as_str()),
        origin: name.origin.clone(),
        issuer: Arc::from(url.value.written.as_str()),
        keys,
        audiences,
        algorithms,
        clock_skew: issuer.clock_skew.or(DEFAULT_CLOCK_SKEW).0,
        claims: issuer.claims.get().map(claim_paths).unwrap_or_default(),
    })
}

fn key_source(issuer: &Issuer, url: &At<HttpUrl>, resolver: &mut Resolver<'_, '_>) -> Option<KeySource> {
    let jwks = issuer.jwks.at()?;
    let written = [
        ("discovery", !jwks.value.discovery.is_absent()),
        ("url", !jwks.value.url.is_absent()),
        ("file", !jwks.value.file.is_absent()),
    ];
    exactly_one(
        &written,
        jwks.value.has_refused_keys,
        &jwks.origin,
        resolver.problems,
    )?;
    if let Some(discovery) = jwks.value.discovery.at() {
        if !discovery.value {
            resolver.error_with_hint(
                "bad-value",
                &discovery.origin,
                "`discovery: false` names no keys",
                "give `url` or `file` instead",
            );
            return None;
        }
        return is_fetchable(&url.value.url, &url.origin, resolver).then_some(KeySource::Discovery);
    }
    if let Some(url) = jwks.value.url.at() {
        let is_fetchable = is_fetchable(&url.value.url, &url.origin, resolver);
        return is_fetchable.then(|| KeySource::Url(Arc::from(url.value.written.as_str())));
    }
    let path = jwks.value.file.at()?;
    let name = Files::name_beside(&path.origin, &path.value.0);
    let text = resolver
        .files
        .document(&name, ("key set", MAX_DOCUMENT), &path.origin, resolver.problems)?;
    Some(KeySource::Document(text))
}

/// Keys come over https, or from loopback; never from link-local addresses, where clouds keep their metadata.
fn is_fetchable(url: &Url, origin: &Origin, resolver: &mut Resolver<'_, '_>) -> bool {
    let (is_loopback, is_link_local) = match url.host() {
        Some(url::Host::Ipv4(address)) => (address.is_loopback(), address.is_link_local()),
        Some(url::Host::Ipv6(address)) => (address.is_loopback(), address.is_unicast_link_local()),
        Some(url::Host::Domain(name)) => (name == "localhost", name == "metadata.google.internal"),
        None => (false, false),
    };
    if is_link_local {
        resolver.error(
            "insecure-url",
            origin,
            format!("{url} is a link-local or metadata address"),
        );
        return false;
    }
    if url.scheme() == "http" && !is_loopback {
        resolver.error_with_hint(
            "insecure-url",
            origin,
            format!("keys would be fetched from {url} in plaintext"),
            "use https; plain http is for loopback only",
        );
        return false;
    }
    true
}

fn claim_paths(claims: &Claims) -> ClaimPaths {
    let path = |key: &Key<ClaimText>| key.get().map(|claim| claim.0.clone());
    ClaimPaths {
        tenant: path(&claims.tenant),
        roles: path(&claims.roles),
        region: path(&claims.region),
        scopes: path(&claims.scopes),
    }
}
