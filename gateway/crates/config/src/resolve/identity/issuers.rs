//! `issuers`: whose tokens are believed, and by which keys.

use std::sync::Arc;
use std::time::Duration;

use portcullis_identity::plan::{
    Algorithm, ClaimPaths, IssuerKind, IssuerPlan, KeySource, KeyTimes, RequiredClaim, TokenTypes, Wanted,
};
use portcullis_model::{IssuerId, Origin};
use url::Url;

use super::trust::KeySets;
use crate::file::guards::exactly_one;
use crate::file::issuers::{ClaimPathText, Claims, Issuer, Jwks, Requirement};
use crate::file::patterns::ClaimText;
use crate::file::scalars::HttpUrl;
use crate::file::section::{At, Key, Scalar, entries, items};
use crate::file::units::{Period, Tolerance};
use crate::resolve::{Resolver, shared};
use crate::sources::{Files, MAX_DOCUMENT};

/// Clocks that are further apart than this are broken.
const DEFAULT_CLOCK_SKEW: Tolerance = Tolerance(Duration::from_secs(30));
/// Every token lives that much longer than it says, and as long after a theft.
const LONGEST_CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// An access token lives for minutes to hours; one that lives longer than a day is a password.
const DEFAULT_MAX_LIFETIME: Period = Period(DAY);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What keys are fetched for more often would be an attack on the issuer.
const SHORTEST_REFRESH: Duration = Duration::from_secs(10);
const SHORTEST_COOLDOWN: Duration = Duration::from_secs(1);

pub(super) fn issuer(
    name: &At<String>,
    issuer: &Issuer,
    key_sets: &KeySets,
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
        nothing_passes("audience", origin, resolver);
    }
    let key_times = key_times(issuer.jwks.get(), resolver);
    let required = required_claims(issuer, resolver);
    let written = [
        ("issuer", !issuer.issuer.is_absent()),
        ("spiffe", !issuer.spiffe.is_absent()),
    ];
    exactly_one(&written, issuer.has_refused_keys, &name.origin, resolver.problems)?;
    let kind = match (issuer.issuer.get(), issuer.spiffe.get()) {
        (Some(url), _) => IssuerKind::Url(Arc::from(url.written.as_str())),
        (None, Some(domain)) => IssuerKind::Spiffe(domain.clone()),
        (None, None) => return None,
    };
    let algorithms = algorithms(issuer, &kind, resolver);
    let token_types = token_types(issuer, &kind, resolver);
    let keys = match &kind {
        IssuerKind::Url(_) => key_source(name, issuer, resolver)?,
        IssuerKind::Spiffe(domain) if issuer.jwks.is_absent() => match key_sets.get(domain) {
            Some(Some(key_set)) => KeySource::Document(Arc::clone(key_set)),
            Some(None) => {
                let message = format!("the trust bundle of {domain} holds no authority for JWT-SVIDs");
                let hint = "add one to its file, or name the keys here with `jwks`";
                resolver.error_with_hint("bad-bundle", &name.origin, message, hint);
                return None;
            }
            None => KeySource::WorkloadApi(domain.clone()),
        },
        IssuerKind::Spiffe(_) => key_source(name, issuer, resolver)?,
    };
    Some(IssuerPlan {
        id: IssuerId::from(name.value.as_str()),
        origin: name.origin.clone(),
        kind,
        keys,
        key_times,
        audiences,
        algorithms,
        token_types,
        clock_skew: clock_skew(issuer, resolver),
        max_lifetime: issuer.max_lifetime.or(DEFAULT_MAX_LIFETIME).0,
        required,
        claims: issuer.claims.get().map(claim_paths).unwrap_or_default(),
    })
}

fn clock_skew(issuer: &Issuer, resolver: &mut Resolver<'_, '_>) -> Duration {
    let skew = issuer.clock_skew.or(DEFAULT_CLOCK_SKEW).0;
    if let Some(At { origin, .. }) = issuer.clock_skew.at().filter(|_| skew > LONGEST_CLOCK_SKEW) {
        resolver.error_with_hint(
            "out-of-range",
            origin,
            "`clock_skew` is at most 5m: every token lives that much longer than it says",
            "set the clocks; machines that follow NTP are within a second",
        );
    }
    skew
}

fn nothing_passes(what: &str, origin: &Origin, resolver: &mut Resolver<'_, '_>) {
    let message = format!("no {what} is named, so every token would be refused");
    resolver.error("bad-value", origin, message);
}

fn algorithms(issuer: &Issuer, kind: &IssuerKind, resolver: &mut Resolver<'_, '_>) -> Vec<Algorithm> {
    let allowed = match kind {
        IssuerKind::Url(_) => Algorithm::ALL,
        IssuerKind::Spiffe(_) => Algorithm::JWT_SVID,
    };
    let Some(At { value: list, origin }) = issuer.algorithms.at() else {
        return match kind {
            IssuerKind::Url(_) => Algorithm::DEFAULT.to_vec(),
            IssuerKind::Spiffe(_) => Algorithm::JWT_SVID.to_vec(),
        };
    };
    if list.items.is_empty() && !list.broken {
        nothing_passes("algorithm", origin, resolver);
    }
    for named in list.iter().filter(|named| !allowed.contains(&named.value)) {
        let message = format!("no JWT-SVID is signed with {}", named.value.as_str());
        resolver.error("bad-value", &named.origin, message);
    }
    list.iter().map(|named| named.value).collect()
}

