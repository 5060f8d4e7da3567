//! `trust`, `identity`, `issuers`, and the TLS sides of listeners and pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_identity::plan::{
    Algorithm, ClaimPaths, ClientCertificatesPlan, IdentityPlan, IssuerPlan, KeySource, ListenerTlsPlan,
    TrustAnchors, TrustPlan, UpstreamPeer, UpstreamTlsPlan,
};
use portcullis_model::{IssuerId, ListenerId, Origin, PoolId, TrustDomain, TrustId};
use portcullis_routing::plan::HostPattern;
use rustls_pki_types::CertificateDer;
use url::Url;

use super::pem::CertifiedKey;
use super::{Resolver, shared};
use crate::file::GatewayFile;
use crate::file::guards::exactly_one;
use crate::file::identities::{Claims, Issuer, Trust};
use crate::file::listeners::{Alpn, ClientCertificateRules, Listener, ListenerTls};
use crate::file::patterns::{ClaimText, canonical_host};
use crate::file::regions::PoolTls;
use crate::file::scalars::HttpUrl;
use crate::file::section::{At, Key, entries, items};
use crate::file::units::Tolerance;
use crate::sources::{Files, MAX_DOCUMENT};

/// Clocks that are further apart than this are broken.
const DEFAULT_CLOCK_SKEW: Tolerance = Tolerance(std::time::Duration::from_secs(30));