fn token_types(issuer: &Issuer, kind: &IssuerKind, resolver: &mut Resolver<'_, '_>) -> TokenTypes {
    let Some(At { value: list, origin }) = issuer.token_types.at() else {
        return match kind {
            IssuerKind::Url(_) => TokenTypes::access_tokens(),
            IssuerKind::Spiffe(_) => TokenTypes::jwt_svids(),
        };
    };
    if let IssuerKind::Spiffe(_) = kind {
        resolver.error_with_hint(
            "conflicting-keys",
            origin,
            "the type of a JWT-SVID is given: none, `JWT` or `JOSE`",
            "leave `token_types` out",
        );
    }
    if list.items.is_empty() && !list.broken {
        nothing_passes("type", origin, resolver);
    }
    let is_absent = |text: &str| text.eq_ignore_ascii_case("none");
    let named = list.iter().map(|typ| typ.value.0.as_str());
    TokenTypes {
        absent: named.clone().any(is_absent),
        named: named
            .filter(|text| !is_absent(text))
            .map(|text| Arc::from(TokenTypes::canonical(text)))
            .collect(),
    }
}

fn required_claims(issuer: &Issuer, resolver: &mut Resolver<'_, '_>) -> Vec<RequiredClaim> {
    let mut required = Vec::new();
    for entry in entries(&issuer.require_claims) {
        let Some(requirement) = entry.value.get() else {
            continue;
        };
        match ClaimText::parse(&entry.name.value, true) {
            Ok(path) => required.push(RequiredClaim {
                path: path.0,
                wanted: match requirement {
                    Requirement::Present => Wanted::Present,
                    Requirement::OneOf(values) => Wanted::OneOf(values.clone()),
                },
            }),
            Err(flaw) => resolver.problems.push(flaw.at(&entry.name.origin)),
        }
    }
    required
}

/// When keys are fetched, within bounds that neither attack the issuer nor keep a withdrawn key for days.
fn key_times(jwks: Option<&Jwks>, resolver: &mut Resolver<'_, '_>) -> KeyTimes {
    let mut times = KeyTimes::default();
    let Some(jwks) = jwks else { return times };
    let written = [
        ("refresh", &jwks.refresh),
        ("stale", &jwks.stale),
        ("cooldown", &jwks.cooldown),
    ];
    for (name, key) in written {
        if let (Some(key), false) = (key.at(), jwks.file.is_absent()) {
            let message = format!("`{name}` beside `file`: the keys of a file are not fetched");
            resolver.error_with_hint("conflicting-keys", &key.origin, message, "leave it out");
        }
    }
    let mut within = |name: &str, key: &Key<Period>, default: Duration, least: Duration, most: Duration| {
        let Some(key) = key.at() else {
            return default.clamp(least, most);
        };
        if key.value.0 < least || key.value.0 > most {
            let message = format!(
                "`{name}` is not within {} to {}",
                written_as(least),
                written_as(most)
            );
            resolver.error("out-of-range", &key.origin, message);
        }
        key.value.0
    };
    times.refresh = within("refresh", &jwks.refresh, times.refresh, SHORTEST_REFRESH, DAY);
    let refresh = times.refresh.clamp(SHORTEST_REFRESH, DAY);
    times.stale = within("stale", &jwks.stale, times.stale, refresh, DAY);
    times.cooldown = within(
        "cooldown",
        &jwks.cooldown,
        times.cooldown,
        SHORTEST_COOLDOWN,
        refresh,
    );
    times
}

fn written_as(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        _ if length.subsec_millis() > 0 => format!("{}ms", length.as_millis()),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn key_source(name: &At<String>, issuer: &Issuer, resolver: &mut Resolver<'_, '_>) -> Option<KeySource> {
    if issuer.jwks.is_absent() && !issuer.has_refused_keys {
        resolver.error_with_hint(
            "missing-key",
            &name.origin,
            "the key \"jwks\" is missing",
            "write `jwks: { discovery: true }`, or name a `url` or a `file`",
        );
    }
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
        return by_discovery(discovery, issuer.issuer.at(), resolver);
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

fn by_discovery(
    discovery: &At<bool>,
    issuer: Option<&At<HttpUrl>>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<KeySource> {
    let Some(issuer) = issuer else {
        resolver.error_with_hint(
            "conflicting-keys",
            &discovery.origin,
            "a trust domain has no discovery document",
            "leave `jwks` out for the Workload API's keys, or give `url` or `file`",
        );
        return None;
    };
    if !discovery.value {
        resolver.error_with_hint(
            "bad-value",
            &discovery.origin,
            "`discovery: false` names no keys",
            "give `url` or `file` instead",
        );
        return None;
    }
    is_fetchable(&issuer.value.url, &issuer.origin, resolver).then_some(KeySource::Discovery)
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
    let path = |key: &Key<ClaimPathText>| key.get().map(|claim| claim.0.clone());
    ClaimPaths {
        tenant: path(&claims.tenant),
        roles: path(&claims.roles),
        region: path(&claims.region),
        scopes: path(&claims.scopes),
    }
}