pub(super) fn plan(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> IdentityPlan {
    let trust = trust(file, resolver);
    let mut workload_api = file
        .gateway
        .get()
        .is_some_and(|gateway| !gateway.workload_api.is_absent());
    let mut svid = None;
    if let Some(own) = file.identity.get().and_then(|identity| identity.svid.at()) {
        match resolver.certified_key(&own.value, &own.origin) {
            CertifiedKey::Is(plan) => svid = Some(plan),
            // Offline, our identity is treated like one that has not arrived yet.
            CertifiedKey::Missing => workload_api = true,
            CertifiedKey::Broken => {}
        }
    }
    let upstreams: Vec<_> = entries(&file.pools)
        .filter_map(|pool| {
            let tls = pool.value.get()?.tls.at()?;
            upstream(&pool.name.value, tls, &trust, resolver)
        })
        .collect();
    let needs_roots = upstreams
        .iter()
        .any(|upstream| matches!(upstream.peer, UpstreamPeer::Https { ca: None, .. }));
    IdentityPlan {
        issuers: entries(&file.issuers)
            .filter_map(|issuer| self::issuer(&issuer.name, issuer.value.get()?, resolver))
            .collect(),
        svid,
        workload_api,
        listeners: entries(&file.listeners)
            .filter_map(|listener| listener_tls(&listener.name.value, listener.value.get()?, resolver))
            .collect(),
        system_roots: Arc::new(if needs_roots {
            system_roots(&upstreams, resolver)
        } else {
            Vec::new()
        }),
        trust,
        upstreams,
    }
}

fn trust(file: &GatewayFile, resolver: &mut Resolver<'_, '_>) -> Vec<TrustPlan> {
    let mut plans = Vec::new();
    for entry in entries(&file.trust) {
        let Some(Trust {
            pem,
            spiffe,
            has_refused_keys,
        }) = entry.value.get()
        else {
            continue;
        };
        let certificates = pem.at().map(|path| resolver.certificates(path, "trust anchors"));
        let anchors = match (spiffe.get(), certificates) {
            (_, Some(None)) => continue,
            (Some(domain), None) => TrustAnchors::TrustDomain(domain.clone(), None),
            (Some(domain), Some(Some(bundle))) => TrustAnchors::TrustDomain(domain.clone(), Some(bundle)),
            (None, Some(Some(anchors))) => TrustAnchors::Pem(anchors),
            (None, None) => {
                if pem.is_absent() && spiffe.is_absent() && !has_refused_keys {
                    let message = "one of `pem`, `spiffe` is missing";
                    resolver.error("missing-key", &entry.name.origin, message);
                }
                continue;
            }
        };
        let id = TrustId::from(entry.name.value.as_str());
        plans.push(TrustPlan {
            id,
            origin: entry.name.origin.clone(),
            anchors,
        });
    }
    plans
}

fn issuer(name: &At<String>, issuer: &Issuer, resolver: &mut Resolver<'_, '_>) -> Option<IssuerPlan> {
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

fn listener_tls(name: &str, listener: &Listener, resolver: &mut Resolver<'_, '_>) -> Option<ListenerTlsPlan> {
    let tls = listener.tls.at()?;
    let mut certificates = Vec::new();
    let mut is_missing = false;
    let list = tls.value.certificates.at()?;
    if list.value.items.is_empty() && !list.value.broken {
        resolver.error(
            "bad-value",
            &list.origin,
            "a TLS listener needs at least one certificate",
        );
    }
    for certificate in list.value.iter() {
        match resolver.certified_key(&certificate.value, &certificate.origin) {
            CertifiedKey::Is(plan) => certificates.push(plan),
            CertifiedKey::Missing => is_missing = true,
            CertifiedKey::Broken => {}
        }
    }
    let hosts = hosts(&tls.value, resolver);
    let mut alpn: Vec<&'static str> = Vec::new();
    for protocol in items(&listener.protocols) {
        if alpn.contains(&protocol.value.as_str()) {
            let message = format!("`{}` stands here twice", protocol.value.as_str());
            resolver.error("bad-value", &protocol.origin, message);
            continue;
        }
        alpn.push(protocol.value.as_str());
    }
    match listener.protocols.at() {
        Some(list) if alpn.is_empty() && !list.value.broken => {
            resolver.error("bad-value", &list.origin, "no protocol is named");
        }
        Some(_) => {}
        None => alpn = vec![Alpn::Http2.as_str(), Alpn::Http11.as_str()],
    }
    // Offline and without one of its keys a listener has no TLS side to compile.
    if is_missing {
        return None;
    }
    Some(ListenerTlsPlan {
        listener: ListenerId::from(name),
        origin: tls.origin.clone(),
        certificates,
        client: client_certificates(tls.value.client_certificates.get()),
        hosts,
        alpn,
    })
}

fn hosts(tls: &ListenerTls, resolver: &mut Resolver<'_, '_>) -> BTreeMap<String, ClientCertificatesPlan> {
    let mut hosts = BTreeMap::new();
    for entry in entries(&tls.hosts) {
        let Some(host) = entry.value.get() else { continue };
        match canonical_host(&entry.name.value) {
            Ok(name) => {
                let rules = client_certificates(host.client_certificates.get());
                if hosts.insert(name.clone(), rules).is_some() {
                    let message = format!("the host {name:?} stands here twice");
                    resolver.error("duplicate-key", &entry.name.origin, message);
                }
            }
            Err(flaw) => resolver.problems.push(flaw.at(&entry.name.origin)),
        }
    }
    hosts
}

fn client_certificates(rules: Option<&ClientCertificateRules>) -> ClientCertificatesPlan {
    let Some(rules) = rules else {
        return ClientCertificatesPlan::default();
    };
    ClientCertificatesPlan {
        mode: rules.mode.get().copied().unwrap_or_default(),
        trust: items(&rules.trust)
            .map(|name| TrustId::from(name.value.as_str()))
            .collect(),
    }
}

fn upstream(
    pool: &str,
    tls: &At<PoolTls>,
    trust: &[TrustPlan],
    resolver: &mut Resolver<'_, '_>,
) -> Option<UpstreamTlsPlan> {
    let PoolTls {
        expect,
        server_name,
        ca,
        has_refused_keys: _,
    } = &tls.value;
    if let Some(expected) = expect.at() {
        if !server_name.is_absent() || !ca.is_absent() {
            let message = "`expect` stands alone: a SPIFFE ID is verified by its own trust bundle";
            resolver.error_with_hint(
                "conflicting-keys",
                &tls.origin,
                message,
                "put the bundle under `trust`, as `{ spiffe: …, pem: … }`",
            );
            return None;
        }
        let anchors = anchors_of(trust, expected.value.trust_domain());
        let peer = UpstreamPeer::Spiffe {
            expected: expected.value.clone(),
            anchors,
        };
        return Some(UpstreamTlsPlan {
            pool: PoolId::from(pool),
            origin: tls.origin.clone(),
            peer,
        });
    }
    let server_name = match server_name.at().map(|name| (&name.value.0, &name.origin)) {
        None => None,
        Some((HostPattern::Exact(name), _)) => Some(name.clone()),
        Some((HostPattern::Wildcard(_), origin)) => {
            resolver.error("bad-value", origin, "`server_name` is one name, not a wildcard");
            return None;
        }
    };
    let ca = match ca.at() {
        None => None,
        Some(path) => Some(resolver.certificates(path, "CA")?),
    };
    let peer = UpstreamPeer::Https { server_name, ca };
    Some(UpstreamTlsPlan {
        pool: PoolId::from(pool),
        origin: tls.origin.clone(),
        peer,
    })
}

/// The anchors from files for a trust domain, of every `trust` entry that names it.
fn anchors_of(trust: &[TrustPlan], domain: &TrustDomain) -> Option<Vec<CertificateDer<'static>>> {
    let mut anchors = Vec::new();
    for plan in trust {
        match &plan.anchors {
            TrustAnchors::TrustDomain(named, Some(bundle)) if named == domain => {
                anchors.extend(bundle.iter().cloned());
            }
            TrustAnchors::TrustDomain(..) | TrustAnchors::Pem(_) => {}
        }
    }
    (!anchors.is_empty()).then_some(anchors)
}

fn system_roots(
    upstreams: &[UpstreamTlsPlan],
    resolver: &mut Resolver<'_, '_>,
) -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty()
        && let Some(upstream) = upstreams.first()
        && !resolver.files.is_offline()
    {
        let reason = found
            .errors
            .first()
            .map_or_else(|| "none was found".to_owned(), ToString::to_string);
        resolver.error_with_hint(
            "no-system-roots",
            &upstream.origin,
            format!("cannot read the system's trust anchors: {reason}"),
            "install them (ca-certificates), or name a `ca`",
        );
    }
    found.certs
}
